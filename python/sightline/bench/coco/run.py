"""Runs benchmarks: our arrays against pycocotools' first, then all contenders in turns."""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightline import _numpy

from ..limits import aligned
from ..peers import WorkerProcess
from ..timing import Sample, Times, take_turns
from .files import Files, make
from .process import run_process, thread_settings
from .work import Work

DIGESTS = Path(__file__).parent / "digests.json"
OURS = "sightline"
_ONE_THREAD, _LIMIT = "one thread", "the limit"
_ONCE = 2.0  # seconds of a peer's run above which that one run is the time
# Bytes a detection: a sort of keys and indices in three passes, a code for each of ten thresholds
# and four areas.
_SORT_BYTES, _SCAN_BYTES = 52, 40
_NEAR = 1e-6  # of a peer's numbers to ours; one that is farther off has another task


@dataclass
class Outcome:
    """What one work gave, by contender. `notes` say why a contender has no time, or differs."""

    work: Work
    size: int  # bytes of the two files
    times: dict[str, Times] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    held_to: list[str] = field(default_factory=list)  # whose arrays ours equal, bit for bit
    limit: Times | None = None

    @property
    def fastest(self) -> str | None:
        names = [n for n in self.times if n not in (OURS, _ONE_THREAD)]
        return min(names, key=lambda name: self.times[name].median, default=None)

    def ratio(self, name: str) -> float:
        return self.times[name].median / self.times[OURS].median

    def reached(self) -> dict[str, tuple[float, float]]:
        """Of each goal that was measured: what was reached, and the goal."""
        found: dict[str, float] = {}
        if OURS in self.times:
            ours = self.times[OURS].median
            found = {name: self.ratio(name) for name in self.times if name != OURS}
            if self.fastest:
                found["fastest"] = self.ratio(self.fastest)
            if _ONE_THREAD in self.times:
                found["threads"] = self.ratio(_ONE_THREAD)
            if self.limit:
                found["limit"] = ours / self.limit.median
            found["seconds"] = ours
        peers = [peak for name, peak in self.peaks.items() if name != OURS]
        if OURS in self.peaks and peers:
            found["memory"] = min(peers) / self.peaks[OURS]
        return {
            name: (found[name], goal) for name, goal in self.work.goals.items() if name in found
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.work.name,
            "program": self.work.program,
            "data": vars(self.work.recipe),
            "bytes of files": self.size,
            "times": {name: times.as_json() for name, times in self.times.items()},
            "peak bytes": self.peaks,
            "goals": {
                name: {"reached": value, "goal": goal}
                for name, (value, goal) in self.reached().items()
            },
            "limit": self.limit.as_json() if self.limit else None,
            "same bits as": self.held_to,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Settings:
    peers: str | None  # Python of the peers
    threads: int
    folder: Path  # of the data sets
    slow: bool = False  # time those, too, that take minutes
    seconds: float = 2.0  # that each contender is sampled


def run(works: Sequence[Work], settings: Settings) -> Iterator[Outcome]:
    """An outcome for each work.

    Raises:
        ValueError: our arrays are not pycocotools': then there is nothing to time.
    """
    for work in works:
        yield _run_work(work, settings)


def _run_work(work: Work, settings: Settings) -> Outcome:
    files = make(work.recipe, settings.folder)
    outcome = Outcome(work, files.size)
    with ExitStack() as stack:
        samples: dict[str, Sample] = {}
        found: dict[str, _Found] = {}
        for name in (OURS, *work.contenders):
            if name in work.slow and not settings.slow:
                outcome.notes[name] = "takes minutes, so only with --slow"
                continue
            if name != OURS and not settings.peers:
                continue
            try:
                found[name], samples[name] = _start(work, name, files, settings, stack, outcome)
            except (RuntimeError, OSError) as error:
                outcome.notes[name] = str(error).rpartition("worker of --peers: ")[2]
        _hold_to_peers(outcome, found, files)
        if settings.threads > 1 and OURS in samples and work.program != "process":
            alone = Settings(settings.peers, 1, settings.folder)
            _, samples[_ONE_THREAD] = _start(work, OURS, files, alone, stack, outcome)
        if work.program.endswith("accumulate") and OURS in found:
            samples[_LIMIT] = _limit(work, found[OURS])
        outcome.times = _times(samples, found, settings.seconds)
        outcome.limit = outcome.times.pop(_LIMIT, None)
    return outcome


@dataclass
class _Found:
    seconds: float
    stats: list[float]
    arrays: list[np.ndarray]  # none where the contender does not show them


def _start(
    work: Work, name: str, files: Files, settings: Settings, stack: ExitStack, outcome: Outcome
) -> tuple[_Found, Sample]:
    """The first run of a contender, and how to sample more."""
    own = name == OURS
    python = sys.executable if own else str(settings.peers)
    if work.program == "process":
        once = partial(
            run_process, python, name, files, work.recipe.kind, settings.threads, own=own
        )
        first = once()
        peaks = outcome.peaks

        def sample_process(calls: int) -> float:
            seconds = 0.0
            for _ in range(calls):
                ran = once()
                seconds += ran.seconds
                peaks[name] = max(peaks.get(name, 0), ran.peak)
            return seconds

        peaks[name] = first.peak
        return _Found(first.seconds, first.stats, []), sample_process

    variables = thread_settings(settings.threads)
    if own and "PYTHONPATH" in os.environ:
        variables["PYTHONPATH"] = os.environ["PYTHONPATH"]
    worker = stack.enter_context(WorkerProcess(python, "coco.worker", variables))
    worker.ask("start", name=name, threads=settings.threads)
    paths = {key: str(path) for key, path in vars(files).items()}
    images = work.images or work.recipe.images
    worker.ask("open", program=work.program, kind=work.recipe.kind, images=images, **paths)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "arrays.npz"
        answer = worker.ask("result", file=str(file))
        arrays: list[np.ndarray] = []
        if file.exists():
            with np.load(file) as saved:
                arrays = [np.asarray(saved[key], np.float64) for key in saved.files]

    def sample(calls: int) -> float:
        return worker.ask("sample", calls=calls)["seconds"]

    return _Found(answer["seconds"], answer["stats"], arrays), sample


def _hold_to_peers(outcome: Outcome, found: dict[str, _Found], files: Files) -> None:
    """Note where others differ; raise ValueError where ours differ from pycocotools."""
    ours = found.get(OURS)
    if ours is None:
        return
    name = outcome.work.name
    for peer, theirs in found.items():
        if peer == OURS:
            continue
        if len(theirs.stats) == len(ours.stats) and not np.allclose(
            theirs.stats, ours.stats, rtol=0, atol=_NEAR
        ):
            outcome.notes[peer] = f"other numbers: {theirs.stats[0]} for {ours.stats[0]}"
        said = _difference(theirs.arrays, ours.arrays)
        if said == "" and theirs.arrays:
            outcome.held_to.append(peer)
        elif said:
            outcome.notes.setdefault(peer, said)
        if peer == "pycocotools" and outcome.work.program != "process" and said != "":
            raise ValueError(f"{name}: ours are not pycocotools' arrays: {said}")
    if not ours.arrays or outcome.work.images:
        return
    recorded = _recorded(outcome.work, files)
    if recorded is None:
        return
    if recorded["arrays"] != digest(ours.arrays):
        raise ValueError(f"{name}: ours are not the recorded arrays of {recorded['by']}")
    if "pycocotools" not in outcome.held_to:
        outcome.held_to.append(f"{recorded['by']}, recorded")


def _difference(theirs: list[np.ndarray], ours: list[np.ndarray]) -> str:
    """Empty where they are the same bits, or where there is nothing to compare."""
    if not theirs or not ours:
        return ""
    if [a.shape for a in theirs] != [a.shape for a in ours]:
        return f"arrays of shapes {[a.shape for a in theirs]}"
    cells = sum(int((a != b).sum()) for a, b in zip(theirs, ours))
    largest = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(theirs, ours))
    return f"{cells:,} cells differ, by at most {largest:.2g}" if cells else ""


