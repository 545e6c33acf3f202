"""ultrafast-pycocotools' streaming metrics as they come: at an IoU of .5 alone."""

from typing import Any

from ultrafast_pycocotools import COCO, COCOeval

from .ultrafast import Ultrafast


class OneThreshold(Ultrafast):
    iou_thresholds: Any = 0.5


PROGRAMS = OneThreshold(COCO, COCOeval)
