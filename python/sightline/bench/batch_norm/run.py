"""Runs benchmarks: all contenders against eager torch first, then they and two copies in turns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..limits import Passes, copies, copy_fresh
from ..threads import sampler, sampler_on_one_thread, threads_of
from ..timing import Sample, Times, take_turns, unsteady
from .contenders import EAGER, OURS, contenders
from .goals import KEPT, LIMIT, THREADS, goals
from .memory import kept_bytes, peak_bytes
from .program import Program, Tensors, check_same
from .work import Work

ONE_THREAD = "one thread"
COPY, NEAR_COPY, NEW_COPY = "streaming copy", "copy of that footprint", "copies into new memory"
COPY_ALONE = "streaming copy on one thread"
_COPIED = {"cpu": 2**27, "cuda": 2**30}  # bytes: several times any cache
_MAPPED_FROM = 2**25  # bytes: malloc maps anew what is larger, and keeps the rest at hand
_CLUSTER = 16  # blocks that share their memory, from Hopper on


@dataclass
class Outcome:
    """What one work gave, by contender. `notes` say why a contender has no time."""

    work: Work
    on_chip: bool  # whether what is read twice can stay in the caches
    goals: dict[str, float]
    times: dict[str, Times] = field(default_factory=dict)
    # Of as many bytes; into new memory one for each result.
    copies: dict[str, Times] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def least_bytes(self) -> int:
        return self.work.least_bytes(on_chip=self.on_chip)

    @property
    def noisy(self) -> bool:
        return unsteady(self.copies[COPY], self.times[OURS])

    def ratio(self, name: str) -> float:
        return self.times[name].median / self.times[OURS].median

    def share(self, name: str, copy: str) -> float:
        """Of the bandwidth of a copy."""
        return self.copies[copy].median / self.times[name].median

    @property
    def copy_gain(self) -> float | None:
        """What the copy past the caches gains from the threads: memory may be one thread's."""
        alone = self.copies.get(COPY_ALONE)
        return alone.median / self.copies[COPY].median if alone else None

    def reached(self) -> dict[str, tuple[float, float]]:
        """Of each goal that was measured: what was reached, and the goal."""
        found = {name: self.ratio(name) for name in self.times}
        found[LIMIT] = self.share(OURS, COPY)
        if ONE_THREAD in self.times:
            found[THREADS] = self.ratio(ONE_THREAD)
        if {OURS, EAGER} <= set(self.kept):
            # Vectors of one number per channel do not count: 1 % at 2048x7x7.
            found[KEPT] = round(self.kept[EAGER] / self.kept[OURS], 1)
        return {name: (found[name], goal) for name, goal in self.goals.items() if name in found}

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.work.name,
            **vars(self.work),
            "least bytes": self.least_bytes,
            "passes": self.work.passes(on_chip=self.on_chip),
            "on chip": self.on_chip,
            "noisy": self.noisy,
            "times": {name: times.as_json() for name, times in self.times.items()},
            "ratios": {name: self.ratio(name) for name in self.times if name != OURS},
            "copies": {name: times.as_json() for name, times in self.copies.items()},
            "fractions": {copy: self.share(OURS, copy) for copy in self.copies},
            "kept bytes": self.kept,
            "peak bytes": self.peaks,
            "goals": {
                name: {"reached": value, "goal": goal}
                for name, (value, goal) in self.reached().items()
            },
            "notes": self.notes,
        }


def run(
    works: Sequence[Work], *, device: str = "cpu", threads: int = 1, seconds: float = 1.0
) -> Iterator[Outcome]:
    """An outcome for each work; `seconds` is about how long each contender is sampled.

    Raises:
        ValueError: a contender computes something else than eager torch.
    """
    with threads_of(threads):
        copy = copies(_COPIED[device], device)[COPY]
        for work in works:
            yield _run_work(work, device, threads, seconds, copy)


def _run_work(
    work: Work, device: str, threads: int, seconds: float, copy: Callable[[], object]
) -> Outcome:
    fits = on_chip(work, device)
    outcome = Outcome(work, fits, goals(work, device, threads, on_chip=fits))
    programs = _programs(work, device, outcome)
    for name, program in programs.items():
        if work.has_backward:
            outcome.kept[name] = kept_bytes(program.forward)
        outcome.peaks[name] = peak_bytes(program, device)

    samples: dict[str, Sample] = {n: sampler(program, device) for n, program in programs.items()}
    half = work.tensors * work.size // 2
    copied: Passes = {
        COPY: (copy, outcome.least_bytes / (2 * _COPIED[device])),
        NEAR_COPY: (copies(half, device)["copy"], outcome.least_bytes / (2 * half)),
    }
    if device == "cpu" and work.size > _MAPPED_FROM:
        copied[NEW_COPY] = copy_fresh(work.size), work.results
    for name, (run_copy, _) in copied.items():
        run_copy()
        samples[name] = sampler(run_copy, device)
    if threads > 1:
        samples[ONE_THREAD] = sampler_on_one_thread(programs[OURS], device)
        samples[COPY_ALONE] = sampler_on_one_thread(copy, device)
        copied[COPY_ALONE] = copied[COPY]
    times = take_turns(samples, seconds=seconds)
    outcome.copies = {name: times.pop(name).scaled(many) for name, (_, many) in copied.items()}
    outcome.times = times
    return outcome


def _programs(work: Work, device: str, outcome: Outcome) -> dict[str, Program]:
    """Those that compute what eager torch does; a contender that cannot run is a note."""
    tensors = Tensors(work, device)
    programs: dict[str, Program] = {}
    expected: dict[str, torch.Tensor] = {}
    for name, make in contenders(work, device).items():
        try:
            module = make(work)
            if module is None:
                continue
            program = Program(work, module, tensors)
            found = program.first()
        except Exception as error:  # whatever a peer, or the compiler it needs, stumbles over
            if name in (EAGER, OURS):
                raise
            outcome.notes[name] = (str(error).splitlines() or [type(error).__name__])[0]
            continue
        expected = expected or found
        check_same(work, name, found, expected)
        programs[name] = program
    return {OURS: programs.pop(OURS)} | programs


def on_chip(work: Work, device: str) -> bool:
    """Whether what is read twice can stay: in a core's caches, or in a cluster's shared memory."""
    if device == "cuda":
        properties: Any = torch.cuda.get_device_properties()
        blocks = _CLUSTER if properties.major >= 9 else 1
        return work.slab(32) <= blocks * properties.shared_memory_per_block_optin
    cache = last_level_cache()
    return cache is None or work.slab(64) <= cache


def last_level_cache() -> int | None:
    """Bytes, or None where the system does not say."""
    sizes = [
        path.read_text().strip()
        for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    ]
    units = {"K": 2**10, "M": 2**20}
    return max((int(s[:-1]) * units[s[-1]] for s in sizes if s[-1:] in units), default=None)
