"""ultrafast-pycocotools, with its streaming metrics: precision, recall and F1, but no AP."""

from typing import Any

import numpy as np
from ultrafast_pycocotools import COCO, COCOeval
from ultrafast_pycocotools.metrics import DetectionMetrics

from ..programs import Arrays, CocoApi, in_batches


class Ultrafast(CocoApi):
    iou_thresholds: Any = np.linspace(0.5, 0.95, 10)

    def batches(self, columns: str, size: int, images: int) -> Any:
        def forms(dt: dict, gt: dict) -> tuple[dict, dict]:
            crowd = gt["crowd"].astype(np.int64)
            found = {"boxes": dt["boxes"], "scores": dt["scores"], "labels": dt["category"]}
            truth = {"boxes": gt["boxes"], "labels": gt["category"], "area": gt["area"]}
            return found, {**truth, "iscrowd": crowd}

        return in_batches(columns, size, images, forms)

    def stream(self, batches: Any) -> Any:
        metric = DetectionMetrics(iou_thrs=self.iou_thresholds, box_format="xywh", max_dets=100)
        for _, found, truth in batches:
            metric.update(found, truth)
        return metric.compute()

    def stats(self, evaluated: Any) -> list[float]:
        return [] if isinstance(evaluated, dict) else super().stats(evaluated)

    def arrays(self, evaluated: Any) -> Arrays | None:
        return None if isinstance(evaluated, dict) else super().arrays(evaluated)


PROGRAMS = Ultrafast(COCO, COCOeval)
