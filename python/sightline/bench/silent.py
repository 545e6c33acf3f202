"""Silence for libraries that print."""

import contextlib
import os
from collections.abc import Iterator

_REDIRECT = {1: contextlib.redirect_stdout, 2: contextlib.redirect_stderr}


@contextlib.contextmanager
def silent(descriptor: int = 1) -> Iterator[None]:
    """Discard what native code and Python write to standard output, or to standard error (2)."""
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    try:
        with open(os.devnull, "w") as text, _REDIRECT[descriptor](text):
            yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)