def digest(arrays: Sequence[np.ndarray]) -> str:
    """Of shapes and bits."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.shape).encode())
        found.update((np.ascontiguousarray(array, np.float64) + 0.0).tobytes())
    return found.hexdigest()


def digest_of_files(files: Files) -> str:
    found = hashlib.sha256()
    for path in (files.gt, files.dt):
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _recorded(work: Work, files: Files) -> dict[str, str] | None:
    """pycocotools' digest for these very files, by `record`; None where there is none."""
    entry = json.loads(DIGESTS.read_text()).get(work.recipe.name) if DIGESTS.exists() else None
    return entry if entry and entry["files"] == digest_of_files(files) else None


def record(work: Work, settings: Settings) -> str:
    """Run pycocotools on a benchmark's files, unless it was, and keep the digest of its arrays."""
    files = make(work.recipe, settings.folder)
    if entry := _recorded(work, files):
        return f"recorded before, AP {entry['AP']}"
    files_work = Work(work.name, "files", work.recipe)
    with ExitStack() as stack:
        outcome = Outcome(files_work, files.size)
        found, _ = _start(files_work, "pycocotools", files, settings, stack, outcome)
    known = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    known[work.recipe.name] = {
        "by": "pycocotools 2.0.11",
        "files": digest_of_files(files),
        "arrays": digest(found.arrays),
        "AP": repr(found.stats[0]),
    }
    DIGESTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return f"{found.seconds:.1f} s, AP {found.stats[0]}"


def _times(
    samples: dict[str, Sample], found: dict[str, _Found], seconds: float
) -> dict[str, Times]:
    slow = [name for name, f in found.items() if name != OURS and f.seconds > _ONCE]
    once = {name: Times([found[name].seconds]) for name in slow}
    rest = {name: sample for name, sample in samples.items() if name not in once}
    taken = take_turns(rest, seconds=seconds) if rest else {}
    return {name: taken.get(name) or once[name] for name in samples}


def _limit(work: Work, ours: _Found) -> Sample:
    """Moving the bytes of accumulation: a scan, a sort where that is timed, and the arrays."""
    each = _SCAN_BYTES + (_SORT_BYTES if work.program == "sort_and_accumulate" else 0)
    read = aligned(each * work.recipe.detections // 4).view(np.uint32)
    written = aligned(sum(array.nbytes for array in ours.arrays) // 4)

    def sample(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            _numpy.read_memory(read)
            _numpy.fill_memory(written, 0.5, False)
        return time.perf_counter() - start

    return sample
