"""The embedded digits."""

import numpy as np

from sightline.data import load_digits_classification


def test_digits_are_split_80_20_by_class():
    train, val = load_digits_classification()
    assert (len(train), len(val)) == (1438, 359)
    assert train.class_names == tuple("0123456789")
    shares = val.class_counts() / (train.class_counts() + val.class_counts())
    assert abs(shares - 0.2).max() < 0.006
    ids = [{record.image_id for record in half.records} for half in (train, val)]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 1797


def test_digit_pixels_use_the_whole_range():
    train, _ = load_digits_classification()
    images = np.stack([record.image for record in train.records])
    assert images.shape == (1438, 8, 8, 1)
    assert (images.dtype, images.min(), images.max()) == (np.uint8, 0, 255)


def test_digits_split_depends_on_the_seed_alone():
    ids = [
        [record.image_id for record in load_digits_classification(seed)[1].records]
        for seed in (0, 0, 1)
    ]
    assert ids[0] == ids[1] != ids[2]
