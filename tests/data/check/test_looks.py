"""Splits that look different are told from random ones."""

import numpy as np
import pytest
from PIL import Image

from sightline.data.check.looks import differences
from sightline.data.check.pictures import look_at


@pytest.mark.parametrize("seed", range(20))
def test_random_splits_do_not_differ(seed):
    rng = np.random.default_rng(seed)
    values = rng.lognormal(size=(60, 8)).astype(np.float32)
    assert [*differences(values[:45], values[45:])] == []


def test_the_difference_is_named_with_its_medians():
    rng = np.random.default_rng(0)
    train, other = rng.normal(0, 1, (80, 2)), rng.normal(0, 1, (20, 2))
    other[:, 1] += 3
    (found,) = differences(train, other, ("brightness", "sharpness"))
    assert found.feature == "sharpness" and found.distance > 0.8
    assert abs(found.train) < 0.5 < 2.5 < found.other


def test_few_images_are_not_compared():
    assert [*differences(np.zeros((50, 1)), np.ones((9, 1)), ("width",))] == []


def test_every_image_size_of_one_camera_is_a_difference_from_another():
    train = np.repeat([[4000.0], [3000.0]], 15, axis=0)
    (found,) = differences(train, np.full((12, 1), 640.0), ("width",))
    assert (found.other, found.distance) == (640, 1)


@pytest.mark.parametrize("cut", [0.4, 0.9])
def test_damage_is_found_where_a_large_image_is_reduced_while_it_is_decoded(tmp_path, cut):
    path = tmp_path / "large.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((2400, 1800), Image.Resampling.BICUBIC).save(path)
    whole = look_at(path)
    assert not whole.error and whole.shown == (2400, 1800)
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    assert "large.jpg: cannot decode the image" in look_at(path).error
