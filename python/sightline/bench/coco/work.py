"""What is timed: a data set, a program, and the goals that it is held to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .generate import Recipe

CONTENDERS = ("ultrafast", "hotcoco", "vernier", "faster-coco-eval", "pycocotools")
_STREAMING = ("ultrafast", "ultrafast-one-threshold", "hotcoco")
# Those that take minutes for ten times the images, and 10 GB or more.
_NOT_FOR_MORE = ("vernier", "faster-coco-eval", "pycocotools")
_QUICK = 0.1  # of the images


@dataclass(frozen=True)
class Work:
    """One block of the table.

    `program` is what the contender runs (worker.py), or "process": its files as a whole process.
    `goals`: by how much ours must be faster than a peer; "fastest" stands for the fastest that was
    timed, "memory" is a ratio of peaks, "seconds" the longest time, "limit" the most that ours may
    take of the limit's, "threads" the gain of all threads over one. `slow`: contenders that are
    timed on request only; `long`: `--quick` leaves it out.
    """

    name: str
    program: str
    recipe: Recipe
    goals: Mapping[str, float] = field(default_factory=dict)
    contenders: tuple[str, ...] = CONTENDERS
    slow: tuple[str, ...] = ("pycocotools",)
    images: int = 0  # the first so many of the set, of "stream"; 0 for all
    long: bool = False

    def quick(self) -> "Work":
        """The same with a tenth of the images, few enough for pycocotools; goals are of all."""
        return replace(
            self,
            recipe=self.recipe.times(_QUICK),
            goals={},
            slow=tuple(name for name in self.slow if name != "pycocotools"),
            images=self.images // 10,
        )


VAL = Recipe()
_MORE = Recipe(detections=733_000, most=300)
_TEN_TIMES = VAL.times(10)
_SEGM = Recipe(kind="segm")
_KEYPOINTS = Recipe(objects=11_000, detections=100_000, most=40, kind="keypoints")

WORKS = (
    Work("files to twelve numbers", "files", VAL, {"fastest": 3, "threads": 1.7}),
    Work("files as whole processes", "process", VAL, {"fastest": 2, "memory": 1}),
    Work("files, 733,000 detections", "files", _MORE, {"fastest": 3}),
    Work("files, scores of two digits", "files", replace(VAL, score_decimals=2), {"fastest": 3}),
    Work(
        "files, boxes of one decimal",
        "files",
        replace(VAL, score_decimals=2, box_decimals=1),
        {"fastest": 3},
    ),
    Work(
        "files, 50,000 images", "files", _TEN_TIMES, {"fastest": 3}, slow=_NOT_FOR_MORE, long=True
    ),
    Work("arrays to twelve numbers", "arrays", VAL, {"fastest": 10, "threads": 1.7}),
    Work("arrays, 733,000 detections", "arrays", _MORE, {"fastest": 10}),
    Work(
        "arrays, 50,000 images",
        "arrays",
        _TEN_TIMES,
        {"fastest": 10},
        slow=_NOT_FOR_MORE,
        long=True,
    ),
    Work(  # of the others, evaluate does it too
        "accumulation alone", "accumulate", VAL, {"limit": 3}, ("hotcoco", "vernier", "pycocotools")
    ),
    Work("layout and accumulation", "sort_and_accumulate", VAL, {"limit": 3}, ()),
    Work(
        "streaming of 16-image batches",
        "stream",
        VAL,
        {"ultrafast": 2, "ultrafast-one-threshold": 2},
        _STREAMING,
        slow=(),
    ),
    Work(  # torchmetrics takes a minute for all 5,000
        "streaming, 500 images",
        "stream",
        VAL,
        {"torchmetrics": 50},
        (*_STREAMING, "torchmetrics"),
        slow=(),
        images=500,
    ),
    Work("segmentation files", "files", _SEGM, {"fastest": 2}),
    Work("segmentation, loaded", "arrays", _SEGM, {"fastest": 2}),
    Work("keypoint files", "files", _KEYPOINTS),
    Work(
        "bootstrap of 1,000 replicates",
        "bootstrap",
        VAL,
        {"seconds": 10},
        ("hotcoco",),
        slow=("hotcoco",),
    ),
)
