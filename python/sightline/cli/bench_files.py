"""The files of `sightline bench`: checked before anything is timed, written afterwards."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline._console import say
from sightline.cli.arguments import Arguments, UsageError

OPTIONS = ("--json", "--compare", "--tolerance")
SLOWER = 1  # exit status
_TOLERANCE = 0.1


@dataclass
class FigureFiles:
    json: Path | None
    plot: Path | None
    compare: Path | None
    tolerance: float
    earlier: list[Any] = field(default_factory=list)  # the figures in `compare`

    def check(self) -> None:
        """Raise UsageError for a file that could not be written in the end, OSError or ValueError
        for earlier figures that cannot be read, and ImportError for a plot without matplotlib."""
        for name, path in (("json", self.json), ("plot", self.plot)):
            if path:
                _check_writable(name, path)
        if self.plot:
            _check_format(self.plot)
        if self.compare:
            from sightline.bench.compare import load

            self.earlier = load(self.compare)

    def finish(self, found: Any, draw: Callable[[Path], None] | None = None) -> int:
        """Write the figures and the plot, print the comparison, and return the exit status."""
        if self.json:
            self.json.write_text(json.dumps(found, indent=1) + "\n")
        if self.plot and draw:
            draw(self.plot)
        if self.compare is None:
            return 0
        from sightline.bench.compare import compare

        summaries = found if isinstance(found, list) else [found]
        comparison = compare(self.earlier, summaries, self.tolerance)
        say(comparison.text(self.compare))
        return SLOWER if comparison.slower else 0


def take_files(arguments: Arguments) -> FigureFiles:
    """Take --json, --plot, --compare and --tolerance; `check` them before anything is timed."""
    json_file, plot, compare = (
        Path(text) if (text := arguments.take(name)) is not None else None
        for name in ("json", "plot", "compare")
    )
    tolerance = arguments.take_number("tolerance", _TOLERANCE)
    if not 0 <= tolerance < float("inf"):
        raise UsageError(
            f"tolerance must be a share of the earlier time of at least 0, got {tolerance:g}"
        )
    return FigureFiles(json_file, plot, compare, tolerance)


def _check_writable(name: str, path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"--{name} must name a file, {path} is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"--{name} {path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--{name} {path}: no permission to write it")


def _check_format(plot: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'sightline[plots]'") from error
    known = Figure().canvas.get_supported_filetypes()
    if plot.suffix and plot.suffix[1:].lower() not in known:
        raise UsageError(f"--plot must end in one of {', '.join(known)}, got {plot.name}")
