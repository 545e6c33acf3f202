"""That batch norm gives the same bits at every ISA level and with any number of threads.

A case is a shape and its number of ghost batches.
"""

import hashlib
import inspect
import itertools

import torch

from sightline import ops

from .isa import output_of_every_level


def digest(cases, dtypes, activations):
    """Of y and its gradients, in both layouts, with and without a residual."""
    torch.manual_seed(0)
    seen = hashlib.sha256()
    for (shape, ghosts), dtype, last, activation, residual in itertools.product(
        cases, dtypes, (0, 1), activations, (0, 1)
    ):
        x, r, g = (torch.randn(shape).to(dtype) for _ in range(3))
        if last:
            x = x.contiguous(memory_format=torch.channels_last)
        w = torch.randn(shape[1]).to(torch.promote_types(dtype, torch.float32))
        inputs = [t.requires_grad_() for t in (x, w, r)[: 2 + residual]]
        y = ops.batch_norm_act(
            x, w, None, None, None, residual=r if residual else None, activation=activation,
            ghost_batches=ghosts,
        )  # fmt: skip
        for t in (y, *torch.autograd.grad(y, inputs, g)):
            seen.update(t.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return seen.hexdigest()


def assert_same_at_every_level(cases, activations):
    dtypes = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
    code = "import hashlib, itertools, torch\nfrom sightline import ops\n"
    code += f"{inspect.getsource(digest)}\nprint(digest({cases}, {dtypes}, {activations}))"
    output_of_every_level(code)


def assert_same_with_any_threads(cases):
    threads = torch.get_num_threads()
    digests = set()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            digests.add(digest(cases, [torch.float32, torch.bfloat16], ["relu"]))
    finally:
        torch.set_num_threads(threads)
    assert len(digests) == 1
