"""What a contender can be asked for; it has what it overrides."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Arrays = tuple[
    np.ndarray, ...
]  # precision [T, R, K, A, M], recall [T, K, A, M], scores as precision


class Programs:
    """The programs of one contender. `distribution` is its name at PyPI."""

    distribution = ""

    def set_threads(self, threads: int) -> None:
        """Those whose threads the environment sets need nothing."""

    def files(self, gt: str, dt: str, kind: str) -> Any:
        """From two json files to twelve numbers."""
        return self.evaluate(self.load(gt, dt, "", kind), kind)

    def load(self, gt: str, dt: str, columns: str, kind: str) -> Any:
        """What `evaluate` takes, ready: its time does not count."""
        raise NotImplementedError

    def evaluate(self, loaded: Any, kind: str) -> Any:
        """From there to twelve numbers."""
        raise NotImplementedError

    def accumulate(self, evaluated: Any) -> None:
        """Once more from matches to precision, recall and scores."""
        raise NotImplementedError

    def sort_and_accumulate(self, evaluated: Any) -> None:
        """The same with the sort by class and score, which may be part of something else."""
        self.accumulate(evaluated)

    def batches(self, columns: str, size: int, images: int) -> Any:
        """Those images in batches, in the contender's own form: ready for `stream`."""
        raise NotImplementedError

    def stream(self, batches: Any) -> Any:
        """Add batch after batch, then compute."""
        raise NotImplementedError

    def bootstrap(self, evaluated: Any, replicates: int) -> Any:
        """An interval of confidence by drawing images again."""
        raise NotImplementedError

    def stats(self, evaluated: Any) -> list[float]:
        """The twelve numbers; ten of keypoints."""
        raise NotImplementedError

    def arrays(self, evaluated: Any) -> Arrays | None:
        """What the numbers are made of; None where the contender does not show it."""
        return None


class CocoApi(Programs):
    """A contender with the classes of pycocotools."""

    def __init__(self, distribution: str, coco: Callable, evaluator: Callable) -> None:
        self.distribution = distribution
        self._coco, self._evaluator = coco, evaluator

    def load(self, gt: str, dt: str, columns: str, kind: str) -> Any:
        truth = self._coco(gt)
        return truth, truth.loadRes(dt)

    def evaluate(self, loaded: Any, kind: str) -> Any:
        evaluator = self._evaluator(*loaded, kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        return evaluator

    def accumulate(self, evaluated: Any) -> None:
        evaluated.accumulate()

    def stats(self, evaluated: Any) -> list[float]:
        return [float(value) for value in evaluated.stats]

    def arrays(self, evaluated: Any) -> Arrays | None:
        found = evaluated.eval
        return tuple(np.asarray(found[name]) for name in ("precision", "recall", "scores"))


def images_of(columns: str, images: int) -> Iterator[tuple[int, dict, dict]]:
    """(id, detections, objects) of the first images, as arrays of xywh boxes."""
    with np.load(columns) as data:
        ids = data["image_ids"]
        found = _by_image(data, "dt", len(ids), ("boxes", "category", "scores"))
        truth = _by_image(data, "gt", len(ids), ("boxes", "category", "area", "crowd"))
    for image_id, dt, gt, _ in zip(ids.tolist(), found, truth, range(images)):
        yield image_id, dt, gt


def _by_image(data: Any, side: str, images: int, names: tuple[str, ...]) -> list[dict]:
    order = np.argsort(data[f"{side}_image"], kind="stable")
    ends = np.searchsorted(data[f"{side}_image"][order], np.arange(1, images))
    parts = [np.split(data[f"{side}_{name}"][order], ends) for name in names]
    return [dict(zip(names, own)) for own in zip(*parts)]
