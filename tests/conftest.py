"""Fixtures that several parts share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets: SIGHTLINE_DATA, or `shared/data` beside the project.

    Tests skip where it is absent, and fail where SIGHTLINE_DATA promises it.
    """
    promised = os.environ.get("SIGHTLINE_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(promised) if promised else beside
    if not (folder / "coco100").is_dir():
        if promised:
            pytest.fail(f"SIGHTLINE_DATA={promised} holds no folder coco100")
        pytest.skip(f"no real data in {folder}: set SIGHTLINE_DATA to run this")
    return folder
