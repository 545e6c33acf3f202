"""hotcoco, with its streaming evaluation and the bootstrap of its comparison."""

from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval, StreamingEval, compare

from ..programs import CocoApi, images_of


class Hotcoco(CocoApi):
    def batches(self, columns: str, size: int, images: int) -> Any:
        """Objects as dicts and detections as rows of seven, the most compact forms it accepts."""
        with np.load(columns) as data:
            categories = [{"id": i, "name": str(i)} for i in data["category_ids"].tolist()]
        batches: list[tuple[list, list, list]] = []
        for i, (image_id, dt, gt) in enumerate(images_of(columns, images)):
            if i % size == 0:
                batches.append(([], [], []))
            entries, truth, found = batches[-1]
            entries.append({"id": image_id, "width": 640, "height": 640})
            objects = zip(*(gt[key].tolist() for key in ("boxes", "category", "area", "crowd")))
            for box, category, area, crowd in objects:
                own = {"bbox": box, "category_id": category, "area": area, "iscrowd": int(crowd)}
                truth.append({"id": len(truth) + 1, "image_id": image_id, **own})
            columns_of_7 = (
                np.full(len(dt["scores"]), image_id),
                dt["boxes"],
                dt["scores"],
                dt["category"],
            )
            found.append(np.column_stack(columns_of_7))
        return categories, [(e, t, np.concatenate(f)) for e, t, f in batches]

    def stream(self, batches: Any) -> Any:
        categories, parts = batches
        streaming = StreamingEval(categories)
        for part in parts:
            streaming.update(*part)
        evaluator = streaming.finalize()
        evaluator.accumulate()
        evaluator.summarize()
        return evaluator

    def bootstrap(self, evaluated: Any, replicates: int) -> Any:
        """An interval of the difference between a result and itself: it has none for one result."""
        return compare(evaluated, evaluated, n_bootstrap=replicates)


PROGRAMS = Hotcoco(COCO, COCOeval)
