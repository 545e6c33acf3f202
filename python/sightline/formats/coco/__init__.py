"""COCO JSON: one file per split."""

from sightline.formats.coco.read import LOOKED_FOR, coco_files, open_coco

__all__ = ["LOOKED_FOR", "coco_files", "open_coco"]
