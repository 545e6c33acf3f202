"""Samples on a number of threads, torch's and ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from sightline import _numpy

from .run_program import sample
from .timing import Sample


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    """So many threads inside, and as many as before afterwards."""
    before = torch.get_num_threads(), _numpy.get_num_threads()
    torch.set_num_threads(count)
    _numpy.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        _numpy.set_num_threads(before[1])


def sampler(run: Callable[[], object], device: str) -> Sample:
    return lambda calls: sample(run, calls, device)


def sampler_on_one_thread(run: Callable[[], object], device: str) -> Sample:
    def on_one_thread(calls: int) -> float:
        with threads_of(1):
            return sample(run, calls, device)

    return on_one_thread
