"""Warnings that point at the program which called this package."""

import os
import sys
import warnings

_PACKAGE = os.path.dirname(__file__)


def warn(message: str) -> None:
    """Warn the caller of this package, wherever in it that arose."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)
