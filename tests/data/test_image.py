"""Every way a picture is stored ends as the same uint8 array, or as one clear error."""

import numpy as np
import pytest
from PIL import Image

from sightline.data import DataError, read_image
from sightline.data.image import image_size, to_channels

RAMP = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
COLOUR = np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=2)


def save(path, picture, **options):
    picture.save(path, **options)
    return path


def test_rgb_and_grey_png_are_read_exactly(tmp_path):
    rgb = save(tmp_path / "rgb.png", Image.fromarray(COLOUR))
    grey = save(tmp_path / "grey.png", Image.fromarray(RAMP))
    np.testing.assert_array_equal(read_image(rgb), COLOUR)
    np.testing.assert_array_equal(read_image(grey), np.repeat(RAMP[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(read_image(grey, channels=1), RAMP[:, :, None])


def test_rgb_becomes_grey_by_luma(tmp_path):
    path = save(tmp_path / "rgb.png", Image.fromarray(COLOUR))
    expected = np.rint(COLOUR @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_array_equal(read_image(path, channels=1)[:, :, 0], expected)


def test_alpha_is_left_out(tmp_path):
    alpha = np.full((4, 6, 1), 100, np.uint8)
    rgba = save(tmp_path / "rgba.png", Image.fromarray(np.concatenate([COLOUR, alpha], axis=2)))
    np.testing.assert_array_equal(read_image(rgba), COLOUR)
    stacked = np.concatenate([RAMP[:, :, None], alpha], axis=2)
    grey = save(tmp_path / "la.png", Image.fromarray(stacked, mode=None))
    np.testing.assert_array_equal(read_image(grey, channels=1), RAMP[:, :, None])


def test_palette_with_and_without_transparency_is_read_as_its_colours(tmp_path):
    picture = Image.fromarray(RAMP // 10).convert("P")
    picture.putpalette([value for index in range(256) for value in (index * 7 % 256, 9, index)])
    index = np.asarray(picture).astype(int)
    expected = np.stack([index * 7 % 256, np.full_like(index, 9), index], axis=2)
    plain = save(tmp_path / "p.png", picture)
    clear = save(tmp_path / "t.png", picture, transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(read_image(plain), expected)
    np.testing.assert_array_equal(read_image(clear), expected)


def test_sixteen_bit_png_keeps_its_range(tmp_path):
    values = np.array([[0, 257, 514], [32896, 65278, 65535]], np.uint16)
    path = save(tmp_path / "deep.png", Image.fromarray(values))
    expected = np.array([[0, 1, 2], [128, 254, 255]])
    np.testing.assert_array_equal(read_image(path, channels=1)[:, :, 0], expected)


def test_one_bit_and_cmyk_images_are_read(tmp_path):
    bits = save(tmp_path / "bits.png", Image.fromarray(RAMP > 100))
    np.testing.assert_array_equal(
        read_image(bits, channels=1)[:, :, 0], np.where(RAMP > 100, 255, 0)
    )
    cmyk = save(tmp_path / "cmyk.tif", Image.new("CMYK", (6, 4), (0, 255, 255, 0)))
    assert read_image(cmyk)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (6, lambda a: np.rot90(a, -1)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, shown):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "turned.png", Image.fromarray(COLOUR), exif=exif)
    expected = shown(COLOUR)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == (expected.shape[1], expected.shape[0])


def test_labels_made_on_the_stored_frame_keep_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "turned.png", Image.fromarray(COLOUR), exif=exif)
    assert read_image(path, size=(4, 6)).shape == (6, 4, 3)
    np.testing.assert_array_equal(read_image(path, size=(6, 4)), COLOUR)
    with pytest.raises(DataError, match=r"is 4 x 6, but its label file says 7 x 9"):
        read_image(path, size=(7, 9))


def test_truncated_jpeg_is_named_with_the_fix(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cut.jpg"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"cut\.jpg: cannot decode the image .* replace the file"):
        read_image(path)


def test_missing_empty_and_false_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no\.jpg: no such image"):
        read_image(tmp_path / "no.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.jpg: the image file is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"text\.jpg: not a readable image"):
        read_image(tmp_path / "text.jpg")


def test_float_pixels_are_refused(tmp_path):
    path = save(tmp_path / "float.tif", Image.fromarray(RAMP.astype(np.float32)))
    with pytest.raises(DataError, match="pixels of 32 bits have no known range"):
        read_image(path)


def test_arrays_that_are_no_picture_are_refused():
    with pytest.raises(TypeError, match="`image` must be a uint8 array, got float32"):
        to_channels(np.zeros((4, 4, 3), np.float32), 3)
    with pytest.raises(ValueError, match=r"got \[4, 4, 2\]"):
        to_channels(np.zeros((4, 4, 2), np.uint8), 3)
    with pytest.raises(ValueError, match=r"at least one pixel, got \[0, 4, 3\]"):
        to_channels(np.zeros((0, 4, 3), np.uint8), 3)
