"""Loading in worker processes: the same bits for any number of them, and an end that is clean."""

import functools
import gc
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sightline import _numpy
from sightline.data import (
    Augment,
    Preprocess,
    load_digit_scenes,
    load_digits_classification,
    make_loader,
    read_dataset,
)
from sightline.data.worker_batches import BatchToPin
from tests.tiny import write_squares

PREPROCESS = Preprocess((32, 32))
HEAVY = Augment(flip_h=0.5, scale=(0.6, 1.6), translate=0.2, mosaic=0.5)


@pytest.fixture(scope="module")
def scenes():
    return load_digit_scenes("train", 13)


def bits(loader, epoch, skip=0):
    """The batches of an epoch as plain values."""
    loader.set_epoch(epoch, skip)
    return [
        (images.tolist(), [{k: v.tolist() for k, v in row.items()} for row in targets], samples)
        for images, targets, samples in loader
    ]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes:UserWarning")
def test_one_seed_gives_the_same_epochs_for_any_number_of_workers_and_any_start(scenes):
    def loader(workers):
        options = {"batch_size": 3, "shuffle": True, "augment": HEAVY, "seed": 3}
        return make_loader(scenes, PREPROCESS, workers=workers, **options)

    alone = loader(0)
    assert len(alone) == 5
    whole = [bits(alone, epoch) for epoch in (0, 1)]
    assert whole[0] != whole[1]
    for workers in (0, 1, 3):
        continued = loader(workers)
        for skip in (0, 2, 4, 5):
            assert bits(continued, 1, skip) == whole[1][skip:]
        assert len(continued) == 5
        assert bits(continued, 0) == whole[0]  # `skip` is that of one epoch


def test_a_continued_epoch_has_no_more_batches_than_a_whole_one(scenes):
    loader = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=False, drop_last=True)
    loader.set_epoch(0, skip=2)
    assert [sample.index for *_, samples in loader for sample in samples] == [8, 9, 10, 11]
    for skip in (-1, 4):
        with pytest.raises(ValueError, match=rf"`skip` must be in 0 \.\.\. 3.* got {skip}"):
            loader.set_epoch(0, skip=skip)


def test_batches_that_were_skipped_are_not_loaded(scenes):
    seen = []

    def noting(image, target):
        seen.append(len(seen))
        return image, target

    loader = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=False, augment=noting)
    loader.set_epoch(0, skip=3)
    list(loader)
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["workers", "prefetch"])
def test_numbers_that_make_no_sense_are_refused(scenes, name):
    with pytest.raises(ValueError, match="`workers` must be at least 0 and `prefetch` at least 1"):
        make_loader(scenes, PREPROCESS, batch_size=4, shuffle=False, **{name: -1})


@pytest.mark.parametrize("augment", [None, HEAVY])
def test_every_cache_gives_the_same_batches_in_processes_and_in_later_runs(tmp_path, augment):
    squares = read_dataset(write_squares(tmp_path / "set"), split="train")

    def loader(**options):
        options = {"batch_size": 5, "shuffle": True, "augment": augment, **options}
        return make_loader(squares, PREPROCESS, **options)

    plain = loader(cache="none")
    expected = [bits(plain, epoch) for epoch in (0, 1)]
    for options in (
        {"workers": 2},
        {"workers": 2, "cache": "disk", "cache_dir": tmp_path / "kept"},
        {"cache": "disk", "cache_dir": tmp_path / "kept"},
    ):
        kept = loader(**options)
        assert [bits(kept, epoch) for epoch in (0, 1)] == expected
    assert len(list((tmp_path / "kept").rglob("*.pixels"))) == len(squares)


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_processes_leave_no_files_and_no_shared_memory(scenes):
    before, shared = open_files(), set(os.listdir("/dev/shm"))
    loader = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True, workers=2)
    counts = []
    for epoch in range(4):
        loader.set_epoch(epoch)
        for _ in loader:
            pass
        counts.append(open_files())
    assert max(counts[1:]) <= counts[0] + 2  # a batch may still be on its way
    pids = [worker.pid for worker in loader._workers()]
    del loader, _
    gone = time.perf_counter() + 10
    # The threads of torch's queues close their ends a moment later.
    while open_files() > before and time.perf_counter() < gone:
        time.sleep(0.01)
    assert open_files() <= before
    assert not {name for name in set(os.listdir("/dev/shm")) - shared if str(os.getpid()) in name}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_processes_that_are_ended_leave_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(multiprocessing.process.current_process()._config, "tempdir", None)
    digits = load_digits_classification()[0].subset(range(40))
    loader = make_loader(
        digits, Preprocess((8, 8), channels=1), batch_size=4, shuffle=True, workers=1
    )
    labels = [next(iter(loader))[1] for _ in range(2)]
    assert torch.equal(*labels) and labels[0].dtype == torch.int64
    loader._end_workers()
    assert list(tmp_path.iterdir()) == []


