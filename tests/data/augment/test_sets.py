"""Augmentation of a whole set: levels, mosaic, mixup, soft labels, and what objects have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sightline.data import Annotations, Augment, Dataset, Preprocess, Record, make_loader
from sightline.formats.shapes import Polygons, mask_to_runs

PREPROCESS = Preprocess((60, 80), mean=(0.0,) * 3, std=(1.0,) * 3)
SHAPES = ("masks", "points", "boxes_rotated")


def scene(seed, *, with_shapes=True):
    """A dark image of 120 x 160 with two bright rectangles, the second of them in one colour."""
    rng = np.random.default_rng(seed)
    image = np.full((120, 160, 3), 20, np.uint8)
    corners = np.stack([rng.integers((10, 10), (50, 60)), rng.integers((90, 10), (110, 60))])
    boxes = np.concatenate([corners, corners + rng.integers(25, 40, (2, 2))], axis=1)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2, number:] = 230
    x1, y1, x2, y2 = boxes.T
    ring = np.stack([x1, y1, x2, y1, x2, y2, x1, y2], axis=1).reshape(2, 4, 2)
    mask = np.zeros((120, 160), bool)
    mask[y1[1] : y2[1], x1[1] : x2[1]] = True
    middle = np.stack([(x1 + x2) / 2, (y1 + y2) / 2], axis=1)
    rotated = np.concatenate([middle, np.stack([x2 - x1, y2 - y1, 0 * x1], axis=1)], axis=1)
    known = {
        "shapes": (Polygons((ring[0],)), mask_to_runs(mask)),
        "points": np.concatenate([ring, np.full((2, 4, 1), 2.0)], axis=2),
        "boxes_rotated": rotated,
    }
    return Record(image, seed, 160, 120, [0, 1], boxes, **(known if with_shapes else {}))


@pytest.fixture(scope="module")
def scenes():
    return Annotations("boxes", ("a", "b"), tuple(scene(seed) for seed in range(5)))


@pytest.fixture(scope="module")
def pictures():
    """A class set whose images have one value each, that of their class."""
    records = [
        Record(np.full((40, 50, 3), 60 * label, np.uint8), label, 50, 40, labels=[label])
        for label in range(4)
    ]
    return Annotations("class", ("a", "b", "c", "d"), tuple(records))


@pytest.mark.parametrize(("level", "times"), [*enumerate([1, 2, 4, 8, 12, 16, 20])])
def test_a_level_multiplies_the_set(scenes, level, times):
    dataset = Dataset(scenes, PREPROCESS, augment=Augment(level=level))
    assert len(dataset) == times * 5
    loader = make_loader(
        scenes, PREPROCESS, batch_size=4, shuffle=True, augment=Augment(level=level)
    )
    assert len(loader) == -(-times * 5 // 4)
    assert [dataset[5 * copy + 3][2].index for copy in range(times)] == [3] * times
    unsafe = replace(scenes, mirror_safe=False)
    half = Dataset(unsafe, PREPROCESS, augment=Augment(level=level))
    assert len(half) == (times // 2 or 1) * 5


def test_a_level_holds_each_image_unchanged_changed_and_mirrored(scenes):
    level, still = Augment(level=3, rotate=10.0), Augment(level=0)
    plain = Dataset(scenes, PREPROCESS)
    dataset = Dataset(scenes, PREPROCESS, augment=level, seed=4)
    for index in range(5):
        image, target, sample = dataset[index]
        assert (image - plain[index][0]).abs().mean() < 0.01  # with a narrower filter
        assert torch.equal(target["boxes"], plain[index][1]["boxes"])
        assert sample == plain[index][2]
        copies = [dataset[(2, 5 * copy + index)] for copy in range(8)]
        for one, other in zip(copies[:4], copies[4:], strict=True):
            assert (one[0].flip(2) - other[0]).abs().max() < 0.02
            mirrored = 80 - other[1]["boxes"][:, [2, 1, 0, 3]]
            mirrored[:, 1::2] = other[1]["boxes"][:, 1::2]
            torch.testing.assert_close(mirrored, one[1]["boxes"])
        first = [copy[0] for copy in copies[:4]]
        assert all((first[a] - first[b]).abs().max() > 0.05 for a in range(4) for b in range(a))
        assert not torch.equal(copies[1][0], dataset[(3, 5 + index)][0])  # anew in each epoch
    unchanged = Dataset(scenes, PREPROCESS, augment=still)
    assert all(torch.equal(unchanged[i][0], plain[i][0]) for i in range(5))


def bright_box(image, label):
    """The box around what has the colour of a label, where it can be seen alone."""
    colour = image[0] > 0.5 if label == 0 else (image[1] > 0.5) & (image[0] < 0.4)
    rows, columns = np.nonzero(colour.numpy())
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_masks_points_and_rotated_boxes_come_with_the_boxes(scenes):
    augment = Augment(rotate=30.0, shear=10.0, perspective=0.1, elastic=0.02, hue=0, saturation=0)
    dataset = Dataset(scenes, PREPROCESS, augment=augment, with_shapes=True)
    assert set(SHAPES).isdisjoint(Dataset(scenes, PREPROCESS, augment=augment)[0][1])
    for item in range(5):
        for epoch in range(3):
            image, target, _ = dataset[(epoch, item)]
            count = len(target["boxes"])
            assert target["masks"].shape == (count, 60, 80) and target["masks"].dtype == torch.bool
            assert target["points"].shape == (count, 4, 3)
            assert target["boxes_rotated"].shape == (count, 5)
            for box, label, mask, points in zip(
                *(target[name] for name in ("boxes", "labels", "masks", "points")), strict=True
            ):
                np.testing.assert_allclose(box, bright_box(image, int(label)), atol=1.2)
                rows, columns = np.nonzero(mask.numpy())
                hull = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                np.testing.assert_allclose(box, hull, atol=1.2)
                seen = points[points[:, 2] > 0, :2]
                assert (seen >= box[:2] - 0.01).all() and (seen <= box[2:] + 0.01).all()


def test_without_changes_shapes_are_those_of_the_resized_image(scenes):
    _, target, _ = Dataset(scenes, PREPROCESS, with_shapes=True)[0]
    record = scenes.records[0]
    np.testing.assert_allclose(target["boxes"], record.boxes / 2)
    np.testing.assert_allclose(target["points"][..., :2], record.points[..., :2] / 2)
    np.testing.assert_allclose(target["boxes_rotated"][:, :4], record.boxes_rotated[:, :4] / 2)
    areas = (record.boxes[:, 2:] - record.boxes[:, :2]).prod(axis=1) / 4
    np.testing.assert_allclose(target["masks"].sum((1, 2)), areas, rtol=0.1)


@pytest.mark.parametrize("setting", ["mosaic", "mixup"])
def test_images_with_fewer_keypoints_are_joined_with_others(setting):
    few = scene(0)
    records = (replace(few, points=few.points[:, :2]), scene(1))
    augment = replace(Augment.none(), **{setting: 1.0})
    data = Dataset(
        Annotations("boxes", ("a", "b"), records), PREPROCESS, augment=augment, with_shapes=True
    )
    targets = [data[(epoch, 0)][1] for epoch in range(6)]
    found = [target["points"] for target in targets]
    assert any(points.shape[1] == 4 and not points[:, 2:].any(dim=2).all() for points in found)
    assert all(len(target["points"]) == len(target["boxes"]) for target in targets)


def test_each_part_of_a_mosaic_has_its_objects_in_its_own_quarter(scenes):
    augment = replace(Augment.none(), mosaic=1.0, scale=(0.9, 1.1), rotate=20.0)
    dataset = Dataset(scenes, PREPROCESS, augment=augment, with_shapes=True)
    several = 0
    for epoch in range(12):
        image, target, _ = dataset[(epoch, epoch % 5)]
        several += len(target["labels"]) > 3
        for box, mask, label in zip(target["boxes"], target["masks"], target["labels"]):
            inside = image[2][mask]
            assert (inside > 0.5).float().mean() > 0.8
            x1, y1, x2, y2 = box.tolist()
            assert 0 <= x1 < x2 <= 80 and 0 <= y1 < y2 <= 60
            rows, columns = np.nonzero(mask.numpy())
            hull = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, hull, atol=2)  # of tips that a pixel does not hold
            assert (image[0][mask].mean() > 0.5) == (label == 0)
    assert several >= 8


def test_mixup_of_boxes_keeps_the_objects_of_both_in_half_their_strength(scenes):
    augment = replace(Augment.none(), mixup=1.0)
    mixed = Annotations("boxes", ("a", "b"), (*scenes.records[:2], scene(9, with_shapes=False)))
    dataset = Dataset(mixed, PREPROCESS, augment=augment, with_shapes=True)
    for epoch in range(4):
        image, target, _ = dataset[(epoch, 0)]
        assert target["labels"].tolist() == [0, 1, 0, 1]
        assert target["masks"].shape[0] == target["points"].shape[0] == 4
        for mask in target["masks"]:
            assert 0.35 < image[2][mask].median() <= 0.95


def test_mixed_and_smoothed_classes_are_probabilities(pictures):
    mixup = replace(Augment.none(), mixup=1.0)
    plain = Dataset(pictures, PREPROCESS, augment=mixup)
    blends = 0
    for epoch in range(20):
        image, target, _ = plain[(epoch, 1)]
        assert target.dtype == torch.float32 and target.shape == (4,)
        torch.testing.assert_close(target.sum(), torch.tensor(1.0))
        shown = float((target * torch.arange(4) * 60).sum()) / 255
        torch.testing.assert_close(image.mean(), torch.tensor(shown), atol=0.01, rtol=0)
        blends += bool((target > 0.02).sum() > 1)
    assert blends > 4
    mosaic = Dataset(pictures, PREPROCESS, augment=replace(Augment.none(), mosaic=1.0))
    image, target, _ = mosaic[(0, 2)]
    shown = float((target * torch.arange(4) * 60).sum()) / 255
    torch.testing.assert_close(image.mean(), torch.tensor(shown), atol=0.01, rtol=0)
    smoothed = Dataset(pictures, PREPROCESS, augment=replace(Augment.none(), label_smoothing=0.2))
    torch.testing.assert_close(smoothed[2][1], torch.tensor([0.05, 0.05, 0.85, 0.05]))
    options = {"batch_size": 3, "shuffle": False}
    (_, one_hot, _), *_ = make_loader(pictures, PREPROCESS, one_hot=True, **options)
    assert torch.equal(one_hot, torch.eye(4)[:3])
    (_, labels, _), *_ = make_loader(pictures, PREPROCESS, augment=Augment(), **options)
    assert labels.tolist() == [0, 1, 2] and labels.dtype == torch.int64


HEAVIEST = Augment(
    flip_v=0.5,
    rotate=20.0,
    shear=5.0,
    perspective=0.1,
    crop=0.3,
    elastic=0.03,
    grayscale=0.2,
    blur=1.0,
    noise=0.05,
    cutout=0.5,
    mosaic=0.5,
    mixup=0.5,
)


@pytest.mark.parametrize("augment", [HEAVIEST, replace(HEAVIEST, mosaic=0, mixup=0, level=2)])
def test_items_depend_on_seed_epoch_and_index_alone(scenes, augment):
    options = {"batch_size": 4, "shuffle": True, "augment": augment, "with_shapes": True}

    def epoch_of(number, **more):
        loader = make_loader(scenes, PREPROCESS, **options, **more)
        loader.set_epoch(number)
        return [
            (images, sorted(target), *target.values())
            for images, targets, _ in loader
            for target in targets
        ]

    def same(first, second):
        return all(
            torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
            for a, b in zip(first, second, strict=True)
            for x, y in zip(a, b, strict=True)
        )

    third = epoch_of(2, seed=1)
    assert same(third, epoch_of(2, seed=1, workers=1))
    assert same(third, epoch_of(2, seed=1, cache_bytes=0))
    assert not torch.equal(third[0][0], epoch_of(1, seed=1)[0][0])
    assert not torch.equal(third[0][0], epoch_of(2, seed=2)[0][0])


def test_large_images_are_kept_reduced_and_their_boxes_fit(scenes):
    small = Preprocess((30, 40), mean=(0.0,) * 3, std=(1.0,) * 3)
    augment = replace(Augment.none(), scale=(0.8, 1.2), rotate=10.0)
    dataset = Dataset(scenes, small, augment=augment)
    assert dataset._pictures.load(0).shape == (30, 40, 3)
    for epoch in range(6):
        image, target, _ = dataset[(epoch, epoch % 5)]
        for box, label in zip(target["boxes"], target["labels"]):
            np.testing.assert_allclose(box, bright_box(image, int(label)), atol=1.2)


def test_a_function_of_yours_gets_and_returns_shapes(scenes):
    def mirror(image, target):
        flipped = {**target, "boxes": 80 - target["boxes"][:, [2, 1, 0, 3]]}
        flipped["boxes"][:, 1::2] = target["boxes"][:, 1::2]
        flipped["masks"] = target["masks"][:, :, ::-1]
        flipped["points"] = target["points"] * [-1, 1, 1] + [80, 0, 0]
        return image[:, ::-1], flipped

    plain = Dataset(scenes, PREPROCESS, with_shapes=True)[0][1]
    target = Dataset(scenes, PREPROCESS, with_shapes=True, augment=mirror)[0][1]
    assert torch.equal(target["masks"], plain["masks"].flip(2))
    torch.testing.assert_close(target["points"][..., 0], 80 - plain["points"][..., 0])

    def forget(image, target):
        return image, {name: target[name] for name in ("boxes", "labels")}

    with pytest.raises(ValueError, match="lacks 'masks', which must change with its boxes"):
        Dataset(scenes, PREPROCESS, with_shapes=True, augment=forget)[0]

    def shorten(image, target):
        return image, {**target, "points": target["points"][:1]}

    with pytest.raises(ValueError, match=r"'points' must have shape \[2, 4, 3\] as 'boxes'"):
        Dataset(scenes, PREPROCESS, with_shapes=True, augment=shorten)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 7}, "`level` must be 0 to 6 or None, got 7"),
        ({"level": 2, "mosaic": 0.5}, "`mosaic` must be 0 with `level`"),
        ({"shear": 40.0}, r"`shear` must lie in \[0, 30\], got 40.0"),
        ({"perspective": 0.5}, r"`perspective` must lie in \[0, 0.3\]"),
        ({"crop": 1.0}, r"`crop` must lie in \[0, 0.99\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)


def test_a_setting_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="`rotate` must be a number, got '10'"):
        Augment(rotate="10")
    assert Augment(rotate=np.float32(10)).rotate == 10
