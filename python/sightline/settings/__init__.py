"""The settings of a run: their groups, how they are read, and presets."""
