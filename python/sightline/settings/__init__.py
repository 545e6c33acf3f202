"""What a run can be told: groups of settings, how they are read, and presets."""
