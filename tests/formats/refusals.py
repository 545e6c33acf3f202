"""What an error about a bad label says."""

from pathlib import Path
from typing import Any

import pytest

from sightline.data import DataError, read_dataset


def refusal(path: Path, *parts: str, **options: Any) -> str:
    """The error of reading a set with a bad label, which must have the parts and the way out."""
    with pytest.raises(DataError) as caught:
        read_dataset(path, **options)
    message = str(caught.value)
    for part in (*parts, "data.on_bad_label=drop-box"):
        assert part in message, message
    return message
