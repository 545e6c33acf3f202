"""No integer crashes a process, whichever argument it is given to.

What is too large raises, in the public functions and in the torch ops under them. The calls run in
a process of their own, with little memory, so that a crash is a failure and what is merely large
has no room.
"""

import pytest

from ..fresh import run

_CALL_ALL = """
import resource, sys
import numpy as np, torch
from torch.utils._python_dispatch import TorchDispatchMode
from sightline import ops
from tests.ops.calls import CALLS, on_tensors

EXTREMES = (-1, 0, 2**31, 2**32, 2**62, 2**63 - 1, 2**70)
kind = sys.argv[1]
torch.set_num_threads(1)
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + (1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (room, room))


def variants(value):
    '''`value` with each integer in it replaced in turn by each extreme.'''
    if isinstance(value, int) and not isinstance(value, bool):
        yield from EXTREMES
    if isinstance(value, list | tuple):
        for i, part in enumerate(value):
            for other in variants(part):
                yield [*value[:i], other, *value[i + 1 :]]


def emptied(value):
    if isinstance(value, np.ndarray | torch.Tensor) and value.ndim:
        return value[:0]
    return [emptied(part) for part in value] if isinstance(value, list) else value


class Record(TorchDispatchMode):
    '''Keeps a call of each of our torch ops.'''

    def __init__(self):
        super().__init__()
        self.calls = {}

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op.namespace == "sightline":
            self.calls.setdefault(op, args)
        return op(*args, **(kwargs or {}))


def public_calls():
    for name, arguments in CALLS.items():
        op = getattr(ops, name)
        yield name, lambda *values, op=op, names=tuple(arguments): op(**dict(zip(names, values))), [
            *arguments.values()
        ]


def torch_calls():
    with Record() as record:
        for name, arguments in CALLS.items():
            getattr(ops, name)(**on_tensors(arguments))
        x = torch.arange(12.0).reshape(4, 3)
        two = torch.ones(2, 3, dtype=torch.float64)
        native = torch.ops.sightline
        y, statistics, mask = native.batch_norm_act(x, None, None, None, 0, 0.01, 1e-5, 0, 2)
        native.batch_norm_act_backward(
            x, x, None, None, None, statistics, None, None, 0, 0.01, True, 1e-5, True, False, 2
        )
        native.batch_norm_apply(x, None, None, two[0], two[1], None, 0, 0.01, 1e-5, 0)
        sums = native.batch_norm_backward_sums(
            x, x, None, None, two, None, None, 0, 0.01, 1e-5
        )
        native.batch_norm_backward_apply(
            x, x, None, None, two, sums, None, None, 0, 0.01, 1e-5, False
        )
        native.batch_norm_track(two, 4, 0.1, torch.ones(3), torch.ones(3), None)
        native.batch_norm_moments(x)
    schemas = {
        schema.name.split("::")[1]
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("sightline::")
        and any("int" in str(argument.type).lower() for argument in schema.arguments)
    }
    called = {op._opname for op in record.calls}
    assert schemas <= called, f"no call of {schemas - called}"
    for op, arguments in record.calls.items():
        yield op._opname, op, list(arguments)


count = 0
for name, call, arguments in public_calls() if kind == "arrays" else torch_calls():
    for of in (arguments, [emptied(value) for value in arguments]):
        for i, other in ((i, other) for i, value in enumerate(of) for other in variants(value)):
            print(name, i, other, file=sys.stderr, flush=True)  # the last is the culprit
            try:
                call(*of[:i], other, *of[i + 1 :])
            except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError):
                pass
            count += 1
print(count)
"""


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_an_extreme_integer_raises_and_does_not_crash(kind):
    ended = run(_CALL_ALL, kind, timeout=120)
    assert ended.returncode == 0, (ended.returncode, ended.stderr[-2000:])
    assert int(ended.stdout) > 200


def test_a_map_too_large_to_number_its_anchors_is_refused():
    import numpy as np
    import torch

    from sightline import ops

    for kind in (np.asarray, torch.tensor):
        boxes, sizes = kind([[0.0, 0, 5, 5]]), [kind([[10.0, 10]])]
        with pytest.raises(ValueError, match=r"`feature_sizes` must hold fewer than 2.63 anchors"):
            ops.assign_yolo(boxes, sizes, [(2**32, 2**32)], [8.0])
    with pytest.raises(ValueError, match=r"must be fewer than 2.63"):
        torch.ops.sightline.assign_yolo(boxes[None], sizes[0], [1], [2**32], [2**32], [8.0], 3, 4.0)
