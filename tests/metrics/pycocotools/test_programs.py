"""Programs written for pycocotools give the same bits and lines with ours."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from sightline.metrics.pycocotools import COCO, COCOeval, install_as_pycocotools
from tests.metrics.coco.cases import draw_case

from .programs import PROGRAMS


@pytest.fixture(scope="module")
def results(shared_data, tmp_path_factory):
    """By library, program -> (what it returned, what it printed)."""
    folder = tmp_path_factory.mktemp("programs")
    outs = {library: folder / library for library in ("pycocotools", "sightline")}
    command = [sys.executable, "-m", "tests.metrics.pycocotools.programs"]
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
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(got, expected, place)
    else:  # of 100,000 numbers, for which NumPy's comparison takes seconds
        both_nan = got != got and expected != expected
        assert got == expected or both_nan, f"{place}: {got!r} for {expected!r}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_returns_the_same(results, program):
    assert_same(results["sightline"][program][0], results["pycocotools"][program][0], program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_prints_the_same(results, program):
    assert results["sightline"][program][1] == results["pycocotools"][program][1]


def write_small_files(folder):
    truth, found = draw_case(np.random.default_rng(12))
    assert len(truth["annotations"]) > 5 and len(found) > 5
    for annotation in truth["annotations"]:
        annotation["id"] += 1
    paths = folder / "gt.json", folder / "dt.json"
    for path, content in zip(paths, (truth, found)):
        path.write_text(json.dumps(content))
    return paths


def evaluated(gt, dt):
    evaluation = COCOeval(gt, dt, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def test_evaluation_of_files_makes_no_dict(tmp_path):
    truth, found = write_small_files(tmp_path)
    gt = COCO(truth)
    dt = gt.loadRes(found)
    truth.unlink()
    found.unlink()
    evaluation = evaluated(gt, dt)
    assert not {"dataset", "anns", "imgs"} & (set(vars(gt)) | set(vars(dt)))
    assert not {"evalImgs", "ious", "_gts"} & set(vars(evaluation))
    # and from what is made later, everything is the same
    assert len(dt.anns) == len(dt.dataset["annotations"]) > 5 and gt.loadCats(gt.getCatIds())
    again = evaluated(gt, dt)
    np.testing.assert_array_equal(again.stats, evaluation.stats)
    assert_same(again.evalImgs, evaluation.evalImgs, "evalImgs")
    assert_same(again.ious, evaluation.ious, "ious")


def test_changes_to_dicts_made_from_a_file_are_seen(tmp_path):
    gt = COCO(write_small_files(tmp_path)[0])
    dt = gt.loadRes(str(tmp_path / "dt.json"))
    before = evaluated(gt, dt).stats
    for annotation in gt.anns.values():
        annotation["bbox"] = [500, 500, 10, 10]
    assert before[0] > 0 and evaluated(gt, dt).stats[0] == 0


def test_programs_run_where_pycocotools_is_not_installed():
    program = (
        "import sys; sys.modules['pycocotools'] = None\n"
        "from sightline.metrics.pycocotools import install_as_pycocotools\n"
        "print(install_as_pycocotools())\n"
        "import pycocotools.mask as mask_utils\n"
        "from pycocotools import _mask\n"
        "from pycocotools.coco import COCO\n"
        "from pycocotools.cocoeval import COCOeval, Params\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no imported module" in done.stdout


def test_annotations_are_drawn(shared_data):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    gt = COCO(shared_data / "coco100" / "instances_val2014_100.json")
    some = gt.loadAnns(gt.getAnnIds(imgIds=gt.getImgIds()[:4]))
    some += gt.loadAnns(gt.getAnnIds(imgIds=gt.getImgIds(), iscrowd=True)[:1])
    figure, axes = pyplot.subplots()
    gt.showAnns(some, draw_bbox=True)
    shapes = sum(len(c.get_paths()) for c in axes.collections)
    masks = [a for a in some if isinstance(a["segmentation"], dict)]
    rings = sum(len(a["segmentation"]) for a in some if a not in masks)
    assert shapes == 2 * (rings + len(some)) and len(axes.images) == len(masks) > 0
    pyplot.close(figure)
    assert gt.showAnns([]) == 0


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
