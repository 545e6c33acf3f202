"""The works of IoU and NMS."""

from functools import partial

from .inputs import (
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
from .work import Work

_MATRICES = {"1,000 x 8,400": (1_000, 8_400), "1,000 x 100,000": (1_000, 100_000)}

WORKS = (
    *(
        Work(
            f"box_iou(out=) {size}",
            "box_iou_out",
            partial(pairs, *shape),
            limit="fill",
            goals={"torchvision": 100, "limit": 1 / 0.6},
            cuda_goals={"limit": 1 / 0.8},
            without=("torch",) if shape[1] > 10_000 else (),
            long=shape[1] > 10_000,
        )
        for size, shape in _MATRICES.items()
    ),
    *(
        Work(
            f"box_iou, fresh output, {size}",
            "box_iou",
            partial(pairs, *shape, out=False),
            limit="fill_fresh",
            goals={"limit": 1.3},
            without=("torch",) if shape[1] > 10_000 else (),
            long=shape[1] > 10_000,
        )
        for size, shape in _MATRICES.items()
    ),
    *(
        Work(
            f"{program}(out=) 1,000 x 8,400",
            f"{program}_out",
            partial(pairs, 1_000, 8_400),
            limit="fill",
            tolerance=1e-5,
            goals={"torchvision": 80},
        )
        for program in ("generalized_box_iou", "complete_box_iou")
    ),
    Work(
        "box_iou_max 100,000 x 500",
        "box_iou_max",
        partial(pairs, 100_000, 500, out=False),
        limit="pairs",
        goals={"torchvision": 100},
        without=("torch",),
        long=True,
    ),
    Work(
        "box_iou_topk 500 x 100,000, k = 9",
        "box_iou_topk",
        partial(pairs, 500, 100_000, out=False),
        limit="pairs",
        without=("torch",),
        long=True,
    ),
    Work(
        "box_iou_rotated(out=) 2,000 x 2,000",
        "box_iou_rotated_out",
        partial(rotated_pairs, 2_000, 2_000),
        limit="fill",
        tolerance=1e-3,  # of torchvision, in float32; ours is held to the reference by the tests
        goals={"torchvision": 20},
    ),
    *(
        Work(
            f"{program} 100,000 aligned",
            program,
            partial(aligned_pairs, 100_000),
            limit="read",
            tolerance=1e-5,
        )
        for program in (
            "generalized_box_iou_loss",
            "distance_box_iou_loss",
            "complete_box_iou_loss",
        )
    ),
    Work(
        "decode_boxes 16 x 8,400, clipped",
        "decode_boxes",
        partial(deltas, 16, 8_400),
        limit="read",
        tolerance=1e-3,  # of a pixel in 1,000: torchvision's exponential is torch's
    ),
    *(
        Work(
            f"nms {n:,} sparse",
            "nms",
            partial(sparse, n),
            limit="sort",
            goals={"torchvision": g},
            cuda_goals=cuda_goals,
            without=("torch",) if n >= 10_000 else (),
        )
        for n, g, cuda_goals in (
            (100, 4, {}),
            (1_000, 20, {"torchvision": 3}),
            (10_000, 60, {}),
            (20_000, 100, {"torchvision": 5}),
        )
    ),
    Work(  # torchvision takes 20 s on a CPU
        "nms 100,000 sparse",
        "nms",
        partial(sparse, 100_000),
        limit="sort",
        cuda_goals={"torchvision": 10},
        without=("torch",),
        long=True,
    ),
    Work(
        "nms 20,000 clustered",
        "nms",
        partial(clustered, 20_000),
        limit="sort",
        goals={"torchvision": 8},
    ),
    Work(
        "batched_nms 20,000 of 80 classes",
        "batched_nms",
        partial(classes, 20_000, 80),
        limit="sort",
        goals={"torchvision": 15},
        cuda_goals={"torchvision": 5},
    ),
    Work(
        "multiclass_nms 16 x 8,400 x 80",
        "multiclass_nms",
        partial(raw_detections, 16, 8_400, 80),
        limit="read",
        goals={"torchvision": 20},
        no_sync=True,
        long=True,
    ),
    Work(
        "nms_padded 20,000 sparse to 300",
        "nms_padded",
        partial(sparse, 20_000),
        limit="sort",
        no_sync=True,
    ),
    *(
        Work(
            f"soft_nms 1,000 clustered, {method}",
            f"soft_nms_{method}",
            partial(clustered, 1_000),
            limit="sort",
        )
        for method in ("linear", "gaussian")
    ),
    Work(
        "matrix_nms 1,000 clustered",
        "matrix_nms",
        partial(clustered, 1_000),
        limit="sort",
        tolerance=1e-6,
    ),
    Work(
        "nms_rotated 2,000 sparse",
        "nms_rotated",
        partial(rotated, 2_000),
        limit="sort",
    ),
    Work("weighted_boxes_fusion 3 x 1,000", "weighted_boxes_fusion", partial(models, 3, 1_000)),
    Work("box_iou of one box", "box_iou", partial(pairs, 1, 1, out=False)),
    Work("nms of one box", "nms", partial(sparse, 1), goals={"torchvision": 2}),
)