def failing(image, target):
    raise KeyError("colour")


def test_an_error_ends_the_processes_and_the_next_pass_starts_new_ones(scenes):
    options = {"batch_size": 4, "shuffle": True, "workers": 2}
    loader = make_loader(scenes, PREPROCESS, augment=failing, **options)
    batches = iter(loader)
    with pytest.raises(KeyError) as raised:
        next(batches)
    assert multiprocessing.active_children() == [] and str(raised.value) == "'colour'"
    loader.dataset.augment = None
    assert len(list(loader)) == 4
    loader._end_workers()  # `raised` holds this frame, and the loader in it


def note_threads(image, target):
    return np.full_like(image, _numpy.get_num_threads()), target


def test_a_worker_process_computes_in_one_thread(scenes):
    loader = make_loader(
        scenes, PREPROCESS, batch_size=13, shuffle=False, workers=1, augment=note_threads
    )
    images, *_ = next(iter(loader))
    np.testing.assert_allclose(images.numpy().max(axis=(0, 2, 3)) * 63.75 + 127.5, 1, atol=1e-3)


def slow(begun, image, target):
    begun.touch()
    time.sleep(0.5)
    return image, target


def test_ctrl_c_ends_loading_within_a_second(scenes, tmp_path):
    begun, pressed = tmp_path / "begun", []
    augment = functools.partial(slow, begun)
    loader = make_loader(
        scenes, PREPROCESS, batch_size=13, shuffle=True, workers=2, augment=augment
    )

    def press():
        while not begun.exists():  # on a busy machine the processes start late
            time.sleep(0.01)
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    gc.collect()  # an interrupt inside a destructor is lost
    threading.Thread(target=press, daemon=True).start()
    batches = iter(loader)
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    assert time.perf_counter() - pressed[0] < 3  # one batch takes 6.5 s
    assert multiprocessing.active_children() == []


def killed(number, image, target):
    os.kill(os.getpid(), number)
    return image, target


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "was killed by SIGKILL; if memory ran out, lower data.workers"),
        (signal.SIGBUS, "was killed by SIGBUS; shared memory .* is full"),
    ],
)
def test_a_process_that_was_killed_is_an_error_that_says_so(scenes, number, said):
    augment = functools.partial(killed, number)
    loader = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True, workers=2, augment=augment)
    with pytest.raises(RuntimeError, match=rf"process \d+, which loads images, {said}"):
        list(loader)
    loader.dataset.augment = None
    assert len(list(loader)) == 4  # with new processes


def test_a_process_that_was_killed_between_two_passes_is_said_as_well(scenes):
    loader = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True, workers=1)
    list(loader)
    with pytest.raises(RuntimeError, match=r"(was killed by SIGKILL|is killed by signal: Killed)"):
        os.kill(loader._workers()[0].pid, signal.SIGKILL)
        list(loader)


def exiting(image, target):
    os._exit(3)


def test_a_process_that_ended_by_itself_is_an_error_with_its_exit_code(scenes):
    loader = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True, workers=1, augment=exiting)
    with pytest.raises(RuntimeError, match="which loads images, ended with exit code 3"):
        list(loader)


def test_pinning_takes_images_and_leaves_the_small_tensors(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    images, boxes, labels = torch.zeros(2, 3, 4, 4), [{"boxes": torch.zeros(1, 4)}], torch.zeros(2)
    assert BatchToPin((images, boxes, [])).pin_memory() == (images, boxes, [])
    assert [tensor.shape for tensor in pinned] == [(2, 3, 4, 4)]
    BatchToPin((images, labels, [])).pin_memory()
    assert len(pinned) == 3


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")  # there may be no GPU here
def test_a_loader_that_pins_gives_the_same_batches(scenes, workers):
    plain = make_loader(scenes, PREPROCESS, batch_size=4, shuffle=True)
    pinning = make_loader(
        scenes, PREPROCESS, batch_size=4, shuffle=True, workers=workers, pin_memory=True
    )
    assert bits(pinning, 1) == bits(plain, 1)
