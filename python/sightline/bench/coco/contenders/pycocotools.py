"""pycocotools, the reference for all others."""

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..programs import CocoApi

PROGRAMS = CocoApi(COCO, COCOeval)
