"""The benchmarks of IoU and NMS: kinds for any shape, and the suite with its goals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .benchmark import OpBenchmark
from .inputs import (
    Arrays,
    aligned_pairs,
    classes,
    clustered,
    deltas,
    models,
    pairs,
    raw_detections,
    rotated,
    rotated_pairs,
    sparse,
)

_K = 9  # of box_iou_topk
# With more, plain torch takes minutes, or more memory than there is.
_MOST_PAIRS, _MOST_BOXES = 10_000_000, 9_999
_LONG = 100_000  # boxes


@dataclass(frozen=True)
class _Kind:
    """Benchmarks that differ only in their shape: `sizes` numbers, which are formatted into `name`
    and passed to `inputs`. `quadratic`: plain torch computes all pairs of boxes."""

    name: str
    program: str
    inputs: Callable[..., Arrays]
    limit: str | None
    tolerance: float = 0.0
    quadratic: bool = False
    no_sync: bool = False
    sizes: int = 1

    def at(self, *shape: int, **settings: Any) -> OpBenchmark:
        if self.sizes == 2:
            many = long = shape[0] * shape[1] > _MOST_PAIRS
        else:
            many = self.quadratic and shape[0] > _MOST_BOXES
            long = self.quadratic and shape[0] >= _LONG
        given = {
            "name": self.name.format(*(f"{size:,}" for size in shape)),
            "long": long,
            "without": ("torch",) if many else (),
            "limit": self.limit,
            **settings,
        }
        return OpBenchmark(
            program=self.program,
            inputs=partial(self.inputs, *shape),
            tolerance=self.tolerance,
            no_sync=self.no_sync,
            **given,
        )


def _of_pairs(name: str, program: str, inputs: Any, limit: str, tolerance: float = 0.0) -> _Kind:
    return _Kind(f"{name} {{}} x {{}}", program, inputs, limit, tolerance, sizes=2)


_two_sets = partial(pairs, out=False)
_LOSSES = ("generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss")
_KINDS = {
    "box_iou": _of_pairs("box_iou(out=)", "box_iou_out", pairs, "fill"),
    "fresh": _of_pairs("box_iou, fresh output,", "box_iou", _two_sets, "fill_fresh"),
    "generalized": _of_pairs(
        "generalized_box_iou(out=)", "generalized_box_iou_out", pairs, "fill", 1e-5
    ),
    "complete": _of_pairs("complete_box_iou(out=)", "complete_box_iou_out", pairs, "fill", 1e-5),
    "max": _of_pairs("box_iou_max", "box_iou_max", _two_sets, "pairs"),
    "topk": _Kind(
        f"box_iou_topk {{}} x {{}}, k = {_K}", "box_iou_topk", _two_sets, "pairs", sizes=2
    ),
    "rotated": _of_pairs(  # torchvision differs in float32; tests compare ours with the reference
        "box_iou_rotated(out=)", "box_iou_rotated_out", rotated_pairs, "fill", 1e-3
    ),
    **{loss: _Kind(f"{loss} {{}} aligned", loss, aligned_pairs, "read", 1e-5) for loss in _LOSSES},
    "nms": _Kind("nms {} sparse", "nms", sparse, "sort", quadratic=True),
    "clustered_nms": _Kind("nms {} clustered", "nms", clustered, "sort"),
    "batched_nms": _Kind(
        "batched_nms {} of 80 classes", "batched_nms", partial(classes, count=80), "sort"
    ),
    "nms_padded": _Kind("nms_padded {} sparse to 300", "nms_padded", sparse, "sort", no_sync=True),
    "linear": _Kind(
        "soft_nms {} clustered, linear", "soft_nms_linear", clustered, "sort", quadratic=True
    ),
    "gaussian": _Kind(
        "soft_nms {} clustered, gaussian", "soft_nms_gaussian", clustered, "sort", quadratic=True
    ),
    "matrix_nms": _Kind(
        "matrix_nms {} clustered", "matrix_nms", clustered, "sort", 1e-6, quadratic=True
    ),
    "nms_rotated": _Kind("nms_rotated {} sparse", "nms_rotated", rotated, "sort"),
    "fusion": _Kind(
        "weighted_boxes_fusion 3 x {}", "weighted_boxes_fusion", partial(models, 3), None
    ),
    "decode_boxes": _Kind(
        "decode_boxes {} x {}, clipped",
        "decode_boxes",
        lambda images, anchors, _: deltas(images, anchors),
        "read",
        tolerance=1e-3,  # of a pixel in 1,000: torchvision's exponential is torch's
        sizes=3,
    ),
    "multiclass_nms": _Kind(
        "multiclass_nms {} x {} x {}",
        "multiclass_nms",
        raw_detections,
        "read",
        no_sync=True,
        sizes=3,
    ),
}


def of_shape(shape: tuple[int, ...]) -> tuple[OpBenchmark, ...]:
    """All benchmarks with inputs of that shape: n boxes, n x m pairs, or images x anchors x
    classes."""
    kinds = [kind for kind in _KINDS.values() if kind.sizes == len(shape)]
    if len(shape) == 2 and shape[1] < _K:
        kinds.remove(_KINDS["topk"])
    return tuple(kind.at(*shape, shape=shape) for kind in kinds)


def _at(kind: str, *shape: int, **settings: Any) -> OpBenchmark:
    """A benchmark of a suite; `times` is the goal for torchvision's time, as a multiple of ours."""
    for goals, key in (("goals", "times"), ("cuda_goals", "cuda_times")):
        if key in settings:
            settings[goals] = {"torchvision": settings.pop(key), **settings.get(goals, {})}
    return _KINDS[kind].at(*shape, **settings)


BENCHMARKS = (
    *(
        _at("box_iou", 1_000, m, times=100, goals={"limit": 1 / 0.6}, cuda_goals={"limit": 1 / 0.8})
        for m in (8_400, 100_000)
    ),
    *(_at("fresh", 1_000, m, goals={"limit": 1.3}) for m in (8_400, 100_000)),
    *(_at(kind, 1_000, 8_400, times=80) for kind in ("generalized", "complete")),
    _at("max", 100_000, 500, times=100),
    _at("topk", 500, 100_000),
    _at("rotated", 2_000, 2_000, times=20),
    *(_at(loss, 100_000) for loss in _LOSSES),
    _at("decode_boxes", 16, 8_400, 80),
    _at("nms", 100, times=4),
    _at("nms", 1_000, times=20, cuda_times=3),
    _at("nms", 10_000, times=60),
    _at("nms", 20_000, times=100, cuda_times=5),
    _at("nms", 100_000, cuda_times=10),  # torchvision takes 20 s on a CPU
    _at("clustered_nms", 20_000, times=8),
    _at("batched_nms", 20_000, times=15, cuda_times=5),
    _at("multiclass_nms", 16, 8_400, 80, times=20, long=True),
    _at("nms_padded", 20_000),
    *(_at(kind, 1_000) for kind in ("linear", "gaussian", "matrix_nms")),
    _at("nms_rotated", 2_000),
    _at("fusion", 1_000),
    _at("fresh", 1, 1, name="box_iou of one box", limit=None),
    _at("nms", 1, name="nms of one box", limit=None, times=2),
)
