"""Loaders: the contents of a batch, and that they depend only on (seed, epoch, index)."""

import os
import pickle
import resource

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.data import (
    Annotations,
    Augment,
    DataError,
    Dataset,
    Preprocess,
    Record,
    Sample,
    collate,
    load_digit_scenes,
    load_digits_classification,
    make_loader,
)

PREPROCESS = Preprocess((64, 64))
HEAVY = Augment(flip_h=0.5, flip_v=0.5, scale=(0.6, 1.6), translate=0.2, mosaic=0.5)


@pytest.fixture(scope="module")
def scenes():
    return load_digit_scenes("train", 13)


def epoch_of(loader, epoch):
    loader.set_epoch(epoch)
    return list(loader)


def same(first, second):
    """Say whether two epochs hold the same bits."""
    for batch, other_batch in zip(first, second, strict=True):
        images, targets, samples = batch
        other_images, other_targets, other_samples = other_batch
        if samples != other_samples:
            return False
        if images.shape != other_images.shape or not torch.equal(images, other_images):
            return False
        for target, other in zip(targets, other_targets, strict=True):
            for name, value in target.items():
                if not torch.equal(value, other[name]):
                    return False
    return True


def test_detection_batch_has_the_stated_fields(scenes):
    loader = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=False)
    images, targets, samples = next(iter(loader))
    assert images.shape == (4, 3, 64, 64) and images.dtype == torch.float32
    for index, (target, sample) in enumerate(zip(targets, samples, strict=True)):
        record = scenes.records[index]
        assert target["boxes"].dtype == torch.float32
        np.testing.assert_allclose(target["boxes"].numpy(), record.boxes / 2)
        np.testing.assert_array_equal(target["labels"].numpy(), record.labels)
        assert target["labels"].dtype == torch.int64
        assert sorted(target) == ["boxes", "difficult", "iscrowd", "labels"]
        assert sample == Sample(index, index, (128, 128), PREPROCESS.transform_for(128, 128))
        assert len(target["iscrowd"]) == len(target["difficult"]) == len(record.labels)


def test_classification_batch_has_the_stated_fields():
    train, _ = load_digits_classification()
    preprocess = Preprocess((32, 32), channels=1)
    loader = make_loader(train, preprocess, batch_size=8, shuffle=False, augment=Augment(rotate=9))
    images, targets, samples = next(iter(loader))
    assert images.shape == (8, 1, 32, 32)
    assert targets.dtype == torch.int64
    assert targets.tolist() == [int(record.labels[0]) for record in train.records[:8]]
    assert [s.index for s in samples] == list(range(8))
    assert [s.image_id for s in samples] == [record.image_id for record in train.records[:8]]
    assert {s.size for s in samples} == {(8, 8)}
    assert torch.nn.functional.cross_entropy(torch.zeros(8, 10), targets) > 0  # any loss takes them


@pytest.mark.parametrize("augment", [None, HEAVY])
def test_epochs_repeat_bit_for_bit_and_differ_from_each_other(scenes, augment):
    loaders = [
        make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True, augment=augment, seed=3)
        for _ in range(2)
    ]
    for epoch in (0, 1):
        epoch_of(loaders[0], epoch)
    third = epoch_of(loaders[0], 2)
    assert same(third, epoch_of(loaders[1], 2))  # the second loader starts there, as on resuming
    assert not same(third, epoch_of(loaders[1], 1))
    other_seed = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True, seed=4)
    assert not same(third, epoch_of(other_seed, 2))


def test_worker_processes_give_the_same_batches(scenes):
    options = {"batch_size": 4, "shuffle": True, "augment": HEAVY, "seed": 3}
    alone = make_loader(scenes, PREPROCESS, **options)
    together = make_loader(scenes, PREPROCESS, workers=2, **options)
    for epoch in (0, 1):
        assert same(epoch_of(alone, epoch), epoch_of(together, epoch))


def test_global_random_states_are_left_alone(scenes):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True, augment=HEAVY))
    assert torch.equal(torch.get_rng_state(), before)


