"""COCO JSON: one file per split."""

from sightline.formats.coco.read import LOOKED_FOR, coco_files, open_coco
from sightline.formats.coco.write import write_coco

__all__ = ["LOOKED_FOR", "coco_files", "open_coco", "write_coco"]
