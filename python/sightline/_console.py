"""Prints lines to a terminal that may lack their characters, or may be gone."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from sightline._text import printable

__all__ = ["forgiving_streams", "say", "warnings_as_lines"]


@contextmanager
def forgiving_streams() -> Iterator[None]:
    """Let standard output and error escape the characters that their encoding lacks.

    A class name in Chinese must not end the program on a console that is limited to ASCII.
    """
    changed = []
    for stream in (sys.stdout, sys.stderr):
        errors, reconfigure = getattr(stream, "errors", None), getattr(stream, "reconfigure", None)
        if reconfigure is not None and errors in ("strict", "surrogateescape"):
            reconfigure(errors="backslashreplace")
            changed.append((reconfigure, errors))
    try:
        yield
    finally:
        for reconfigure, errors in changed:
            reconfigure(errors=errors)


@contextmanager
def warnings_as_lines(before: str) -> Iterator[None]:
    """Show each warning as one line on standard error, without the source line behind it."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        say(f"{before}warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def say(text: str = "", *, file: TextIO | None = None) -> None:
    """Print text and flush; newlines in it are kept, other control characters escaped.

    Where the reader of the stream is gone (`head` ends after its lines), this and all further
    output is discarded, and the program continues.
    """
    stream = sys.stdout if file is None else file
    if stream is None:  # Python was started without this stream
        return
    text = printable(text, lines=True)
    try:
        try:
            print(text, file=stream, flush=True)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            known = text.encode(encoding, "backslashreplace").decode(encoding)
            print(known, file=stream, flush=True)
    except BrokenPipeError:
        _send_nowhere(stream)


def _send_nowhere(stream: TextIO) -> None:
    """Point the stream at /dev/null: what it still buffers cannot be written either."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