def test_shuffle_visits_each_image_once_and_its_absence_keeps_the_order(scenes):
    shuffled = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True)
    orders = [
        [sample.index for *_, samples in epoch_of(shuffled, epoch) for sample in samples]
        for epoch in (0, 1)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(13))
    assert orders[0] != orders[1]
    plain = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=False, drop_last=True)
    batches = epoch_of(plain, 5)
    assert [sample.index for *_, samples in batches for sample in samples] == list(range(12))


def test_augmented_boxes_stay_inside_the_picture(scenes):
    loader = make_loader(scenes, PREPROCESS, batch_size=13, shuffle=False, augment=HEAVY)
    for epoch in range(8):
        for target in epoch_of(loader, epoch)[0][1]:
            boxes = target["boxes"]
            assert len(boxes) == len(target["labels"]) == len(target["iscrowd"])
            assert bool(((boxes[:, 2:] - boxes[:, :2]) >= 0.999).all())
            assert boxes.numel() == 0 or (boxes.min() >= 0 and boxes.max() <= 64)


def test_plain_index_is_epoch_zero(scenes):
    dataset = Dataset(scenes, PREPROCESS, augment=HEAVY, seed=1)
    assert torch.equal(dataset[3][0], dataset[(0, 3)][0])
    assert not torch.equal(dataset[3][0], dataset[(1, 3)][0])
    assert len(list(dataset)) == 13
    with pytest.raises(IndexError, match=r"`index` must lie in \[0, 13\), got 13"):
        dataset[13]


def test_image_without_objects_has_empty_targets():
    record = Record(np.zeros((8, 8, 3), np.uint8), "none", 8, 8, labels=np.zeros(0))
    empty = Annotations("boxes", ("a",), (record,) * 2)
    for augment in (None, HEAVY):
        loader = make_loader(empty, PREPROCESS, batch_size=2, shuffle=False, augment=augment)
        for target in next(iter(loader))[1]:
            assert target["boxes"].shape == (0, 4)
            assert target["labels"].shape == (0,)


def test_crowd_regions_can_be_left_out_of_training():
    record = Record(
        np.zeros((64, 64, 3), np.uint8),
        0,
        64,
        64,
        labels=[0, 0],
        boxes=[[1, 1, 20, 20], [5, 5, 60, 60]],
        iscrowd=[False, True],
    )
    crowd = Annotations("boxes", ("a",), (record,))
    assert Dataset(crowd, PREPROCESS)[0][1]["iscrowd"].tolist() == [False, True]
    assert Dataset(crowd, PREPROCESS, keep_crowd=False)[0][1]["iscrowd"].tolist() == [False]


def test_box_that_sticks_out_is_clipped_for_training():
    record = Record(
        np.zeros((64, 64, 3), np.uint8), 0, 64, 64, labels=[0], boxes=[[-10, 5, 30, 70]]
    )
    target = Dataset(Annotations("boxes", ("a",), (record,)), PREPROCESS)[0][1]
    assert target["boxes"].tolist() == [[0, 5, 30, 64]]


@pytest.fixture
def one_file(tmp_path):
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return Annotations("class", ("a",), (Record(path, "a", 30, 40, labels=[0]),))


def test_each_picture_is_decoded_once(one_file):
    cached, uncached = Dataset(one_file, PREPROCESS), Dataset(one_file, PREPROCESS, cache_bytes=0)
    first = cached[0][0]
    assert torch.equal(first, uncached[0][0])
    one_file.records[0].image.unlink()
    assert torch.equal(cached[0][0], first)
    with pytest.raises(DataError, match=r"a\.png: no such image"):
        uncached[0]


def test_a_loader_of_torch_takes_the_data_set_with_our_collate(scenes):
    dataset = Dataset(scenes, PREPROCESS, keep_crowd=False)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, collate_fn=collate)
    ours = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=False)
    assert same(list(loader), list(ours))


def test_worker_processes_give_labels_as_one_tensor():
    digits = load_digits_classification()[0].subset(range(9))
    options = {"batch_size": 4, "shuffle": False}
    alone = make_loader(digits, Preprocess((8, 8), channels=1), **options)
    together = make_loader(digits, Preprocess((8, 8), channels=1), workers=1, **options)
    for (images, labels, samples), (*others, other_samples) in zip(alone, together, strict=True):
        assert torch.equal(images, others[0]) and torch.equal(labels, others[1])
        assert samples == other_samples


