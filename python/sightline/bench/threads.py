"""The number of threads of torch and of our library."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sightline import _numpy

from .device import torch
from .timing import Sample, sample


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    """Set the number of threads inside, and restore it afterwards."""
    libraries = [_numpy] if torch is None else [_numpy, torch]
    before = [library.get_num_threads() for library in libraries]
    for library in libraries:
        library.set_num_threads(count)
    try:
        yield
    finally:
        for library, threads in zip(libraries, before):
            library.set_num_threads(threads)


def sampler_on_one_thread(run: Callable[[], object], device: str) -> Sample:
    def on_one_thread(calls: int) -> float:
        with threads_of(1):
            return sample(run, calls, device)

    return on_one_thread
