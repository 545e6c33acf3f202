"""A user's function in place of `Augment`."""

import random

import numpy as np
import pytest
import torch

from sightline.data import load_digit_scenes, load_digits_classification, make_loader
from sightline.data.annotations import Annotations, Record
from sightline.data.preprocess import Preprocess

PREPROCESS = Preprocess(size=(48, 64), channels=1)


@pytest.fixture(scope="module")
def scenes():
    return load_digit_scenes("val", 6, 0)


def loader_of(annotations, augment, *, size=(48, 64), **options):
    preprocess = Preprocess(size=size, channels=1)
    options = {"batch_size": 2, "shuffle": False, **options}
    return make_loader(annotations, preprocess, augment=augment, **options)


def epoch_of(loader, epoch=0):
    loader.set_epoch(epoch)
    return list(loader)


def mirror(image, target):
    width = image.shape[1]
    boxes = target["boxes"]
    target["boxes"] = np.stack(
        [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1
    )
    return image[:, ::-1], target


def noise(image, target):
    """Draws from all three global generators, and writes into what it is given."""
    image += np.uint8(random.randrange(20))
    image += np.uint8(torch.randint(20, ()).item())
    image += np.random.randint(0, 20, image.shape).astype(np.uint8)  # noqa: NPY002
    target["boxes"] += 0.5
    return image, target


def shifted_class(image, target):
    return image, {"label": (target["label"] + 1) % 10}


def test_pixels_and_boxes_are_those_that_the_function_returns(scenes):
    plain, changed = epoch_of(loader_of(scenes, None)), epoch_of(loader_of(scenes, mirror))
    pairs = zip(plain, changed, strict=True)
    for (images, targets, samples), (mirrored, moved, same_samples) in pairs:
        assert samples == same_samples
        torch.testing.assert_close(images.flip(3), mirrored)
        for target, other in zip(targets, moved, strict=True):
            torch.testing.assert_close(target["boxes"][:, 0], 64 - other["boxes"][:, 2])
            assert torch.equal(target["labels"], other["labels"])
            assert other["iscrowd"].dtype == torch.bool and other["boxes"].dtype == torch.float32


def test_the_class_of_a_picture_may_change():
    digits = load_digits_classification(seed=0)[0].subset(range(4))
    (_, targets, _), *_ = epoch_of(loader_of(digits, shifted_class, size=(8, 8), batch_size=4))
    wanted = [(int(record.labels[0]) + 1) % 10 for record in digits.records]
    assert targets.tolist() == wanted


def same(first, second):
    return all(
        torch.equal(a, b) and all(torch.equal(x["boxes"], y["boxes"]) for x, y in zip(s, t))
        for (a, s, _), (b, t, _) in zip(first, second, strict=True)
    )


def test_what_it_draws_depends_on_seed_epoch_and_index_alone(scenes):
    loader = loader_of(scenes, noise, seed=3)
    first = epoch_of(loader, 0)
    assert not same(first, epoch_of(loader, 1))
    random.seed(8)
    torch.manual_seed(8)
    np.random.seed(8)  # noqa: NPY002
    assert same(first, epoch_of(loader, 0))
    assert same(first, epoch_of(loader_of(scenes, noise, seed=3, workers=2), 0))
    assert not same(first, epoch_of(loader_of(scenes, noise, seed=4), 0))


def test_the_callers_generators_are_left_alone(scenes):
    def states():
        keys = np.random.get_state()[1].tolist()  # noqa: NPY002
        return random.getstate(), keys, torch.get_rng_state().tolist()

    before = states()
    epoch_of(loader_of(scenes, noise))
    assert states() == before


def test_boxes_may_be_dropped_added_and_stick_out(scenes):
    def other(image, target):
        boxes = [[-5.0, 4, 20, 30], [70, 10, 90, 20], [3, 3, 3.5, 40]]
        return image, {"boxes": boxes, "labels": [1, 2, 3]}

    (_, targets, _), *_ = epoch_of(loader_of(scenes, other))
    assert targets[0]["boxes"].tolist() == [[0, 4, 20, 30]]
    assert targets[0]["labels"].tolist() == [1] and targets[0]["iscrowd"].tolist() == [False]

    def none(image, target):
        return image, {"boxes": [], "labels": []}

    (_, targets, _), *_ = epoch_of(loader_of(scenes, none))
    assert targets[0]["boxes"].shape == (0, 4) and targets[0]["labels"].dtype == torch.int64


def returning(image=None, **changes):
    def broken(given, target):
        if changes.get("target", True) is None:
            return given, None
        return (given if image is None else image), {**target, **changes}

    return broken


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda image, target: image, TypeError, r"must return \(image, target\), got an array"),
        (returning(target=None), TypeError, "the target must be a dict, got a NoneType"),
        (returning(torch.zeros(48, 64, 1)), TypeError, "must be an array of uint8, got a Tensor"),
        (returning(np.zeros((48, 64, 1))), TypeError, "got an array of float64"),
        (returning(np.zeros((48, 32, 1), np.uint8)), ValueError, r"shape \[48, 64, 1\]"),
        (returning(boxes=[[0, 0, 5]], labels=[1]), ValueError, r"'boxes' must be .* \[N, 4\]"),
        (returning(boxes=[[9, 0, 5, 5]], labels=[1]), ValueError, "x1 <= x2 .* in row 0"),
        (returning(boxes=[[0, 0, np.nan, 5]], labels=[1]), ValueError, "must be finite"),
        (returning(labels=[11]), ValueError, r"'labels' must be in 0 ... 9, got \[11\]"),
        (returning(labels=[0.5]), TypeError, "'labels' must be integers"),
        (returning(boxes=np.tile([0, 0, 5, 5], (9, 1))), ValueError, r"shape \[9\] as 'boxes'"),
        (returning(class_labels=[1]), ValueError, r"new keys \['class_labels'\]; it was given"),
    ],
)
def test_what_it_returns_wrongly_is_named(scenes, function, error, message):
    name = function.__qualname__
    with pytest.raises(error, match=message) as caught:
        epoch_of(loader_of(scenes, function))
    assert str(caught.value).startswith(f"`augment` {name}, for image ")


def test_a_flag_that_is_set_may_not_get_lost():
    def forget(image, target):
        return image, {"boxes": target["boxes"], "labels": target["labels"]}

    record = Record(
        np.zeros((48, 64, 1), np.uint8), "a", 64, 48, [0], [[1, 1, 9, 9]], iscrowd=[True]
    )
    with pytest.raises(ValueError, match="lacks 'iscrowd', which was set"):
        epoch_of(loader_of(Annotations("boxes", ("x",), (record,)), forget))


def test_an_error_inside_it_says_for_which_image(scenes):
    def broken(image, target):
        return image, target["bboxes"]

    with pytest.raises(KeyError) as caught:
        epoch_of(loader_of(scenes, broken))
    assert "raised by `augment`" in caught.value.__notes__[0]


def test_neither_settings_nor_a_function_is_refused(scenes):
    with pytest.raises(TypeError, match=r"must be an Augment, a function .* got dict"):
        loader_of(scenes, {"flip_h": 1})
