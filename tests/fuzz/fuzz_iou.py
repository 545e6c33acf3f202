"""The overlap forms and losses: sizes, batches, aligned pairs, dtypes, bad boxes, tensors."""

import numpy as np
import torch

from sightline import ops, reference

from ..ops.box_cases import random_boxes

CASES = 20_000
FORMS = ("box_iou", "box_ioa", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
LOSSES = ("generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss")
DTYPES = (np.float32, np.float64, np.float16, np.uint8, np.int16, np.int32, np.int64)
# complete_box_iou has an arctangent of its own; integers and halves compute in float32.
TOLERANCE = {4: 1e-6, 8: 2e-15}


def draw_boxes(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    count = int(np.prod(shape, dtype=np.int64))
    kind = rng.random()
    if kind < 0.3:  # whole numbers in a small range: equal edges and empty boxes are frequent
        boxes = rng.integers(0, 8, (count, 4))
    elif kind < 0.4 and np.dtype(dtype).kind in "iu":  # the whole range of the type
        ends = np.iinfo(dtype)
        boxes = rng.integers(ends.min, ends.max, (count, 4), dtype, endpoint=True)
    elif np.dtype(dtype) in (np.float32, np.float64):
        boxes = random_boxes(rng, count, dtype, bad=bool(rng.random() < 0.5))
        if rng.random() < 0.2:
            boxes = boxes * dtype(10.0 ** rng.integers(-30, 30))
    else:
        boxes = np.abs(random_boxes(rng, count)) % 200
    return boxes.astype(dtype).reshape(*shape, 4)


def check(rng: np.random.Generator) -> None:
    dtype = DTYPES[rng.integers(len(DTYPES))]
    loss = bool(rng.random() < 0.25)
    name = str(rng.choice(LOSSES if loss else FORMS))
    aligned = loss or bool(rng.random() < 0.3)
    n = int(rng.integers(0, 200))
    m = n if aligned else int(rng.integers(0, 200))
    full = tuple(int(k) for k in rng.integers(1, 4, rng.choice([0, 0, 1, 2])))
    leads = [full, full]
    if not loss:
        leads = [tuple(k if rng.random() < 0.7 else 1 for k in full) for _ in range(2)]
    with np.errstate(all="ignore"):
        boxes = [draw_boxes(rng, (*lead, k), dtype) for lead, k in zip(leads, (n, m))]
    said = f"{name}, {dtype.__name__} {[b.shape for b in boxes]}, aligned={aligned}"
    options = {} if loss or not aligned else {"aligned": True}
    expected = getattr(reference, name)(*boxes, **options)
    got = getattr(ops, name)(*boxes, **options)
    assert got.shape == expected.shape and got.dtype == expected.dtype, said
    assert not np.isnan(got).any(), said
    tolerance = TOLERANCE[got.dtype.itemsize] if "complete" in name else 0
    worst = np.abs(got - expected).max(initial=0)
    assert worst <= tolerance, f"off by {worst}: {said}"
    if not aligned and rng.random() < 0.3:
        out = np.full_like(got, np.nan)
        getattr(ops, name)(*boxes, out=out)
        assert out.tobytes() == got.tobytes(), f"out: {said}"
    if rng.random() < 0.3:
        tensors = [torch.from_numpy(b) for b in boxes]
        same = getattr(ops, name)(*tensors, **options).numpy()
        assert same.tobytes() == got.tobytes(), f"tensors: {said}"
