"""Warnings that point to the code that called this package."""

import os
import sys
import warnings

_PACKAGE = os.path.dirname(__file__)


def warn(message: str) -> None:
    """Issue a warning that points to the first caller outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)
