"""Every form of an image gives the same uint8 array, or one clear error."""

import io
import re
import shutil
import struct
import subprocess
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sightline
from sightline._text import printable
from sightline.data import DataError, read_image
from sightline.data.image import IMAGE_SUFFIXES, image_size, to_channels

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
    with pytest.raises(DataError, match=r"no such image; a pattern is not a path: give the folder"):
        read_image(f"{tmp_path}/*.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.jpg: the image file is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"text\.jpg: not a readable image"):
        read_image(tmp_path / "text.jpg")


def test_arrays_that_are_no_picture_are_refused():
    with pytest.raises(TypeError, match="`image` must be a uint8 array, got float32"):
        to_channels(np.zeros((4, 4, 3), np.float32), 3)
    with pytest.raises(ValueError, match=r"got \[4, 4, 2\]"):
        to_channels(np.zeros((4, 4, 2), np.uint8), 3)
    with pytest.raises(ValueError, match=r"at least one pixel, got \[0, 4, 3\]"):
        to_channels(np.zeros((0, 4, 3), np.uint8), 3)


def turned(orientation=6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def palette():
    picture = Image.fromarray(RAMP // 10).convert("P")
    picture.putpalette([value for index in range(256) for value in (index * 7 % 256, 9, index)])
    return picture


ALPHA = np.full((4, 6, 1), 100, np.uint8)
HSV = Image.fromarray(COLOUR).convert("HSV")
STORED = {
    "1 png": (Image.fromarray(RAMP > 100), {}),
    "L png": (Image.fromarray(RAMP), {}),
    "LA png": (Image.fromarray(np.concatenate([RAMP[:, :, None], ALPHA], axis=2)), {}),
    "P png": (palette(), {}),
    "P png with transparency": (palette(), {"transparency": bytes([0, 128, 255])}),
    "P gif": (palette(), {}),
    "RGB png": (Image.fromarray(COLOUR), {}),
    "RGB bmp": (Image.fromarray(COLOUR), {}),
    "RGB jpeg, turned": (Image.fromarray(COLOUR), {"exif": turned()}),
    "RGB png, turned": (Image.fromarray(COLOUR), {"exif": turned(5)}),
    "RGBA png": (Image.fromarray(np.concatenate([COLOUR, ALPHA], axis=2)), {}),
    "RGBA webp": (Image.fromarray(np.concatenate([COLOUR, ALPHA], axis=2)), {"lossless": True}),
    "CMYK jpeg": (Image.fromarray(COLOUR).convert("CMYK"), {}),
    "CMYK tiff": (Image.fromarray(COLOUR).convert("CMYK"), {}),
    "YCbCr jpeg": (Image.fromarray(COLOUR).convert("YCbCr"), {}),
    "I;16 png": (Image.fromarray(RAMP.astype(np.uint16) * 257), {}),
    "I;16 png, turned": (Image.fromarray(RAMP.astype(np.uint16) * 257), {"exif": turned()}),
    "I;16 tiff": (Image.fromarray(RAMP.astype(np.uint16) * 257), {}),
    "I ppm": (Image.fromarray(RAMP.astype(np.int32) * 257), {}),
}


@contextmanager
def handed_over(path):
    """One image file in every way that a file can be handed over."""
    data = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as picture:
        yield {
            "path": path,
            "text": str(path),
            "bytes": data,
            "memoryview": memoryview(data),
            "file in memory": io.BytesIO(data),
            "opened file": file,
            "PIL image": picture,
        }


@pytest.mark.parametrize("stored", STORED)
def test_a_picture_is_the_same_by_every_route(stored, tmp_path):
    picture, options = STORED[stored]
    path = save(tmp_path / f"p.{stored.split()[1].strip(',')}", picture, **options)
    with handed_over(path) as routes:
        pixels = {name: read_image(route) for name, route in routes.items()}
    first = pixels["path"]
    assert first.shape == ((6, 4, 3) if "turned" in stored else (4, 6, 3))
    assert len(np.unique(first)) > 1
    np.testing.assert_array_equal(read_image(first), first)
    for name, found in pixels.items():
        np.testing.assert_array_equal(found, first, err_msg=name)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (palette().convert("PA"), np.asarray(palette().convert("RGB"))),
        (HSV, np.asarray(HSV.convert("RGB"))),
        (Image.fromarray(RAMP.astype(">u2") * 257), np.repeat(RAMP[:, :, None], 3, axis=2)),
    ],
    ids=["PA", "HSV", "I;16B"],
)
def test_a_pil_image_of_a_mode_that_no_file_keeps_is_read(picture, expected):
    np.testing.assert_array_equal(read_image(picture), expected)


def test_a_sixteen_bit_pgm_keeps_its_range(tmp_path):
    path = tmp_path / "deep.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + np.array([257, 65535], ">u2").tobytes())
    assert read_image(path, channels=1)[0, :, 0].tolist() == [1, 255]


def test_float_and_32_bit_pixels_are_refused_by_every_route(tmp_path):
    for values in (RAMP.astype(np.float32), RAMP.astype(np.int32)):
        path = save(tmp_path / "deep.tif", Image.fromarray(values))
        with handed_over(path) as routes:
            for route in routes.values():
                with pytest.raises(DataError, match="pixels of 32 bits have no known range"):
                    read_image(route)


def test_errors_name_the_picture_by_every_route(tmp_path):
    path = save(tmp_path / "cut.png", Image.fromarray(COLOUR))
    path.write_bytes(path.read_bytes()[:-30])
    size = path.stat().st_size
    names = dict.fromkeys(("bytes", "memoryview"), f"picture of {size} bytes")
    names["file in memory"] = "picture in a BytesIO"
    with handed_over(path) as routes:
        for route, picture in routes.items():
            with pytest.raises(DataError) as caught:
                read_image(picture)
            assert str(caught.value).startswith(f"{names.get(route, path)}: cannot decode"), route
    in_memory = Image.new("F", (3, 2))
    with pytest.raises(DataError, match=r"^PIL image of mode F, 3 x 2: pixels of 32 bits"):
        read_image(in_memory)


def test_a_pil_image_stays_open_for_its_owner(tmp_path):
    path = save(tmp_path / "p.png", Image.fromarray(COLOUR))
    with Image.open(path) as picture:
        read_image(picture)
        np.testing.assert_array_equal(np.asarray(picture), COLOUR)
    file = path.open("rb")
    read_image(file)
    assert not file.closed
    file.close()
    with Image.open(path) as picture:
        pass
    with pytest.raises(DataError, match=r"p\.png: cannot decode"):
        read_image(picture)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (3, "a picture is a path, the bytes .* or a uint8 array .*; got int"),
        (None, "got NoneType"),
        (io.StringIO("text"), r"got _io\.StringIO; open it with mode 'rb'"),
        (object(), "got object"),
        (np.zeros((4, 4, 3)), r"got float64; of values from 0 to 1 pass \(255 \* image\)"),
        (np.zeros((4, 4), np.uint16), r"got uint16; of values up to 65535 pass"),
        (np.zeros((4, 4), bool), "got bool; multiply it by"),
        (np.zeros((4, 4), np.int64), "a uint8 array, got int64$"),
    ],
)
def test_what_is_no_picture_is_told_what_is(thing, message):
    with pytest.raises(TypeError, match=message):
        read_image(thing)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((3, 8, 8), r"got \[3, 8, 8\]; put the channels last with image\.transpose\(1, 2, 0\)"),
        ((2, 8, 8, 3), r"got \[2, 8, 8, 3\]; pass several images as a list"),
        ((8,), r"got \[8\]$"),
    ],
)
def test_an_array_of_another_shape_is_told_how_to_mend_it(shape, hint):
    with pytest.raises(ValueError, match=hint):
        read_image(np.zeros(shape, np.uint8))


