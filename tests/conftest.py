"""Fixtures that several parts share."""

import os

# Before torch is imported, here and in the processes that tests start: their pictures are too small
# for two threads to help, and threads that wait for each other on a busy machine take minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets: SIGHTLINE_DATA, or by default one beside the checkout.

    Tests skip where it is missing, and fail where SIGHTLINE_DATA is set.
    """
    promised = os.environ.get("SIGHTLINE_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(promised) if promised else beside
    if not (folder / "coco100").is_dir():
        if promised:
            pytest.fail(f"SIGHTLINE_DATA={promised} has no folder coco100")
        pytest.skip(f"no real data in {folder}: set SIGHTLINE_DATA to run this")
    return folder


@pytest.fixture(scope="session", params=["detect", "classify"])
def trained(request, tmp_path_factory):
    """A small trained run: its task, its data set and its `Run`. Leave its folder as it is."""
    pytest.importorskip("torch")
    from .trained import WRITE, train_quickly

    folder = tmp_path_factory.mktemp(request.param)
    data = WRITE[request.param](folder / "data")
    return request.param, data, train_quickly(data, request.param, out=folder / "run")


@pytest.fixture
def trained_copy(trained, tmp_path):
    """The same with a copy of the run's folder, to write into."""
    task, data, run = trained
    return task, data, Path(shutil.copytree(run.path, tmp_path / "run"))
