"""The columns of COCO files, and the errors of what their records say."""

import subprocess
import sys

import numpy as np
import pytest

from sightline.metrics.coco.reader import read_ground_truth, read_results, rows_of

from .json_cases import RESULT, result, segmentation_of

# segmentations and keypoints


SEGMENTATIONS = [
    [[1, 2.5, 3, 4, 5e1, 6]],
    {"size": [480, 640], "counts": "PPYo0\\`1mQ1"},
    [],
    [[0, 0, 1, 0, 1, 1], [2, 2, 3, 2, 3, 3, 2, 3]],
    {"counts": [0, 5, 2**32 - 1, 7], "size": [3, 4]},
    {"counts": [], "size": [0, 0]},
    None,
]


def truth_of(annotations, **image):
    return {
        "images": [{"id": 1, **image}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": i + 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], **a}
            for i, a in enumerate(annotations)
        ],
    }


def test_segmentations_of_every_form_become_columns():
    truth = truth_of([{"segmentation": s} for s in SEGMENTATIONS], height=20, width=30)
    columns = read_ground_truth(truth, iou_type="segm").segmentation
    assert [segmentation_of(columns, i) for i in range(len(columns))] == SEGMENTATIONS
    assert columns.size[0].tolist() == columns.size[3].tolist() == [20, 30], "of the image"
    taken = columns.take(np.array([4, 1]))
    assert [segmentation_of(taken, i) for i in range(2)] == [SEGMENTATIONS[4], SEGMENTATIONS[1]]


@pytest.mark.parametrize(
    "value",
    [[1, 2, 3, 4], [[1, 2, 3]], [["a"]], "x", 5, {"size": [1, 2]}, {"counts": "x"}, [[1, 2], 3],
     {"size": [1], "counts": "x"}, {"size": [1, 2, 3], "counts": "x"},
     {"size": [1, 2], "counts": [-1]}, {"size": [1, 2], "counts": [2**32]},
     {"size": [1.5, 2], "counts": "x"}, {"size": [1, 2], "counts": 3}],
)  # fmt: skip
def test_what_is_no_segmentation_is_named(value):
    truth = truth_of([{"segmentation": []}, {"segmentation": value}], height=2, width=2)
    with pytest.raises(ValueError, match=r"`gt`: annotations\[1\].segmentation: must be a list of"):
        read_ground_truth(truth, iou_type="segm")


def test_polygons_need_the_size_of_their_image():
    truth = truth_of([{"segmentation": [[0, 0, 1, 0, 1, 1]]}], height=None)
    with pytest.raises(
        ValueError, match=r"annotations\[0\] has polygons, but image 1 has no height"
    ):
        read_ground_truth(truth, iou_type="segm")


def test_an_empty_box_is_none():
    truth = truth_of([{"bbox": [], "area": 4, "segmentation": []}], height=2, width=2)
    assert read_ground_truth(truth, iou_type="segm").area.tolist() == [4]
    with pytest.raises(ValueError, match=r"annotations\[0\] lacks `bbox`"):
        read_ground_truth(truth)
    del truth["annotations"][0]["area"]
    with pytest.raises(ValueError, match=r"annotations\[0\] lacks `area` and `bbox`, and one of"):
        read_ground_truth(truth, iou_type="segm")
    found = [{"image_id": 1, "category_id": 1, "bbox": [], "segmentation": [], "score": 1}]
    truth["annotations"] = []
    results = read_results(found, read_ground_truth(truth), iou_type="segm")
    assert not results.has_boxes and results.boxes_xywh.tolist() == [[0, 0, 0, 0]]


def test_keypoints_become_columns():
    points = [[1, 2, 2, 3.5, 4, 0], [0, 0, 0, 9, 9, 1]]
    truth = truth_of([{"keypoints": p} for p in points])
    truth["annotations"][0]["num_keypoints"] = 7
    columns = read_ground_truth(truth, iou_type="keypoints")
    np.testing.assert_array_equal(columns.keypoints, np.reshape(points, (2, 2, 3)))
    assert columns.num_keypoints.tolist() == [7, 1], "counted where the file does not say"
    for bad, problem in [([1, 2], "must be a list of numbers"), ([1, 2, 3], "has 3 numbers in"),
                         ([1, 2, float("nan")] * 2, "not finite")]:  # fmt: skip
        truth["annotations"][1]["keypoints"] = bad
        with pytest.raises(ValueError, match=problem):
            read_ground_truth(truth, iou_type="keypoints")


