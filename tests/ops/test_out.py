"""`out`: one rule for every op that takes it, on arrays and on tensors."""

import inspect

import numpy as np
import pytest
import torch

from sightline import ops

from .calls import CALLS

WITH_OUT = [
    name for name in ops.__all__ if "out" in inspect.signature(getattr(ops, name)).parameters
]
KINDS = [np.asarray, torch.from_numpy]


def boxes_of(name: str, kind, count: int):
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 9, (count, CALLS[name]["boxes1"].shape[1])).astype(np.float32)
    return kind(boxes)


@pytest.mark.parametrize("kind", KINDS, ids=["arrays", "tensors"])
@pytest.mark.parametrize("name", WITH_OUT)
def test_an_out_that_overlaps_an_input_is_refused(name, kind):
    op = getattr(ops, name)
    others = boxes_of(name, kind, 4)
    columns = others.shape[1]
    memory = kind(np.zeros(columns * 101, np.float32))
    boxes = memory[: 100 * columns].reshape(100, columns)
    boxes[:] = boxes_of(name, kind, 100)
    right = op(boxes, others)
    for start in (0, columns):  # all of it, or all but a row
        out = memory[start : start + 400].reshape(100, 4)
        with pytest.raises(
            ValueError, match=r"`out` must not overlap `boxes1`.* memory of its own"
        ):
            op(boxes, others, out=out)
    with pytest.raises(ValueError, match=r"`out` must not overlap `boxes2`"):
        op(others, boxes, out=memory[:400].reshape(4, 100))
    assert (op(boxes, others) == right).all()  # nothing was written


@pytest.mark.parametrize("kind", KINDS, ids=["arrays", "tensors"])
@pytest.mark.parametrize("name", WITH_OUT)
def test_an_out_that_overlaps_itself_is_refused(name, kind):
    boxes = boxes_of(name, kind, 4)
    row = np.zeros((1, 4), np.float32)
    out = (
        torch.from_numpy(row).expand(4, 4)
        if kind is not np.asarray
        else np.lib.stride_tricks.as_strided(row, (4, 4), (0, 4))
    )
    with pytest.raises(ValueError, match=r"`out` must be a contiguous .* got non-contiguous"):
        getattr(ops, name)(boxes, boxes, out=out)


@pytest.mark.parametrize("name", WITH_OUT)
def test_an_out_that_cannot_be_written_is_refused(name):
    boxes = boxes_of(name, np.asarray, 4)
    out = np.zeros((4, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"`out` must be writeable"):
        getattr(ops, name)(boxes, boxes, out=out)


@pytest.mark.parametrize("kind", KINDS, ids=["arrays", "tensors"])
@pytest.mark.parametrize("name", WITH_OUT)
def test_an_out_beside_its_inputs_is_filled(name, kind):
    op = getattr(ops, name)
    columns = CALLS[name]["boxes1"].shape[1]
    memory = kind(np.zeros(4 * columns + 16, np.float32))
    boxes, out = memory[: 4 * columns].reshape(4, columns), memory[4 * columns :].reshape(4, 4)
    boxes[:] = boxes_of(name, kind, 4)
    right = op(boxes, boxes)
    assert op(boxes, boxes, out=out) is out
    assert (out == right).all()
