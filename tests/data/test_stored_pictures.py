"""Decoded images in memory or on disk: the same pixels, within a bound, and never stale ones."""

import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
from PIL import Image

from sightline.data import (
    Annotations,
    Augment,
    DataError,
    Dataset,
    Preprocess,
    Record,
    read_image,
)
from sightline.data.cache import MemoryCache
from sightline.data.disk_cache import DiskCache, default_cache_folder
from sightline.data.stored_pictures import StoredPictures

PREPROCESS = Preprocess((8, 12))
SIDES = [(20, 30), (16, 24), (33, 47), (40, 10)]  # height, width


def noise(height, width, channels=3):
    seed = height * 100 + width
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def record_of(image, name, height, width):
    return Record(image, name, width, height, labels=[0])


@pytest.fixture
def records(tmp_path):
    found = []
    for number, (height, width) in enumerate(SIDES):
        path = tmp_path / f"{number}.png"
        Image.fromarray(noise(height, width)).save(path)
        found.append(record_of(path, str(number), height, width))
    return found


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_memory_keeps_images_of_any_shape_in_order_until_it_is_full():
    images = [noise(*side, channels) for side, channels in zip(SIDES, (3, 1, 3, 3), strict=True)]
    sizes = [image.size for image in images]
    cache = MemoryCache(sizes, sum(sizes[:3]) + 3 * 64)
    assert cache.capacity == 3
    for index, image in enumerate(images):
        assert cache.get(index) is None
        cache.put(index, image)
    for index, image in enumerate(images[:3]):
        found = cache.get(index)
        np.testing.assert_array_equal(found, image)
        assert not found.flags.writeable
    assert cache.get(3) is None
    cache.put(1, noise(99, 99))  # larger than its place
    np.testing.assert_array_equal(cache.get(1), images[1])
    assert MemoryCache(sizes, 10).capacity == 0 and MemoryCache([], 10).get(0) is None


def test_memory_is_shared_with_forked_processes_and_not_with_spawned_ones():
    cache = MemoryCache([600], 1 << 20)
    process = multiprocessing.get_context("fork").Process(target=cache.put, args=(0, noise(10, 20)))
    process.start()
    process.join()
    np.testing.assert_array_equal(cache.get(0), noise(10, 20))
    assert pickle.loads(pickle.dumps(cache)).get(0) is None


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
@pytest.mark.parametrize("zoom", [None, 1.0, 100.0])
def test_every_cache_gives_the_same_pixels(records, tmp_path, cache, zoom):
    pictures = StoredPictures(
        records, PREPROCESS, zoom=zoom, cache=cache, cache_dir=tmp_path / "kept"
    )
    assert len(pictures) == 4
    for _ in range(2):
        for index, record in enumerate(records):
            if zoom is None:
                expected = PREPROCESS.resize(read_image(record.image))[0]
            else:
                reduction = pictures.reduction(*SIDES[index])
                assert reduction == (2 if zoom == 1.0 and index in (0, 1, 2) else 1)
                expected = read_image(record.image, reduction=reduction)
            np.testing.assert_array_equal(pictures.load(index), expected)
    assert len(files_in(tmp_path / "kept")) == (4 if cache == "disk" else 0)


def test_an_image_in_memory_is_not_decoded_again_and_none_is_once_per_load(records):
    kept, fresh = (
        StoredPictures(records, PREPROCESS),
        StoredPictures(records, PREPROCESS, cache="none"),
    )
    first = kept.load(2)
    records[2].image.unlink()
    np.testing.assert_array_equal(kept.load(2), first)
    with pytest.raises(DataError, match=r"2\.png: no such image"):
        fresh.load(2)


def test_an_array_that_needs_no_change_is_not_kept_twice():
    image = noise(8, 12)
    pictures = StoredPictures([record_of(image, "a", 8, 12)], PREPROCESS)
    assert pictures.load(0) is image
    assert pictures._memory.get(0) is None


@pytest.fixture
def on_disk(records, tmp_path):
    """Pictures as another run would open them, with the same folder."""

    def opened(preprocess=PREPROCESS, **options):
        options = {"cache": "disk", "cache_dir": tmp_path / "kept", **options}
        return StoredPictures(records, preprocess, **options)

    return opened


def test_a_later_run_finds_on_disk_what_an_earlier_one_decoded(on_disk, monkeypatch):
    first = [on_disk().load(index).copy() for index in range(4)]
    later = on_disk()
    monkeypatch.setattr(later, "_decoded", None)
    for index, image in enumerate(first):
        np.testing.assert_array_equal(later.load(index), image)


def test_a_file_changed_in_place_with_its_size_and_date_is_decoded_again(on_disk, records):
    path = records[0].image
    pictures = on_disk()
    first = pictures.load(0).copy()
    before, content = path.stat(), path.read_bytes()
    Image.fromarray(255 - noise(*SIDES[0])).save(path)
    assert len(path.read_bytes()) == len(content)  # noise does not compress
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = pictures.load(0)
    assert (changed != first).any()
    np.testing.assert_array_equal(changed, PREPROCESS.resize(read_image(path))[0])
    path.write_bytes(content)
    np.testing.assert_array_equal(pictures.load(0), first)