def test_dataset_can_be_sent_to_another_process(one_file):
    dataset = Dataset(one_file, PREPROCESS)
    first = dataset[0][0]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[0][0], first)


@pytest.fixture
def few_files():
    """This process and its children may open only a hundred more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = int(max(os.listdir("/proc/self/fd"), key=int))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 100, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_targets_of_worker_processes_need_few_files(scenes, few_files):
    many = scenes.subset(list(range(13)) * 10)
    options = {"batch_size": 65, "shuffle": False}
    loader = make_loader(many, PREPROCESS, workers=2, **options)
    loader.timeout = 30  # seconds: what cannot be sent is waited for without an end
    together = list(loader)
    assert same(together, list(make_loader(many, PREPROCESS, **options)))
    target = together[0][1][0]
    assert isinstance(together[0][1], list) and target["labels"].dtype == torch.int64


@pytest.mark.parametrize("workers", [0, 1])
def test_corrupt_jpeg_is_named_when_its_batch_is_made(tmp_path, workers):
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    broken = Annotations("class", ("a",), (Record(path, "a", 64, 64, labels=[0]),))
    loader = make_loader(broken, PREPROCESS, batch_size=1, shuffle=False, workers=workers)
    with pytest.raises(DataError, match=r"cut\.jpg: cannot decode the image") as error:
        next(iter(loader))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


class Odd(Exception):
    """An exception that cannot be restored from its pickle."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: KeyError("colour"), KeyError, "'colour'"),
        (lambda: Odd(1, 2), RuntimeError, "Odd: 1 and 2"),
    ],
)
def test_an_error_in_a_worker_process_is_raised_as_it_is(scenes, make, kind, said):
    def failing(image, target):
        raise make()

    loader = make_loader(
        scenes, PREPROCESS, batch_size=4, shuffle=False, workers=1, augment=failing
    )
    with pytest.raises(kind) as raised:
        list(loader)
    assert str(raised.value) == said
    assert "in failing" in raised.value.__notes__[-1]  # the traceback of the process


def test_a_loader_of_torch_raises_what_our_data_set_raises(one_file):
    one_file.records[0].image.unlink()
    loader = torch.utils.data.DataLoader(Dataset(one_file, PREPROCESS), num_workers=1)
    with pytest.raises(DataError, match="no such image"):
        next(iter(loader))


def test_loaders_without_a_batch_are_refused(scenes):
    with pytest.raises(ValueError, match="`annotations` must hold at least one image"):
        make_loader(scenes.subset([]), PREPROCESS, batch_size=1, shuffle=False)
    with pytest.raises(ValueError, match="use a batch_size of at most 13"):
        make_loader(scenes, PREPROCESS, batch_size=14, shuffle=False, drop_last=True)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        make_loader(scenes, PREPROCESS, batch_size=0, shuffle=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_image_that_cannot_be_read_ends_training_or_is_replaced_by_the_next(tmp_path, workers):
    records = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(path)
        records.append(Record(path, number, 8, 8, labels=np.array([number])))
    annotations = Annotations("class", ("a", "b", "c"), tuple(records))
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[:-30])
    preprocess = Preprocess((8, 8))
    options = {"batch_size": 3, "shuffle": False, "workers": workers, "cache": "none"}
    with pytest.raises(DataError, match=r"1\.png: cannot decode the image"):
        list(make_loader(annotations, preprocess, **options))
    said = []
    loader = make_loader(annotations, preprocess, **options, replace_unreadable=True)
    loader.warn = said.append
    for epoch in range(3):  # the worker processes take turns
        loader.set_epoch(epoch)
        ((_, labels, samples),) = loader
        assert labels.tolist() == [0, 2, 2] and [sample.index for sample in samples] == [0, 2, 2]
    (warning,) = said  # one, whichever process found it
    assert "1.png: cannot decode the image" in warning
    assert warning.endswith("the next image is used instead of it")
    for path in tmp_path.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png"):
        list(make_loader(annotations, preprocess, **options, replace_unreadable=True))
