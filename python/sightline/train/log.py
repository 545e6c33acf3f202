"""Shows progress during training: a live bar on a terminal, and one line per epoch."""

import contextlib
import importlib
import importlib.util
import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from sightline._console import say
from sightline._text import printable

__all__ = ["Log", "duration"]

# A line must be readable at a glance; the other columns are in results.csv.
_MOST_METRICS = 4


def duration(seconds: float) -> str:
    """Seconds as "8 s", "2 m 05 s" or "1 h 03 m"."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} m {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} m"


class Log:
    """Progress of one run.

    Args:
        file: where lines are written; None for standard output.
        quiet: print nothing.
        live: draw a progress bar for the current epoch; None draws it where `file` is a terminal
            and rich is installed.
    """

    def __init__(
        self, file: TextIO | None = None, *, quiet: bool = False, live: bool | None = None
    ) -> None:
        self.file, self.quiet = file, quiet
        stream = file or sys.stdout  # None where Python was started without it
        wanted = (stream is not None and stream.isatty()) if live is None else live
        self.live = bool(wanted and not quiet and importlib.util.find_spec("rich"))
        self._started = time.perf_counter()
        self._done = 0

    def line(self, text: str = "") -> None:
        """Print one line and flush.

        The run continues where a line cannot be written.
        """
        if not self.quiet:
            with contextlib.suppress(OSError):
                say(text, file=self.file)

    def warn(self, text: str) -> None:
        self.line(f"warning: {printable(' '.join(text.split()))}")

    def table(self, rows: Iterable[tuple[str, Any]], *, indent: str = "  ") -> None:
        """Names and values in two aligned columns."""
        pairs = [(name, str(value)) for name, value in rows]
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.line(f"{indent}{name:<{width}}  {printable(value)}")

    def start(self) -> None:
        """Start or continue training: the remaining time is estimated from here."""
        self._started, self._done = time.perf_counter(), 0

    def batches(self, loader: Iterable, *, title: str) -> Iterator:
        """The batches of `loader`, with a progress bar where the log is live."""
        if not self.live:
            yield from loader
            return
        progress = importlib.import_module("rich.progress")
        console = importlib.import_module("rich.console").Console(file=self.file or sys.stdout)
        with progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as bar:
            yield from bar.track(loader, description=title)

    def epoch(self, row: dict[str, float], *, epochs: int, best: bool) -> None:
        """Print one finished epoch as one line."""
        self._done += 1
        spent = time.perf_counter() - self._started
        left = spent / self._done * (epochs - row["epoch"])
        self.line(epoch_line(row, epochs=epochs, best=best) + f"  ETA {duration(left)}")


def epoch_line(row: dict[str, float], *, epochs: int, best: bool = False) -> str:
    """An epoch's row as text: losses, metrics, rate, speed.

    `*` marks a new best epoch, "-" a number that is not defined.
    """
    width = len(str(epochs))
    parts = [f"epoch {row['epoch']:>{width}}/{epochs}{'*' if best else ' '}"]
    for split in ("train", "val"):
        columns = {k.removeprefix(f"{split}/"): v for k, v in row.items() if k.startswith(split)}
        if not columns:
            continue
        losses = {k: v for k, v in columns.items() if k == "loss" or k.endswith("_loss")}
        total = losses.pop("loss", None)
        text = f"{split} loss {_number(total)}" if total is not None else split
        if split == "train" and len(losses) > 1:
            terms = " ".join(f"{k.removesuffix('_loss')} {_number(v)}" for k, v in losses.items())
            text += f" ({terms})"
        parts.append(text)
        metrics = [f"{k} {_number(v)}" for k, v in columns.items() if not k.endswith("loss")]
        parts += metrics[:_MOST_METRICS]
    parts += [f"{name} {value:.2g}" for name, value in row.items() if name.startswith("lr")]
    parts.append(f"{_speed(row['images_per_second'])} img/s")
    parts.append(f"data {100 * row['data_fraction']:.0f} %")
    return "  ".join(parts)


def _speed(images_per_second: float) -> str:
    """With at least two digits: a large detector on a CPU takes seconds per image."""
    if images_per_second == 0 or images_per_second >= 9.95:
        return f"{images_per_second:.0f}"
    return f"{images_per_second:.2g}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.4g}"