def test_other_preprocessing_never_takes_the_pixels_of_another(on_disk):
    for options in (
        {},
        {"preprocess": Preprocess((12, 8))},
        {"preprocess": Preprocess((8, 12), "letterbox")},
        {"preprocess": Preprocess((8, 12), "letterbox", mean=(0.1, 0.2, 0.3))},
        {"preprocess": Preprocess((8, 12), channels=1)},
        {"zoom": 1.0},
        {"zoom": 9.0},
    ):
        expected = on_disk(**options, cache="none").load(3)
        np.testing.assert_array_equal(on_disk(**options).load(3), expected)


@pytest.mark.parametrize("damage", ["cut", "longer", "pixel", "shape", "empty", "text"])
def test_a_damaged_file_is_discarded(on_disk, tmp_path, damage):
    expected = on_disk().load(0).copy()
    (path,) = files_in(tmp_path / "kept")
    data = bytearray(path.read_bytes())
    if damage == "pixel":
        data[-5] ^= 1
    elif damage == "shape":
        data[8:12], data[12:16] = data[12:16], data[8:12]  # height and width
    path.write_bytes(
        {"cut": data[:-1], "longer": data + b"x", "empty": b"", "text": b"x" * 99}.get(damage, data)
    )
    cache = DiskCache(tmp_path / "kept", 1 << 20)
    assert cache.get(path.parent.name + path.stem) is None and not path.exists()
    np.testing.assert_array_equal(on_disk().load(0), expected)
    assert cache.get(path.parent.name + path.stem) is not None


def test_an_undecodable_image_is_named_and_not_kept(on_disk, records, tmp_path):
    records[1].image.write_bytes(records[1].image.read_bytes()[:200])
    with pytest.raises(DataError, match=r"1\.png: cannot decode"):
        on_disk().load(1)
    records[1].image.unlink()
    with pytest.raises(DataError, match=r"1\.png: no such image"):
        on_disk().load(1)
    assert files_in(tmp_path / "kept") == []


def test_the_folder_stays_within_its_bytes_and_forgets_the_longest_unused(tmp_path):
    image = noise(10, 10)  # 324 bytes with its header
    earlier = DiskCache(tmp_path, 1 << 20)
    for number in range(6):
        earlier.put(f"{number:040}", image)
        os.utime(earlier._path(f"{number:040}"), ns=(number + 1, number + 1))
    cache = DiskCache(tmp_path, 6 * 324)
    assert cache.get(f"{0:040}") is not None  # used now, so no longer the oldest
    for number in range(10, 20):
        cache.put(f"{number:040}", image)
        assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 6 * 324
    kept = {int(path.stem) for path in files_in(tmp_path)}
    assert 0 in kept and not kept & {1, 2, 3, 4, 5}
    assert cache.get(f"{10:040}") is not None  # what this run uses is not thrown out for more
    cache.put(f"{30:040}", noise(50, 50))  # never fits
    assert cache.get(f"{30:040}") is None


def test_several_writers_and_readers_share_a_folder(tmp_path):
    image = noise(60, 70)
    wrong = []

    def work():
        cache = DiskCache(tmp_path, 1 << 24)
        for _ in range(20):
            for number in range(3):
                cache.put(f"{number:040}", image)
                found = cache.get(f"{number:040}")
                if found is None or (found != image).any():
                    wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(files_in(tmp_path)) == 3


def test_a_writer_that_was_killed_leaves_nothing_for_long(tmp_path):
    cache = DiskCache(tmp_path, 1 << 20)
    cache.put("0" * 40, noise(4, 4))
    left = cache._path("0" * 40).with_name("abandoned.partial")
    left.write_bytes(bytes(100))
    DiskCache(tmp_path, 1 << 20)
    assert left.exists()  # perhaps it is being written
    os.utime(left, (1, 1))
    DiskCache(tmp_path, 1 << 20)
    assert not left.exists()


def test_a_full_disk_stops_nothing(tmp_path, monkeypatch):
    cache = DiskCache(tmp_path, 1 << 20)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    cache.put("0" * 40, noise(4, 4))
    assert cache.get("0" * 40) is None and files_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/deep: cannot keep .* choose another with data\.cache"):
        DiskCache(tmp_path / "file" / "deep", 1)
    with pytest.raises(ValueError, match="`cache` must be one of memory, disk, none, got 'ram'"):
        StoredPictures([], PREPROCESS, cache="ram")


def test_the_folder_of_a_user_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "sightline" / "images"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(default_cache_folder()) == "/home/someone/.cache/sightline/images"


def test_pictures_can_be_sent_to_a_spawned_process(on_disk, records):
    for pictures in (on_disk(), StoredPictures(records, PREPROCESS, zoom=1.0)):
        first = pictures.load(0).copy()
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(pictures)).load(0), first)


def test_training_on_reduced_photographs_changes_their_pixels_little(shared_data):
    preprocess = Preprocess((240, 320))
    paths = sorted((shared_data / "bccd").rglob("*.jp*g"))[::70]
    records = [record_of(path, path.name, 480, 640) for path in paths]
    annotations = Annotations("class", ("a",), tuple(records))
    augment = Augment(flip_h=0.5, scale=(0.8, 1.25), rotate=10)
    dataset = Dataset(annotations, preprocess, augment=augment)
    whole = Dataset(annotations, preprocess, augment=augment)
    whole._pictures = StoredPictures(records, preprocess, zoom=9.0)
    assert dataset._pictures.load(0).shape == (240, 320, 3)
    assert whole._pictures.load(0).shape == (480, 640, 3)
    for index in range(len(records)):
        error = (dataset[(1, index)][0] - whole[(1, index)][0]) * 0.25 * 255
        assert 0 < error.square().mean().sqrt() < 3
