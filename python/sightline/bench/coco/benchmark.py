"""What is timed: a program on a data set, and its goals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ..outcome import LIMIT, OURS, THREADS, Benchmark, Outcome, times_as_json
from ..text import block, row, size, timed, verdicts
from .generate import Recipe

# Goals in addition to those of outcome.py.
FASTEST, MEMORY, SECONDS = "fastest", "memory", "seconds"
_WIDTH = 16  # of the column of times

CONTENDERS = ("ultrafast", "hotcoco", "vernier", "faster-coco-eval", "pycocotools")
_STREAMING = ("ultrafast", "ultrafast-one-threshold", "hotcoco")
# With ten times the images these take minutes, and 10 GB or more.
_NOT_FOR_MORE = ("vernier", "faster-coco-eval", "pycocotools")
_QUICK = 0.1  # of the images


@dataclass(frozen=True)
class CocoBenchmark(Benchmark):
    """One block of the table.

    `program` is what the contender runs (programs.py), or "process": the program "files" as a whole
    process. `goals` has, by the name of a peer, how many times as fast as it ours should be;
    "fastest" is the fastest peer that was timed, "threads" the gain of all threads over one,
    "memory" the ratio of the peaks, "seconds" the longest time allowed, and "limit" the largest
    multiple of the limit's time allowed. `slow` names contenders that are timed only on request.
    `--quick` leaves out what is `long`.
    """

    units: ClassVar = {
        FASTEST: "of the fastest peer",
        MEMORY: "of the leanest peer's memory",
        THREADS: "of one thread",
        LIMIT: "times the limit",
        SECONDS: "s",
    }
    peer_unit = "of {}"
    at_most = (LIMIT, SECONDS)

    name: str
    program: str
    recipe: Recipe
    goals: Mapping[str, float] = field(default_factory=dict)
    contenders: tuple[str, ...] = CONTENDERS
    slow: tuple[str, ...] = ("pycocotools",)
    images: int = 0  # how many images of the set "stream" takes; 0 for all
    long: bool = False

    def quick(self) -> "CocoBenchmark":
        """With a tenth of the images, few enough for pycocotools, and no goals: these need all."""
        return replace(
            self,
            recipe=self.recipe.times(_QUICK),
            goals={},
            slow=tuple(name for name in self.slow if name != "pycocotools"),
            images=self.images // 10,
        )

    def text(self, outcome: Outcome) -> str:
        images = f"{self.images or self.recipe.images:,} images"
        found = f"{self.recipe.detections:,} detections"
        if self.images:
            found += f" of {self.recipe.images:,} images"

        def columns(name: str) -> list[str]:
            parts = []
            if name != OURS and OURS in outcome.times:
                parts.append(f"{outcome.ratio(name):.3g}x")
            if name in outcome.peaks:
                parts.append(size(outcome.peaks[name]))
            return parts

        remarks = [row(name, timed(times), _WIDTH) for name, times in outcome.passes.items()]
        if outcome.same_bits:
            remarks.append("  same bits as " + ", ".join(outcome.same_bits))
        title = f"{self.name}: {images}, {found}, {size(outcome.size)} of json"
        return block(outcome, title, columns, [*remarks, *verdicts(outcome)], width=_WIDTH)

    def measured(self, outcome: Outcome) -> dict[str, float]:
        found = {}
        if OURS in outcome.times:
            if outcome.peers:
                found[FASTEST] = min(map(outcome.ratio, outcome.peers))
            if outcome.limit:
                found[LIMIT] = 1 / outcome.share(outcome.limit[0])
            found[SECONDS] = outcome.ours.median
        peers = [peak for name, peak in outcome.peaks.items() if name != OURS]
        if OURS in outcome.peaks and peers:
            found[MEMORY] = min(peers) / outcome.peaks[OURS]
        return found

    def figures(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "program": self.program,
            "data": vars(self.recipe),
            "bytes of files": outcome.size,
            "times": times_as_json(outcome.times),
            "peak bytes": outcome.peaks,
            "goals": outcome.reached_as_json(),
            "limit": outcome.limit[1].as_json() if outcome.limit else None,
            "same bits as": outcome.same_bits,
            "notes": outcome.notes,
        }


VAL = Recipe()
_MORE = Recipe(detections=733_000, most=300)
_TEN_TIMES = VAL.times(10)
_SEGM = Recipe(kind="segm")
_KEYPOINTS = Recipe(objects=11_000, detections=100_000, most=40, kind="keypoints")


def _files(name: str, recipe: Recipe, fastest: float = 3, **more: Any) -> CocoBenchmark:
    return CocoBenchmark(name, "files", recipe, {FASTEST: fastest}, **more)


def _arrays(name: str, recipe: Recipe, fastest: float = 10, **more: Any) -> CocoBenchmark:
    return CocoBenchmark(name, "arrays", recipe, {FASTEST: fastest}, **more)


BENCHMARKS = (
    CocoBenchmark("files to twelve numbers", "files", VAL, {FASTEST: 3, THREADS: 1.7}),
    CocoBenchmark("files as whole processes", "process", VAL, {FASTEST: 2, MEMORY: 1}),
    _files("files, 733,000 detections", _MORE),
    _files("files, scores of two digits", replace(VAL, score_decimals=2)),
    _files("files, boxes of one decimal", replace(VAL, score_decimals=2, box_decimals=1)),
    _files("files, 50,000 images", _TEN_TIMES, slow=_NOT_FOR_MORE, long=True),
    CocoBenchmark("arrays to twelve numbers", "arrays", VAL, {FASTEST: 10, THREADS: 1.7}),
    _arrays("arrays, 733,000 detections", _MORE),
    _arrays("arrays, 50,000 images", _TEN_TIMES, slow=_NOT_FOR_MORE, long=True),
    CocoBenchmark(  # the other evaluators do it in evaluate
        "accumulation alone", "accumulate", VAL, {LIMIT: 3}, ("hotcoco", "vernier", "pycocotools")
    ),
    CocoBenchmark("layout and accumulation", "sort_and_accumulate", VAL, {LIMIT: 3}, ()),
    CocoBenchmark(
        "streaming of 16-image batches",
        "stream",
        VAL,
        {"ultrafast": 2, "ultrafast-one-threshold": 2},
        _STREAMING,
        slow=(),
    ),
    CocoBenchmark(  # torchmetrics takes a minute for all 5,000
        "streaming, 500 images",
        "stream",
        VAL,
        {"torchmetrics": 50},
        (*_STREAMING, "torchmetrics"),
        slow=(),
        images=500,
    ),
    _files("segmentation files", _SEGM, 2),
    _arrays("segmentation, loaded", _SEGM, 2),
    CocoBenchmark("keypoint files", "files", _KEYPOINTS),
    CocoBenchmark(
        "bootstrap of 1,000 replicates", "bootstrap", VAL, {SECONDS: 10}, ("hotcoco",), ("hotcoco",)
    ),
)
