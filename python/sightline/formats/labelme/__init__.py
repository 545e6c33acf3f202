"""LabelMe JSON: one file per image, with its shapes in pixels."""

from sightline.formats.labelme.read import LOOKED_FOR, labelme_folders, open_labelme
from sightline.formats.labelme.write import write_labelme

__all__ = ["LOOKED_FOR", "labelme_folders", "open_labelme", "write_labelme"]
