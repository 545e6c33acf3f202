"""Programs written for pycocotools give the same, to the last bit and line, over ours."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from sightline.metrics.pycocotools import install_as_pycocotools

from .pycocotools_programs import PROGRAMS


@pytest.fixture(scope="module")
def results(shared_data, tmp_path_factory):
    """By library, program -> (what it returned, what it printed)."""
    folder = tmp_path_factory.mktemp("programs")
    outs = {library: folder / library for library in ("pycocotools", "sightline")}
    command = [sys.executable, "-m", "tests.metrics.pycocotools_programs"]
    running = [subprocess.Popen([*command, *item, shared_data]) for item in outs.items()]
    assert [process.wait() for process in running] == [0, 0]
    return {library: pickle.loads(out.read_bytes()) for library, out in outs.items()}


def assert_same(got, expected, place):
    assert isinstance(got, type(expected)), f"{place}: {type(got)} for {type(expected)}"
    if isinstance(expected, dict):
        assert list(got) == list(expected), place
        for key, value in expected.items():
            assert_same(got[key], value, f"{place}[{key!r}]")
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected), place
        for i, pair in enumerate(zip(got, expected)):
            assert_same(*pair, f"{place}[{i}]")
    else:
        np.testing.assert_array_equal(got, expected, place)


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_returns_the_same(results, program):
    assert_same(results["sightline"][program][0], results["pycocotools"][program][0], program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_prints_the_same(results, program):
    assert results["sightline"][program][1] == results["pycocotools"][program][1]


def test_installing_says_what_it_replaced_and_can_be_undone():
    import pycocotools.coco as theirs

    with install_as_pycocotools() as installation:
        import pycocotools.coco as ours
        from pycocotools import mask

        assert ours.COCO.__module__ == "sightline.metrics.pycocotools.coco"
        assert mask.__name__ == "sightline.metrics.pycocotools.mask"
        assert "pycocotools.coco" in installation.replaced
        assert "pycocotools.coco" in repr(installation)
        with pytest.raises(ModuleNotFoundError):
            import pycocotools.other  # noqa: F401
    assert sys.modules["pycocotools.coco"] is theirs
