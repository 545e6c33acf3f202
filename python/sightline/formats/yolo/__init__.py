"""YOLO text files: one per image, and a data.yaml or obj.data that names classes and splits."""

from sightline.formats.yolo.layout import LOOKED_FOR, has_nested_labels, yolo_root
from sightline.formats.yolo.read import open_yolo
from sightline.formats.yolo.write import write_yolo

__all__ = ["LOOKED_FOR", "has_nested_labels", "open_yolo", "write_yolo", "yolo_root"]
