"""COCO files: reading them into columns, and evaluation by the COCO protocol."""
