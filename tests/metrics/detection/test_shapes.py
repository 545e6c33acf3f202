"""DetectionEvaluator on masks and keypoints gives what evaluate_coco gives of the same files."""

import copy

import numpy as np
import pytest

from sightline.metrics import DetectionEvaluator, decode_masks, evaluate_coco
from tests.metrics.coco.test_shapes import draw_keypoints, draw_masks, to_rle
from tests.metrics.detection.test_merge import columns

CELLS = ("precision", "recall", "scores", "stats")


def images_of(truth, found, shape):
    """Arguments of `update` for each image, and the shapes under `shape` as files have them."""
    place = {category["id"]: k for k, category in enumerate(sorted_categories(truth))}
    case = {}
    for image in truth["images"]:
        dt, gt = (
            [row for row in rows if row["image_id"] == image["id"]]
            for rows in (found, truth["annotations"])
        )
        detections, targets = (
            {
                "labels": [place[row["category_id"]] for row in rows],
                shape: [row["segmentation" if shape == "masks" else shape] for row in rows],
            }
            for rows in (dt, gt)
        )
        detections["scores"] = [row["score"] for row in dt]
        targets["iscrowd"] = [row["iscrowd"] for row in gt]
        targets["area"] = [row["area"] for row in gt]
        if shape == "masks":
            targets["image_size"] = [image["height"], image["width"]]
        else:
            targets["boxes_xywh"] = [row["bbox"] for row in gt]
            targets["num_keypoints"] = [row["num_keypoints"] for row in gt]
        case[image["id"]] = (detections, targets)
    return case


def sorted_categories(truth):
    return sorted(truth["categories"], key=lambda category: category["id"])


def evaluator_of(truth, iou_type, case, **kwargs):
    names = [str(category["id"]) for category in sorted_categories(truth)]
    evaluator = DetectionEvaluator(iou_type=iou_type, class_names=names, **kwargs)
    evaluator.update(list(case), [dt for dt, _ in case.values()], [gt for _, gt in case.values()])
    return evaluator


def assert_equal(results, wanted):
    assert results.iou_type == wanted.iou_type
    for name in CELLS:
        np.testing.assert_array_equal(getattr(results, name), getattr(wanted, name), name)


def as_pictures(side, size):
    masks = [mask if isinstance(mask, dict) else to_rle(mask, *size) for mask in side["masks"]]
    pictures = [decode_masks([mask])[0] for mask in masks]
    return np.array(pictures, bool).reshape(-1, *size)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("use_classes", [True, False])
def test_masks_give_what_files_give(seed, use_classes):
    truth, found = draw_masks(np.random.default_rng(seed))
    if not found:
        return
    case = images_of(truth, found, "masks")
    wanted = evaluate_coco(truth, found, iou_type="segm", use_classes=use_classes)
    evaluator = evaluator_of(truth, "segm", case, use_classes=use_classes)
    assert_equal(evaluator.compute(), wanted)


def test_every_form_of_masks_is_held_alike():
    torch = pytest.importorskip("torch")
    truth, found = draw_masks(np.random.default_rng(3))
    case = images_of(truth, found, "masks")
    wanted = columns(evaluator_of(truth, "segm", case))
    forms = {
        "bool": lambda pictures: pictures,
        "uint8, strided": lambda pictures: np.repeat(pictures, 2, axis=2)[:, :, ::2] * np.uint8(7),
        "int64": lambda pictures: pictures.astype(np.int64),
        "list of pictures": list,
        "tensor": torch.from_numpy,
        "tensor [N, 1, H, W]": lambda pictures: torch.from_numpy(pictures)[:, None],
        "counts": lambda pictures: [counts_of(picture) for picture in pictures],
    }
    for name, form in forms.items():
        changed = copy.deepcopy(case)
        for dt, gt in changed.values():
            size = gt["image_size"]
            for side in (dt, gt):
                side["masks"] = form(as_pictures(side, size))
        assert columns(evaluator_of(truth, "segm", changed)) == wanted, name


def counts_of(picture):
    flat = picture.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return {"size": list(picture.shape), "counts": np.diff([0, *changes, len(flat)]).tolist()}


@pytest.mark.parametrize("seed", range(20))
def test_keypoints_give_what_files_give(seed):
    truth, found = draw_keypoints(np.random.default_rng(seed))
    if not found:
        return
    wanted = evaluate_coco(truth, found, iou_type="keypoints")
    evaluator = evaluator_of(truth, "keypoints", images_of(truth, found, "keypoints"))
    assert_equal(evaluator.compute(), wanted)


