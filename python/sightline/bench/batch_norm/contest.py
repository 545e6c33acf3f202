"""The contenders of a layer, checked against eager torch, and the copies that limit them."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..limits import copies, copy_fresh
from ..outcome import OURS, Outcome
from ..run import Contest
from ..threads import sampler_on_one_thread
from ..timing import sampler
from .benchmark import COPY, COPY_ALONE, EAGER, NEAR_COPY, NEW_COPY, LayerBenchmark
from .contenders import contenders
from .goals import goals
from .memory import kept_bytes, peak_bytes
from .program import Program, Tensors, check_same

_COPIED = {"cpu": 2**27, "cuda": 2**30}  # bytes: several times any cache
_MAPPED_FROM = 2**25  # bytes: malloc maps larger blocks anew in each call, and reuses smaller ones
_CLUSTER = 16  # blocks that share their memory, from Hopper on


def prepare(
    layer: LayerBenchmark, stack: ExitStack, device: str, threads: int
) -> Contest[LayerBenchmark]:
    fits = on_chip(layer, device)
    outcome = Outcome(
        layer,
        goals=goals(layer, device, threads, on_chip=fits),
        size=layer.least_bytes(on_chip=fits),
        limit_name=COPY,
        on_chip=fits,
    )
    programs = _programs(outcome, device)
    for name, program in programs.items():
        if layer.has_backward:
            outcome.kept[name] = kept_bytes(program.forward)
        outcome.peaks[name] = peak_bytes(program, device)

    contest = Contest(outcome, {name: sampler(own, device) for name, own in programs.items()})
    size = _COPIED[device]
    copy, copied = _copy_past_caches(size, device), outcome.size / (2 * size)
    half = layer.tensors * layer.size // 2
    near = copies(half, device)["copy"]
    contest.passes = {
        COPY: (sampler(copy, device), copied),
        NEAR_COPY: (sampler(near, device), outcome.size / (2 * half)),
    }
    if device == "cpu" and layer.size > _MAPPED_FROM:
        contest.passes[NEW_COPY] = sampler(copy_fresh(layer.size)), layer.results
    if threads > 1:
        contest.one_thread = sampler_on_one_thread(programs[OURS], device)
        contest.passes[COPY_ALONE] = sampler_on_one_thread(copy, device), copied
    return contest


@lru_cache(maxsize=1)  # all benchmarks of a run use one size
def _copy_past_caches(size: int, device: str) -> Callable[[], object]:
    return copies(size, device)[COPY]


def _programs(outcome: Outcome[LayerBenchmark], device: str) -> dict[str, Program]:
    """Contenders whose results are those of eager torch; one that cannot run gets a note."""
    layer = outcome.benchmark
    tensors = Tensors(layer, device)
    programs: dict[str, Program] = {}
    expected: dict[str, torch.Tensor] = {}
    for name, make in contenders(layer, device).items():
        try:
            module = make(layer)
            if module is None:
                continue
            program = Program(layer, module, tensors)
            found = program.first()
        except Exception as error:  # anything that a peer, or the compiler it needs, may raise
            if name in (EAGER, OURS):
                raise
            outcome.notes[name] = (str(error).splitlines() or [type(error).__name__])[0]
            continue
        expected = expected or found
        check_same(layer, name, found, expected)
        programs[name] = program
    return {OURS: programs.pop(OURS)} | programs


def on_chip(layer: LayerBenchmark, device: str) -> bool:
    """Whether data that is read twice fits in a core's caches, or in a cluster's shared memory."""
    if device == "cuda":
        properties: Any = torch.cuda.get_device_properties()
        blocks = _CLUSTER if properties.major >= 9 else 1
        return layer.slab(32) <= blocks * properties.shared_memory_per_block_optin
    cache = last_level_cache()
    return cache is None or layer.slab(64) <= cache


def last_level_cache() -> int | None:
    """Bytes, or None if the system does not tell."""
    sizes = [
        path.read_text().strip()
        for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    ]
    units = {"K": 2**10, "M": 2**20}
    return max((int(s[:-1]) * units[s[-1]] for s in sizes if s[-1:] in units), default=None)
