"""The classes of pycocotools under their own names, with native evaluation.

    from sightline.metrics.pycocotools import COCO, COCOeval, mask

or, for a program that imports pycocotools, call `install_as_pycocotools()` before that import.
"""

from sightline.metrics.pycocotools import mask
from sightline.metrics.pycocotools._install import Installation, install_as_pycocotools
from sightline.metrics.pycocotools.coco import COCO
from sightline.metrics.pycocotools.cocoeval import COCOeval
from sightline.metrics.pycocotools.params import Params

__all__ = ["COCO", "COCOeval", "Installation", "Params", "install_as_pycocotools", "mask"]