def test_keypoints_of_another_body_and_of_objects_without_boxes():
    pose = np.array([[[10.0, 10, 2], [30, 20, 1], [0, 0, 0]]])
    evaluator = DetectionEvaluator(iou_type="keypoints", keypoint_sigmas=[0.1, 0.1, 0.2])
    evaluator.update(
        1,
        {"keypoints": pose, "scores": [0.9], "labels": [0]},
        {"keypoints": pose.reshape(1, 9), "labels": [0]},
    )
    objects = evaluator._store.columns(objects=True)
    assert objects["boxes_xywh"].tolist() == [[10, 10, 20, 10]], "of those that are labelled"
    assert objects["num_keypoints"].tolist() == [2] and objects["area"].tolist() == [200]
    boxes = evaluator._store.columns(objects=False)["boxes_xywh"]
    assert boxes.tolist() == [[0, 0, 30, 20]], "of all"
    assert evaluator.compute().recall.max() == 1


@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_state_of_shapes_is_sorted_merged_saved_and_copied(iou_type, tmp_path):
    draw, shape = (draw_masks, "masks") if iou_type == "segm" else (draw_keypoints, "keypoints")
    truth, found = draw(np.random.default_rng(5))
    case = images_of(truth, found, shape)
    assert len(case) > 2
    whole = evaluator_of(truth, iou_type, case)
    merged = evaluator_of(truth, iou_type, {})
    for image_id in sorted(case, reverse=True):
        merged.merge(evaluator_of(truth, iou_type, {image_id: case[image_id]}))
    assert columns(merged) == columns(whole)
    assert columns(merged.merge(whole)) == columns(whole)
    merged.save(tmp_path / "state")
    loaded = DetectionEvaluator.load(tmp_path / "state")
    assert columns(loaded) == columns(whole) == columns(copy.deepcopy(loaded))
    assert_equal(loaded.compute(), whole.compute())
    other = copy.deepcopy(case)
    dt = next(dt for dt, _ in other.values() if dt["scores"])
    if shape == "masks":
        size = dt["masks"][0]["size"]
        dt["masks"][0] = {"size": size, "counts": [0, int(np.prod(size))]}
    else:
        dt["keypoints"][0] = np.array(dt["keypoints"][0]) + 1
    with pytest.raises(ValueError, match="is in both with other rows"):
        whole.merge(evaluator_of(truth, iou_type, other))


PICTURES = np.zeros((1, 4, 4), bool)
POSE = np.zeros((1, 17, 3))


@pytest.mark.parametrize(
    ("iou_type", "change", "error", "message"),
    [
        ("segm", {"masks": None}, ValueError, "lacks 'masks'"),
        ("segm", {"masks": PICTURES + 0.5}, TypeError, "as masks > 0.5"),
        ("segm", {"masks": PICTURES[0]}, ValueError, r"shape \[N, H, W\], got \[4, 4\]"),
        ("segm", {"masks": PICTURES[[0, 0]]}, ValueError, r"shape \[2\] as its boxes"),
        ("segm", {"masks": [{"size": [4, 4]}]}, ValueError, "must have size and counts"),
        ("segm", {"masks": [{"size": [4, 4], "counts": [3]}]}, ValueError, "16|runs|whole|add up"),
        ("segm", {"masks": [[[0, 0, 4, 0, 4, 4]]]}, TypeError, "must be a dict|image_size"),
        ("segm", {"masks": [PICTURES[0], PICTURES[0, :3]]}, ValueError, "must have one size"),
        ("keypoints", {"keypoints": None}, ValueError, "lacks 'keypoints'"),
        (
            "keypoints",
            {"keypoints": POSE[:, :5]},
            ValueError,
            r"shape \[N, 17, 3\], got \[1, 5, 3\]",
        ),
        ("keypoints", {"keypoints": POSE + np.nan}, ValueError, "must be finite"),
        ("keypoints", {"keypoints": [["a"]]}, TypeError, "must be an array of numbers"),
        ("keypoints", {"scores": [np.nan]}, ValueError, r"'scores'\]` must be finite"),
        ("segm", {"labels": [-1]}, ValueError, "got -1 in row 0"),
    ],
)
def test_bad_shapes_are_refused_and_leave_the_evaluator_as_it_was(iou_type, change, error, message):
    targets = {"masks": PICTURES, "keypoints": POSE, "labels": [0]}
    detections = {**targets, "scores": [0.5]}
    evaluator = DetectionEvaluator(iou_type=iou_type)
    good = evaluator.update(1, detections, targets)
    assert good is None and len(evaluator) == 1
    with pytest.raises(error, match=message) as raised:
        evaluator.update([2, 3], [detections, {**detections, **change}], [targets, targets])
    assert "image 3" in str(raised.value) and "detections" in str(raised.value)
    assert len(evaluator) == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"iou_type": "mask"}, "`iou_type` must be one of"),
        ({"iou_type": "segm", "protocol": "voc2010"}, "needs the coco protocol, got voc2010"),
        ({"keypoint_sigmas": [0.1]}, "is for keypoints only, got 'bbox'"),
        ({"iou_type": "keypoints", "keypoint_sigmas": [0.1, 0]}, "must be positive numbers"),
        ({"parity": "exact"}, "`parity` must be one of"),
    ],
)
def test_bad_settings_of_shapes_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DetectionEvaluator(**kwargs)
