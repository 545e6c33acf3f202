"""faster-coco-eval."""

from faster_coco_eval import COCO, COCOeval_faster

from ..programs import CocoApi

PROGRAMS = CocoApi(COCO, COCOeval_faster)
