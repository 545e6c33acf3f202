"""torchmetrics' MeanAveragePrecision, which needs torchvision to convert boxes."""

import importlib
from typing import Any

import torch

try:
    from torchvision import ops  # noqa: F401
except RuntimeError:  # built for another torch: it loads with our ops, if there is a sightline
    importlib.import_module("sightline.compat.torchvision").install()

from torchmetrics.detection import MeanAveragePrecision

from ..programs import Programs, in_batches

_STATS = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large"]
_STATS += ["mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"]


class Torchmetrics(Programs):
    def set_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def batches(self, columns: str, size: int, images: int) -> Any:
        def forms(dt: dict, gt: dict) -> tuple[dict, dict]:
            found = {"boxes": dt["boxes"], "scores": dt["scores"], "labels": dt["category"]}
            truth = {"boxes": gt["boxes"], "labels": gt["category"], "area": gt["area"]}
            truth["iscrowd"] = gt["crowd"].astype("int64")
            both = ({k: torch.from_numpy(v) for k, v in own.items()} for own in (found, truth))
            return next(both), next(both)

        return in_batches(columns, size, images, forms)

    def stream(self, batches: Any) -> Any:
        metric = MeanAveragePrecision(box_format="xywh")
        metric.warn_on_many_detections = False
        for _, found, truth in batches:
            metric.update(found, truth)
        return metric.compute()

    def stats(self, evaluated: Any) -> list[float]:
        return [float(evaluated[name]) for name in _STATS]


PROGRAMS = Torchmetrics()
