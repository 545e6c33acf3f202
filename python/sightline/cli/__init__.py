"""The `sightline` command: one file per verb, one clear line per error."""

import importlib
import os
import sys
from collections.abc import Sequence

from sightline._console import forgiving_streams, say, warnings_as_lines
from sightline._suggest import unknown
from sightline._text import printable, shortened

__all__ = ["VERBS", "main"]

VERBS = {
    "demo": "train a detector and a classifier on embedded data and write a report",
    "train": "train on a data set: sightline train data=<folder>",
    "eval": "evaluate a run on a split, or two COCO files",
    "predict": "predict the boxes or classes of images: sightline predict <run> <images>",
    "data": "work on data sets: sightline data --help",
    "bench": "time the ops and compare them with other libraries and this machine's limits",
    "info": "show versions, kernels and extras, and why something is missing",
}
_USAGE = 2
_PATH_LENGTH = 400
_INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status.

    0 is success, 1 means that `bench --compare` found something slower, 2 is an error (one line on
    standard error; SIGHTLINE_DEBUG=1 adds the traceback), and 130 an interruption.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("help", "--help", "-h"):
        say(usage())
        return 0 if words else _USAGE
    if words[0] == "--version":
        import sightline

        say(f"sightline {sightline.__version__}")
        return 0
    with forgiving_streams(), warnings_as_lines(f"sightline {printable(words[0])}: "):
        return _run(words)


def _run(words: list[str]) -> int:
    verb = words[0]
    try:
        if verb not in VERBS:
            raise ValueError(unknown("command", verb, VERBS))
        module, rest = importlib.import_module(f"sightline.cli.{verb}"), words[1:]
        if rest and rest[0] in getattr(module, "SUBCOMMANDS", ()):
            module, rest = importlib.import_module(f"sightline.cli.{verb}_{rest[0]}"), rest[1:]
        if {"--help", "-h"} & set(rest):
            say(str(module.__doc__).strip())
            return 0
        return module.run(rest)
    except KeyboardInterrupt:
        say("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        if os.environ.get("SIGHTLINE_DEBUG", "") not in ("", "0"):
            raise
        say(f"sightline {printable(verb)}: {one_line(error)}", file=sys.stderr)
        return _USAGE


def one_line(error: Exception) -> str:
    """An error as one line; an unexpected one says how to see where it was raised."""
    said = str(error)
    if isinstance(error, OSError) and error.strerror:  # without its "[Errno 28]"
        where = f"{shortened(error.filename, _PATH_LENGTH)}: " if error.filename else ""
        said = f"{where}{error.strerror}"
    text = printable(" ".join(said.split())) or type(error).__name__
    if isinstance(error, (ValueError, OSError, ImportError, FloatingPointError)):
        return text
    return f"{type(error).__name__}: {text} (SIGHTLINE_DEBUG=1 shows where)"


def usage() -> str:
    """The verbs, one per line."""
    lines = [f"  {verb:<8} {meaning}" for verb, meaning in VERBS.items()]
    return "\n".join(
        [
            "usage: sightline <command> [key=value ...]",
            "",
            *lines,
            "",
            "sightline <command> --help shows the options of a command.",
        ]
    )
