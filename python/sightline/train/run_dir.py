"""The folder of one run and its files."""

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from sightline._files import (
    append_line,
    atomic_write,
    copy_file,
    remove_temporary,
    to_json,
)
from sightline._text import quoted
from sightline.nn.wrappers import device_of, load_plain_state, plain_state
from sightline.train.checkpoint import (
    load_state,
    random_state,
    save_state,
    save_weights,
    set_random_state,
)
from sightline.train.environment import bit_conditions, other_conditions
from sightline.train.history import History
from sightline.train.lock import FolderLock
from sightline.train.wrong_weights import what_does_not_fit

__all__ = ["RunDir", "new_run_dir"]

_STATE_FORMAT = 1


def new_run_dir(task: str, name: str = "run", *, root: str | Path = "runs") -> Path:
    """Create and return `<root>/<task>/<name>`, or `<name>-2`, `<name>-3`, ... where it exists.

    Two processes that call this at the same time get different folders.

    Raises:
        ValueError: `name` is not the name of a single folder; settings files are not trusted.
    """
    if name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise ValueError(
            f"a run's name must be that of one folder, got {quoted(name)}; out=<folder> says where "
            "runs are written"
        )
    parent = Path(root) / task
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        return folder


@dataclass
class RunDir:
    """The files of one run.

    Attributes:
        path: the folder.
        metadata: what goes into the header of every weights file: class names, preprocessing,
            model name and arguments.
        settings: the settings of the run, stored in the state and compared on resume.
    """

    path: Path
    metadata: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    _lock: FolderLock | None = field(default=None, init=False, repr=False)

    @property
    def results(self) -> Path:
        return self.path / "results.csv"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def best(self) -> Path:
        return self.path / "weights" / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "weights" / "last.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "weights" / "last.state.pt"

    @property
    def previous_state(self) -> Path:
        """The state of the previous epoch, for use where the last one is damaged."""
        return self.path / "weights" / "previous.state.pt"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    def _written(self) -> list[Path]:
        """The files that are always rewritten completely."""
        weights = [self.best, self.last, self.state, self.previous_state]
        others = ("env.json", "evaluation.json", "predictions.json", "report.html")
        return [self.config, self.data, self.results, *weights, *map(self.path.joinpath, others)]

    @contextlib.contextmanager
    def opened(self, *, resume: bool | Literal["previous"]) -> Iterator[None]:
        """Create the folder and lock it against other processes while the block runs.

        A folder that already contains a run is refused, unless it is resumed. Temporary files of
        killed processes are removed. Where this object has locked its folder already, nothing
        happens.

        Raises:
            FileExistsError: the folder contains a run and `resume` is False.
            FileNotFoundError: `resume` is True and there is no training state.
            BlockingIOError: another process trains into the folder.
        """
        if self._lock is not None:
            yield
            return
        state = self._state_to_resume(resume)
        if resume and not state.is_file():
            raise FileNotFoundError(f"nothing to resume in {self.path}: no {state}")
        self.path.mkdir(parents=True, exist_ok=True)
        with FolderLock(self.path) as self._lock:
            try:
                if not resume and (self.state.exists() or self.results.exists()):
                    raise FileExistsError(
                        f"{self.path} already holds a run: resume it, or choose another folder"
                    )
                self.state.parent.mkdir(exist_ok=True)
                remove_temporary(*self._written())
                yield
            finally:
                self._lock = None

    def event(self, kind: str, **values: Any) -> None:
        """Append one line to events.jsonl: the wall-clock time, the kind and the values."""
        append_line(self.events, to_json({"time": time.time(), "event": kind, **values}))

    def save_epoch(
        self,
        epoch: int,
        parts: dict[str, Any],
        history: History,
        predicting: nn.Module,
        *,
        improved: bool,
    ) -> None:
        """Write the files of the run after `epoch` epochs.

        The state is written last: after an earlier crash the run is resumed from the previous
        epoch, which writes the same weights again.
        """
        row = history.rows[-1] if history.rows else {}
        header = {**self.metadata, "epoch": epoch, "metrics": _plain(row)}
        weights = plain_state(predicting)
        if improved:
            save_weights(self.best, weights, header)
        if epoch:
            save_weights(self.last, weights, header)
            atomic_write(self.results, history.to_csv())
        state = {
            "format": _STATE_FORMAT,
            "epoch": epoch,
            "parts": {name: _state_of(part) for name, part in parts.items()},
            "random": random_state(),
            "settings": self.settings,
            "conditions": bit_conditions(device_of(predicting)),
        }
        if self.state.exists():
            copy_file(self.state, self.previous_state)
        save_state(self.state, state)
        if epoch:
            self.event("epoch", **row, best=improved)

    def load_state(self, resume: bool | Literal["previous"] = True) -> dict[str, Any]:
        """The last state, or the previous one.

        Raises:
            FileNotFoundError: the state does not exist.
            ValueError: it is damaged; the message says whether the previous one is intact, and how
                to continue from it.
        """
        try:
            return load_state(self._state_to_resume(resume))
        except ValueError as error:
            if resume == "previous":
                raise
            try:
                epoch = load_state(self.previous_state)["epoch"]
            except (FileNotFoundError, ValueError):
                raise ValueError(f"{error}; there is no earlier state to resume from") from error
            raise ValueError(
                f"{error}. The state before it (epoch {epoch}) is intact: continue from it with "
                f"sightline train resume={self.previous_state}, or fit(..., resume='previous')"
            ) from error

    def restore(
        self,
        parts: dict[str, Any],
        resume: bool | Literal["previous"] = True,
        *,
        device: torch.device,
        warn: Callable[[str], None] = warnings.warn,
    ) -> int:
        """Load the saved state into `parts`; returns the number of finished epochs.

        `warn` is called for another device, machine or versions that may give other bits.

        Raises:
            ValueError: the state is damaged, or was written by a run with other parts (for example
                with an EMA where this one has none).
        """
        saved = self.load_state(resume)
        if saved.get("format") != _STATE_FORMAT:
            raise ValueError(
                f"{self.state} has format {saved.get('format')!r}; this version reads "
                f"{_STATE_FORMAT}: resume with the version that wrote it"
            )
        if saved["parts"].keys() != parts.keys():
            raise ValueError(
                f"{self.state} was written by a run with {', '.join(sorted(saved['parts']))}; "
                f"this one has {', '.join(sorted(parts))}: resume with the same settings"
            )
        for name, part in parts.items():
            try:
                _load_into(part, saved["parts"][name])
            except (RuntimeError, ValueError, KeyError) as error:
                if isinstance(part, nn.Module):
                    said = what_does_not_fit(part, saved["parts"][name], self.state)
                else:
                    said = f"{self.state} does not fit this {name}: {str(error).splitlines()[0]}"
                raise ValueError(said) from error
        set_random_state(saved["random"])
        other = other_conditions(saved.get("conditions", {}), device)
        if other:
            warn(f"bits may differ from those of a run that was not stopped: {', '.join(other)}")
        if resume == "previous":
            os.replace(self.previous_state, self.state)
        return saved["epoch"]

    def _state_to_resume(self, resume: bool | Literal["previous"]) -> Path:
        return self.previous_state if resume == "previous" else self.state


def _state_of(part: Any) -> dict[str, Any]:
    if isinstance(part, torch.Generator):
        return {"random": part.get_state()}
    return plain_state(part) if isinstance(part, nn.Module) else part.state_dict()


def _load_into(part: Any, state: dict[str, Any]) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(state["random"])
    elif isinstance(part, nn.Module):
        load_plain_state(part, state)
    else:
        part.load_state_dict(state)


def _plain(row: dict[str, float]) -> dict[str, float | None]:
    return {k: v if math.isfinite(v) else None for k, v in row.items()}