def test_a_tensor_is_told_how_to_become_an_array():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"got torch\.Tensor; of a uint8 tensor \[3, H, W\] pass"):
        read_image(torch.zeros(3, 4, 4, dtype=torch.uint8))


def test_labels_of_an_array_are_checked_against_its_size():
    with pytest.raises(DataError, match="the image is 6 x 4, but its label file says 4 x 6"):
        read_image(COLOUR, size=(4, 6))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def test_no_file_starts_a_program_whatever_it_is_named(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/bin/false")
    for call in ("check_call", "Popen", "run"):
        monkeypatch.setattr(subprocess, call, lambda *words, **_: started.append(words))
    path = tmp_path / "innocent.png"
    path.write_bytes(EPS)
    for route in (path, EPS, io.BytesIO(EPS)):
        with pytest.raises(DataError, match=r"not a readable image of JPEG, PNG, .* or PPM"):
            read_image(route)
    with pytest.raises(DataError, match=r"innocent\.png: not a readable image of"):
        image_size(path)
    assert started == []


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_suffix_that_counts_as_an_image_is_read(tmp_path, suffix):
    grey = suffix == ".pgm"
    path = save(tmp_path / f"p{suffix}", Image.fromarray(RAMP if grey else COLOUR))
    assert read_image(path).shape == (4, 6, 3) and image_size(path) == (6, 4)


def test_a_photograph_of_two_pictures_in_one_jpeg_is_its_first(tmp_path):
    first = Image.fromarray(COLOUR)
    path = tmp_path / "phone.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    assert read_image(path).shape == (4, 6, 3)


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def test_exif_that_cannot_be_read_leaves_the_picture_as_stored(tmp_path):
    path = save(tmp_path / "p.png", Image.fromarray(COLOUR))
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    path.write_bytes(data[:at] + chunk(b"eXIf", b"\xff" * 50) + data[at:])
    np.testing.assert_array_equal(read_image(path), COLOUR)
    assert image_size(path) == (6, 4)


@pytest.mark.parametrize("read", [read_image, image_size])
def test_damage_of_any_kind_is_named(tmp_path, read):
    data = save(tmp_path / "whole.png", Image.fromarray(COLOUR)).read_bytes()
    at = data.index(b"IDAT") - 4
    huge = data[:16] + (60000).to_bytes(4, "big") * 2 + data[24:29]
    damaged = {
        "cut.png": data[: at + 20],
        "bytes.png": data[: at + 10] + bytes([data[at + 10] ^ 255]) + data[at + 11 :],
        "text.png": data[:at]
        + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(3 << 20)))
        + data[at:],
        "huge.png": huge + zlib.crc32(huge[12:]).to_bytes(4, "big") + data[33:],
        "head.ppm": b"P6 1x 10 255\n" + bytes(300),
        "nul\0.png": None,
    }
    for name, content in damaged.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(path)
        assert printable(path) in str(caught.value)


