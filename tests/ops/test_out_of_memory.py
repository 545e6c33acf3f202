"""Where there is no memory: how many bytes, of what, and the exception that the caller expects."""

import numpy as np
import pytest
import torch

from sightline import ops

from ..fresh import run

BOXES = np.zeros((1, 4), np.float32)
MANY = 2**50  # terabytes, which no machine has


def test_arrays_raise_memory_error_with_the_bytes_of_the_result():
    with pytest.raises(MemoryError, match=r"4.00 PiB .* shape \(1, 1, 1125899906842624\)"):
        ops.box_iou_topk(BOXES, BOXES, MANY)


def test_tensors_raise_what_torch_raises_with_the_bytes_of_the_result():
    with pytest.raises(RuntimeError) as torch_raises:
        torch.empty(4 * MANY, dtype=torch.uint8)
    with pytest.raises(type(torch_raises.value)) as raised:
        ops.box_iou_topk(torch.from_numpy(BOXES), torch.from_numpy(BOXES), MANY)
    said = str(raised.value)
    assert said.startswith(f"sightline: no {4 * MANY} bytes for the result: ")
    assert str(torch_raises.value).split(".")[0].split("(")[0] in said


def test_the_copy_of_an_argument_is_said_to_be_one():
    cost = torch.zeros(1, dtype=torch.float64).expand(2**20, 2**20)
    with pytest.raises(
        RuntimeError, match="no 8796093022208 bytes for a contiguous copy of an arg"
    ):
        ops.linear_assignment(cost)


_SOLVE = """
import resource, sys
import numpy as np, torch
from sightline import ops
cost = np.zeros((20000, 20000), np.float32)
kind = np.asarray if sys.argv[1] == "arrays" else torch.from_numpy
ops.linear_assignment(kind(cost[:9, :9].copy()))
room = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (1 << 29)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    ops.linear_assignment(kind(cost))
except MemoryError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_working_memory_is_said_to_be_it(kind):
    ended = run(_SOLVE, kind, timeout=60)
    assert ended.stdout == "sightline: no 3200000000 bytes for working memory\n", ended.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_cuda_it_is_torchs_own_exception():
    boxes = torch.zeros(1, 4, device="cuda")
    with pytest.raises(torch.cuda.OutOfMemoryError, match=f"sightline: no {4 * MANY} bytes"):
        ops.box_iou_topk(boxes, boxes, MANY)
