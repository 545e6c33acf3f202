"""Shapes other than boxes: masks as run lengths and polygons, and keypoints."""
