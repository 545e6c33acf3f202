"""Bytes of tensors: kept by a forward pass, and at the peak of a step."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..silent import silent


def kept_bytes(forward: Callable[[], object]) -> int:
    """What autograd keeps for the backward pass, x included, each storage counted once."""
    storages = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        forward()
    return sum(storages.values())


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """The peak of torch's allocator during a run, above what it held before."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with silent(2), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        run()
    assert profile.profiler is not None and profile.profiler.kineto_results is not None
    events = profile.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":  # allocated or, if negative, freed
            held += event.nbytes()
            peak = max(peak, held)
    return peak