# what records say of each other


def test_rows_of_sparse_and_dense_ids():
    for table in ([5], [3, 4, 9], [-5, 0, 2**40], [-(2**63), 2**63 - 1], list(range(0, 900, 3))):
        table = np.array(table)
        ids = np.concatenate([table[::-1], table, [0, 1, -1, 2**62, -(2**62), 2**63 - 1]])
        expected = [table.tolist().index(i) if i in table.tolist() else -1 for i in ids.tolist()]
        assert rows_of(ids, table).tolist() == expected
    assert rows_of(np.array([1]), np.zeros(0, int)).tolist() == [-1]


def test_ids_of_another_kind_are_refused():
    truth = truth_of([])
    truth["images"] = [{"id": "a"}, {"id": 5}]
    with pytest.raises(ValueError, match=r"images\[1\].id: must be of one kind with the others"):
        read_ground_truth(truth)
    truth = truth_of([{}, {"image_id": "1"}])
    with pytest.raises(
        ValueError, match=r"annotations\[1\].image_id: must be an integer, as those"
    ):
        read_ground_truth(truth)
    columns = read_ground_truth(truth_of([{}]))
    found = [{"image_id": "1", "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]
    with pytest.raises(ValueError, match="image ids of results are strings, those of the ground"):
        read_results(found, columns)


def test_results_of_another_data_set_are_called_so():
    columns = read_ground_truth(truth_of([{}]), name="gt")
    found = [{"image_id": i, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1} for i in (1, 2, 3)]
    problem = r"results\[1\] is of image 2, which `gt` lacks \(2 of 3 results are of such images"
    with pytest.raises(ValueError, match=problem):
        read_results(found, columns)
    with pytest.raises(ValueError, match="none of the results' images is there"):
        read_results(found[1:], columns)


def test_numpy_values_in_loaded_objects_are_taken():
    truth = truth_of([{"bbox": np.arange(4.0), "area": np.float32(0.1), "id": np.int64(2**60)}])
    columns = read_ground_truth(truth)
    assert columns.boxes_xywh.tolist() == [[0, 1, 2, 3]] and columns.id.tolist() == [2**60]
    assert columns.area.tolist() == [float(np.float32(0.1))]
    counts = {"counts": b"PPYo0", "size": [3, 4]}
    found = [{"image_id": 1, "category_id": 1, "segmentation": counts, "score": np.float64(0.25)}]
    results = read_results(found, columns, iou_type="segm")
    assert bytes(results.segmentation.strings) == b"PPYo0" and not results.has_boxes


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"", r"`gt`: byte 0 \(line 1\): expected a value, found the end of the file"),
        (b"[]", "must be an object with images, annotations and categories, got a list"),
        (b"\xff\xfe{\x00", "is UTF-16 or UTF-32; save it as UTF-8"),
        (b'{"images": {}}', "`images` must be a list of objects"),
        (b'{"images": [3]}', r"images\[0\]: must be an object"),
        (b'{"images": [{"width": 3}]}', r"images\[0\].id: is missing"),
        (b'{"images": [], "annotations": []}', "`gt`: lacks `categories`"),
        (b'{"categories": [{"id": "a"}]}', r"categories\[0\].id: must be an integer of 64 bits"),
        (5, "`gt`: must be a path, JSON as bytes, or loaded JSON, got int"),
    ],
)
def test_what_is_no_ground_truth_is_named(source, problem):
    with pytest.raises(ValueError, match=problem):
        read_ground_truth(source)


def test_memory_is_that_of_the_columns(tmp_path):
    """Peak memory of a process that reads 54 MB, less what it had and the columns."""
    path = tmp_path / "dt.json"
    record = result(
        image_id="139", bbox="[413.25, 219.02, 9.63, 12.52]", more=', "x": "' + "x" * 60 + '"'
    )
    path.write_text("[" + ",\n".join([record] * 340_000) + "]")
    assert path.stat().st_size > 50e6
    program = f"""
import os, resource
import numpy as np
from sightline import _numpy
file = open({str(path)!r}, "rb")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
size = os.fstat(file.fileno()).st_size
rows = _numpy.read_coco_results(file.fileno(), size, None, "x", True, {RESULT!r})
print(peak() - before - 340_000 * 58)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert int(done.stdout) < 40e6, done
