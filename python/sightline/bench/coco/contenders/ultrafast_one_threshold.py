"""ultrafast-pycocotools' streaming metrics with their default: an IoU threshold of .5 only."""

from typing import Any

from ultrafast_pycocotools import COCO, COCOeval

from .ultrafast import Ultrafast


class OneThreshold(Ultrafast):
    iou_thresholds: Any = 0.5


PROGRAMS = OneThreshold(COCO, COCOeval)
