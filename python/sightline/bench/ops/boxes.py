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
    """Benchmarks that differ only in their shape, which is formatted into `name` and passed to
    `inputs`. `quadratic`: plain torch computes all pairs of boxes."""

    name: str
    program: str
    inputs: Callable[..., Arrays]
    limit: str | None
    tolerance: float = 0.0
    quadratic: bool = False
    no_sync: bool = False

    def at(self, *shape: int, **settings: Any) -> OpBenchmark:
        if len(shape) == 2:
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


# Of n x m pairs.
_box_iou = _Kind("box_iou(out=) {} x {}", "box_iou_out", pairs, "fill")
_fresh_box_iou = _Kind(
    "box_iou, fresh output, {} x {}", "box_iou", partial(pairs, out=False), "fill_fresh"
)
_generalized, _complete = (
    _Kind(f"{program}(out=) {{}} x {{}}", f"{program}_out", pairs, "fill", tolerance=1e-5)
    for program in ("generalized_box_iou", "complete_box_iou")
)
_box_iou_max = _Kind("box_iou_max {} x {}", "box_iou_max", partial(pairs, out=False), "pairs")
_box_iou_topk = _Kind(
    f"box_iou_topk {{}} x {{}}, k = {_K}", "box_iou_topk", partial(pairs, out=False), "pairs"
)
_box_iou_rotated = _Kind(
    "box_iou_rotated(out=) {} x {}",
    "box_iou_rotated_out",
    rotated_pairs,
    "fill",
    tolerance=1e-3,  # of torchvision, in float32; tests compare ours with the reference
)
# Of n boxes.
_losses = tuple(
    _Kind(f"{program} {{}} aligned", program, aligned_pairs, "read", tolerance=1e-5)
    for program in (
        "generalized_box_iou_loss",
        "distance_box_iou_loss",
        "complete_box_iou_loss",
    )
)
_nms = _Kind("nms {} sparse", "nms", sparse, "sort", quadratic=True)
_clustered_nms = _Kind("nms {} clustered", "nms", clustered, "sort")
_batched_nms = _Kind(
    "batched_nms {} of 80 classes", "batched_nms", partial(classes, count=80), "sort"
)
_nms_padded = _Kind("nms_padded {} sparse to 300", "nms_padded", sparse, "sort", no_sync=True)
_soft_nms = tuple(
    _Kind(
        f"soft_nms {{}} clustered, {method}",
        f"soft_nms_{method}",
        clustered,
        "sort",
        quadratic=True,
    )
    for method in ("linear", "gaussian")
)
_matrix_nms = _Kind(
    "matrix_nms {} clustered", "matrix_nms", clustered, "sort", tolerance=1e-6, quadratic=True
)
_nms_rotated = _Kind("nms_rotated {} sparse", "nms_rotated", rotated, "sort")
_fusion = _Kind(
    "weighted_boxes_fusion 3 x {}", "weighted_boxes_fusion", partial(models, 3), limit=None
)
# Of images x anchors x classes.
_decode_boxes = _Kind(
    "decode_boxes {} x {}, clipped",
    "decode_boxes",
    lambda images, anchors, _: deltas(images, anchors),
    "read",
    tolerance=1e-3,  # of a pixel in 1,000: torchvision's exponential is torch's
)
_multiclass_nms = _Kind(
    "multiclass_nms {} x {} x {}", "multiclass_nms", raw_detections, "read", no_sync=True
)

_OF_PAIRS = (
    _box_iou,
    _fresh_box_iou,
    _generalized,
    _complete,
    _box_iou_max,
    _box_iou_topk,
    _box_iou_rotated,
)
_OF_BOXES = (
    *_losses,
    _nms,
    _clustered_nms,
    _batched_nms,
    _nms_padded,
    *_soft_nms,
    _matrix_nms,
    _nms_rotated,
    _fusion,
)
_OF_DETECTIONS = (_decode_boxes, _multiclass_nms)


def of_shape(shape: tuple[int, ...]) -> tuple[OpBenchmark, ...]:
    """All benchmarks with inputs of that shape: n boxes, n x m pairs, or images x anchors x
    classes."""
    kinds = (_OF_BOXES, _OF_PAIRS, _OF_DETECTIONS)[len(shape) - 1]
    if len(shape) == 2 and shape[1] < _K:
        kinds = tuple(kind for kind in kinds if kind is not _box_iou_topk)
    return tuple(kind.at(*shape, shape=shape) for kind in kinds)


BENCHMARKS = (
    *(
        _box_iou.at(
            1_000, m, goals={"torchvision": 100, "limit": 1 / 0.6}, cuda_goals={"limit": 1 / 0.8}
        )
        for m in (8_400, 100_000)
    ),
    *(_fresh_box_iou.at(1_000, m, goals={"limit": 1.3}) for m in (8_400, 100_000)),
    *(kind.at(1_000, 8_400, goals={"torchvision": 80}) for kind in (_generalized, _complete)),
    _box_iou_max.at(100_000, 500, goals={"torchvision": 100}),
    _box_iou_topk.at(500, 100_000),
    _box_iou_rotated.at(2_000, 2_000, goals={"torchvision": 20}),
    *(kind.at(100_000) for kind in _losses),
    _decode_boxes.at(16, 8_400, 80),
    _nms.at(100, goals={"torchvision": 4}),
    _nms.at(1_000, goals={"torchvision": 20}, cuda_goals={"torchvision": 3}),
    _nms.at(10_000, goals={"torchvision": 60}),
    _nms.at(20_000, goals={"torchvision": 100}, cuda_goals={"torchvision": 5}),
    _nms.at(100_000, cuda_goals={"torchvision": 10}),  # torchvision takes 20 s on a CPU
    _clustered_nms.at(20_000, goals={"torchvision": 8}),
    _batched_nms.at(20_000, goals={"torchvision": 15}, cuda_goals={"torchvision": 5}),
    _multiclass_nms.at(16, 8_400, 80, goals={"torchvision": 20}, long=True),
    _nms_padded.at(20_000),
    *(kind.at(1_000) for kind in _soft_nms),
    _matrix_nms.at(1_000),
    _nms_rotated.at(2_000),
    _fusion.at(1_000),
    _fresh_box_iou.at(1, 1, name="box_iou of one box", limit=None),
    _nms.at(1, name="nms of one box", limit=None, goals={"torchvision": 2}),
)
