"""vernier, with its own evaluator, in the mode that reproduces pycocotools."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from vernier._core import evaluate_bbox_grid, evaluate_keypoints_grid, evaluate_segm_grid
from vernier.instance import Bbox, CocoDataset, Evaluator, Keypoints, Segm

from ..programs import Arrays, Programs

_IOU = {"bbox": Bbox, "segm": Segm, "keypoints": Keypoints}
_GRIDS = {
    "bbox": evaluate_bbox_grid,
    "segm": evaluate_segm_grid,
    "keypoints": evaluate_keypoints_grid,
}
_CAPS = {"bbox": [1, 10, 100], "segm": [1, 10, 100], "keypoints": [20]}


class Vernier(Programs):
    def __init__(self) -> None:
        self.threads = os.cpu_count() or 1
        self._grid: Any = None

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def load(self, gt: str, dt: str, columns: str, kind: str) -> Any:
        truth = Path(gt).read_bytes()
        found: Any = Path(dt).read_bytes()
        if not columns:
            return truth, found
        if kind == "bbox":
            with np.load(columns) as data:
                ids = data["image_ids"][data["dt_image"]]
                rows = (ids, data["dt_boxes"], data["dt_scores"], data["dt_category"])
                found = np.column_stack(rows).astype(np.float64)
        return CocoDataset.from_json(truth), found

    def evaluate(self, loaded: Any, kind: str) -> Any:
        evaluator = Evaluator(iou=_IOU[kind](), parity_mode="strict")
        return evaluator.evaluate(*loaded, num_threads=self.threads), loaded, kind

    def accumulate(self, evaluated: Any) -> None:
        _, loaded, kind = evaluated
        if self._grid is None:
            self._grid = self._grid_of(loaded, kind)
        self._grid.accumulate(_CAPS[kind])

    def stats(self, evaluated: Any) -> list[float]:
        return list(evaluated[0].stats)

    def arrays(self, evaluated: Any) -> Arrays:
        _, loaded, kind = evaluated
        found = self._grid_of(loaded, kind).accumulate(_CAPS[kind])
        return np.asarray(found.precision), np.asarray(found.recall), np.asarray(found.scores)

    def _grid_of(self, loaded: Any, kind: str) -> Any:
        cap = _CAPS[kind][-1]
        return _GRIDS[kind](*loaded, parity_mode="strict", max_dets_per_image=cap, use_cats=True)


PROGRAMS = Vernier()
