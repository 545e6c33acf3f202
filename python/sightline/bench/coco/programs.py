"""The programs of an evaluator; each evaluator overrides those that it supports."""

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..worker import Program

# precision [T, R, K, A, M], recall [T, K, A, M], scores as precision
Arrays = tuple[np.ndarray, ...]

BATCH = 16  # images
REPLICATES = 1_000


def make(
    name: str,
    threads: int,
    program: str,
    kind: str,
    images: int,
    gt: str,
    dt: str,
    columns: str,
) -> Program:
    """A program (a method of `Programs`) of the contender whose file has that name."""
    module = importlib.import_module(f".contenders.{name.replace('-', '_')}", __package__)
    programs: Programs = module.PROGRAMS
    programs.set_threads(threads)
    if program == "files":
        run = partial(programs.files, gt, dt, kind)
    elif program == "stream":
        run = partial(programs.stream, programs.batches(columns, BATCH, images))
    else:
        run = partial(programs.evaluate, programs.load(gt, dt, columns, kind), kind)
    if program not in ("accumulate", "sort_and_accumulate", "bootstrap"):
        return Program(run, programs.arrays, programs.stats)
    evaluated = run()  # the input of these programs, which has the arrays
    given = (REPLICATES,) if program == "bootstrap" else ()
    return Program(
        partial(getattr(programs, program), evaluated, *given),
        lambda _: programs.arrays(evaluated),
        lambda _: programs.stats(evaluated),
    )


class Programs:
    """The programs of one contender."""

    def set_threads(self, threads: int) -> None:
        """Nothing to do for contenders that read their number of threads from the environment."""

    def files(self, gt: str, dt: str, kind: str) -> Any:
        """From two json files to twelve numbers."""
        return self.evaluate(self.load(gt, dt, "", kind), kind)

    def load(self, gt: str, dt: str, columns: str, kind: str) -> Any:
        """The input of `evaluate`, whose preparation is not timed."""
        raise NotImplementedError

    def evaluate(self, loaded: Any, kind: str) -> Any:
        """From loaded data to twelve numbers."""
        raise NotImplementedError

    def accumulate(self, evaluated: Any) -> None:
        """From matches to precision, recall and scores, once more."""
        raise NotImplementedError

    def sort_and_accumulate(self, evaluated: Any) -> None:
        """The same with the sort by class and score, which may otherwise be part of `evaluate`."""
        self.accumulate(evaluated)

    def batches(self, columns: str, size: int, images: int) -> Any:
        """The first images in batches, in the form that `stream` takes."""
        raise NotImplementedError

    def stream(self, batches: Any) -> Any:
        """Add batch after batch, then compute."""
        raise NotImplementedError

    def bootstrap(self, evaluated: Any, replicates: int) -> Any:
        """A confidence interval by resampling images."""
        raise NotImplementedError

    def stats(self, evaluated: Any) -> list[float]:
        """The twelve numbers; ten for keypoints."""
        raise NotImplementedError

    def arrays(self, evaluated: Any) -> Arrays | None:
        """Precision, recall and scores; None if the contender does not expose them."""
        return None


class CocoApi(Programs):
    """A contender with the same classes as pycocotools."""

    def __init__(self, coco: Callable, evaluator: Callable) -> None:
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


def in_batches(
    columns: str, size: int, images: int, forms: Callable[[dict, dict], tuple[Any, Any]]
) -> list[list[list]]:
    """Ids, detections and objects of `size` images each; `forms` makes the last two from arrays."""
    rows = [(i, *forms(dt, gt)) for i, dt, gt in images_of(columns, images)]
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [list(map(list, zip(*part))) for part in parts]


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