def test_pictures_are_opened_in_one_place():
    package = Path(sightline.__file__).parent
    opening = re.compile(r"\bImage\.open\(|pillow\(\)\.open\(|\bmodule\.open\(")
    found = [
        (path.relative_to(package).as_posix(), line.strip())
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if opening.search(line)
    ]
    assert found == [("formats/pictures.py", "return module.open(source, formats=_READ)")]


def test_photographs_are_the_same_by_every_route(shared_data):
    turned = ("IMG_5874.JPG", "IMG_5935.JPG", "IMG_5978.JPG")  # those with an orientation
    paths = sorted((shared_data / "sign_digits").rglob("*.JPG"))
    chosen = [*paths[::100], *(path for path in paths if path.name in turned)]
    for path in chosen:
        with handed_over(path) as routes:
            if path.name in turned:
                assert routes["PIL image"].getexif()[0x0112] == 6
            first, *others = (read_image(route) for route in routes.values())
        assert all((other == first).all() for other in others), path


def png_of_size(width, height):
    """A PNG whose header states a size, with the pixels of a small one."""
    small = io.BytesIO()
    Image.fromarray(COLOUR).save(small, "PNG")
    data = small.getvalue()
    head = data[12:16] + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]


def test_size_of_a_png_is_read_without_its_pixels(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_of_size(60000, 50000))
    assert image_size(path, max_pixels=None) == (60000, 50000)


def test_exif_behind_the_pixels_of_a_png_is_found_without_decoding_them(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png_of_size(60000, 50000)
    at = data.index(b"IEND") - 4
    path = tmp_path / "turned.png"
    path.write_bytes(data[:at] + chunk(b"eXIf", exif.tobytes()[6:]) + data[at:])
    assert image_size(path, max_pixels=None) == (50000, 60000)


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_too_large_an_image_is_refused_by_its_header_and_may_be_allowed(tmp_path, suffix):
    path = save(tmp_path / f"large{suffix}", Image.fromarray(COLOUR))
    with pytest.raises(DataError) as caught:
        read_image(path, max_pixels=23)
    assert f"{path}: 6 x 4 = 24 pixels" in str(caught.value)
    assert "data.max_pixels=24 (in Python `max_pixels`)" in str(caught.value)
    assert read_image(path, max_pixels=24).shape == (4, 6, 3)


def test_the_bound_of_pillow_does_not_hold_here_and_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    path = save(tmp_path / "p.png", Image.fromarray(COLOUR))
    assert read_image(path, max_pixels=None).shape == (4, 6, 3)
    assert Image.MAX_IMAGE_PIXELS == 5
