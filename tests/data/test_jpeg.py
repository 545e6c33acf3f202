"""JPEG through simplejpeg: the pixels and the errors of Pillow."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from sightline.data import DataError, read_image
from sightline.data.jpeg import decode_jpeg
from sightline.formats.pictures import opened_image


def colours(height, width):
    """Smooth colours with some noise, so that every coefficient of a JPEG is used."""
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(smooth + rng.integers(-9, 9, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(picture, **options):
    file = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(file, options.pop("format", "JPEG"), **options)
    return file.getvalue()


def with_orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif.tobytes()


@pytest.fixture
def by_pillow(monkeypatch):
    """Read as where simplejpeg is not installed."""

    def read(data, **options):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "simplejpeg", None)
            return read_image(data, **options)

    return read


KINDS = {
    "4:2:0": {"subsampling": 2},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0, "quality": 100},
    "progressive": {"progressive": True, "quality": 40},
    "restart markers": {"restart_marker_blocks": 2},
    "RGB of Adobe": {"keep_rgb": True},
    "two pictures": {
        "format": "MPO",
        "save_all": True,
        "append_images": [Image.new("RGB", (9, 9))],
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [(1, 1), (7, 1), (9, 17), (33, 31), (48, 64)])
def test_every_kind_of_jpeg_has_the_pixels_of_pillow(by_pillow, kind, side):
    data = jpeg(colours(*side), **KINDS[kind])
    with opened_image(data) as image:
        assert decode_jpeg(image) is not None
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read_image(data), expected)
    np.testing.assert_array_equal(by_pillow(data), expected)


def test_a_grey_jpeg_has_the_pixels_of_pillow(by_pillow):
    data = jpeg(colours(33, 47)[:, :, 0])
    for channels in (1, 3):
        found = read_image(data, channels=channels)
        assert found.shape == (33, 47, channels)
        np.testing.assert_array_equal(found[:, :, 0], np.asarray(Image.open(io.BytesIO(data))))
        np.testing.assert_array_equal(found, by_pillow(data, channels=channels))


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("suffix", ["JPEG", "PNG"])
def test_exif_orientation_is_applied_as_pillow_does(number, suffix):
    data = jpeg(colours(31, 50), format=suffix, exif=with_orientation(number))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read_image(data), np.asarray(expected))


def outcome(read, data):
    """The bytes of the pixels, or the text of the error."""
    try:
        return read(data).tobytes()
    except DataError as error:
        return str(error)


def test_damage_gives_what_pillow_makes_of_it(by_pillow):
    data = jpeg(colours(64, 64), quality=90)
    for cut in (data[: len(data) // 2], data[:-2]):
        assert "cannot decode the image" in outcome(read_image, cut)
        assert outcome(read_image, cut) == outcome(by_pillow, cut)
    rng = np.random.default_rng(0)
    outcomes = set()
    for at in rng.integers(data.index(b"\xff\xda") + 14, len(data) - 2, 30):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        outcomes.add(found := outcome(read_image, bytes(damaged)))
        assert found == outcome(by_pillow, bytes(damaged))
    assert {type(found) for found in outcomes} == {bytes, str}
    np.testing.assert_array_equal(read_image(data + b"more"), read_image(data))


def test_a_jpeg_that_simplejpeg_cannot_convert_is_left_to_pillow():
    cmyk = jpeg(Image.fromarray(colours(20, 30)).convert("CMYK"))
    expected = np.asarray(Image.open(io.BytesIO(cmyk)).convert("RGB"))
    np.testing.assert_array_equal(read_image(cmyk), expected)
    twelve_bits = bytearray(jpeg(colours(20, 30)))
    twelve_bits[twelve_bits.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(DataError, match="not a readable image"):
        read_image(bytes(twelve_bits))


def test_photographs_have_the_pixels_of_pillow(shared_data):
    paths = sorted((shared_data / "bccd").rglob("*.jp*g"))[::20]
    paths += sorted((shared_data / "sign_digits").rglob("*.JPG"))[::200]
    assert len(paths) > 20
    for path in paths:
        expected = ImageOps.exif_transpose(Image.open(path))
        np.testing.assert_array_equal(read_image(path), np.asarray(expected), err_msg=str(path))


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("number", [1, 3, 5, 6])
@pytest.mark.parametrize("side", [(5, 3), (64, 48), (67, 101)])
def test_a_pixel_of_a_reduced_image_covers_its_pixels_of_the_whole(
    by_pillow, reduction, number, side
):
    # A step at a multiple of 8 in the image as shown stays at exactly its coordinate / reduction.
    shown = side if number < 5 else side[::-1]
    whole = np.full((*shown, 3), 40, np.uint8)
    whole[: shown[0] // 16 * 8, : shown[1] // 16 * 8] = 200
    stored = {
        1: whole,
        3: whole[::-1, ::-1],
        5: whole.swapaxes(0, 1),
        6: whole[:, ::-1].swapaxes(0, 1),
    }[number]
    for options in ({"quality": 100, "subsampling": 0}, {"format": "PNG"}):
        data = jpeg(np.ascontiguousarray(stored), exif=with_orientation(number), **options)
        np.testing.assert_allclose(read_image(data).astype(int), whole, atol=3)
        found = read_image(data, reduction=reduction)
        assert found.shape == (-(-shown[0] // reduction), -(-shown[1] // reduction), 3)
        np.testing.assert_array_equal(found, by_pillow(data, reduction=reduction))
        edge = np.array(shown) // 16 * 8 // reduction
        expected = np.full(found.shape, 40)
        expected[: edge[0], : edge[1]] = 200
        np.testing.assert_allclose(found[:-1, :-1].astype(int), expected[:-1, :-1], atol=3)


def test_a_reduced_photograph_looks_like_the_average_of_its_pixels(shared_data, by_pillow):
    path = sorted((shared_data / "bccd").rglob("*.jp*g"))[7]
    whole = Image.fromarray(read_image(path))
    for reduction in (2, 4):
        found = read_image(path, reduction=reduction)
        np.testing.assert_array_equal(found, by_pillow(path, reduction=reduction))
        error = found.astype(float) - np.asarray(whole.reduce(reduction))
        assert np.sqrt((error**2).mean()) < 1  # 48 dB
    grey = jpeg(np.asarray(whole)[:, :, 0])
    assert read_image(grey, channels=1, reduction=2).shape == (240, 320, 1)
    np.testing.assert_array_equal(read_image(grey, reduction=2), by_pillow(grey, reduction=2))


def test_a_reduction_that_no_decoder_has_is_refused():
    with pytest.raises(ValueError, match="`reduction` must be 1, 2, 4 or 8, got 3"):
        read_image(np.zeros((8, 8, 3), np.uint8), reduction=3)
    assert read_image(np.zeros((9, 8, 3), np.uint8), reduction=2).shape == (5, 4, 3)
