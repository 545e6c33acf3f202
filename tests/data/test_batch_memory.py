"""The memory of batches is used again, and never while a tensor in it lives."""

import gc
import multiprocessing
import pickle

import pytest
import torch

from sightline.data import Preprocess, load_digit_scenes, make_loader
from sightline.data.batch_memory import BatchMemory, SentImages

PREPROCESS = Preprocess((32, 32))


@pytest.fixture(scope="module")
def many():
    return load_digit_scenes("train", 13).subset([*range(13)] * 6)


def images_of(number, count=2):
    return [torch.full((3, 4, 5), float(10 * number + k)) for k in range(count)]


def sent(memory, number, count=2):
    found = memory.stack(images_of(number, count), 0)
    return None if found is None else pickle.loads(pickle.dumps(found))


def test_a_place_is_used_again_when_no_tensor_uses_it():
    memory = BatchMemory((2, 3, 4, 5), workers=1, places=2)
    first, second = sent(memory, 1), sent(memory, 2)
    assert torch.equal(first, torch.stack(images_of(1))) and sent(memory, 3) is None
    part = second[1:]
    del second
    assert sent(memory, 3) is None  # a part of it is still used
    place = first.data_ptr()
    del first
    third = sent(memory, 3, count=1)
    assert third.data_ptr() == place and torch.equal(third, torch.stack(images_of(3, 1)))
    assert torch.equal(part, torch.stack(images_of(2))[1:])
    del memory
    assert torch.equal(part, torch.stack(images_of(2))[1:])  # it keeps the memory


def test_each_process_has_places_of_its_own_and_lost_ones_are_taken_back():
    memory = BatchMemory((2, 3, 4, 5), workers=2, places=1)
    assert isinstance(memory.stack(images_of(1), 1), SentImages)  # and never arrives
    held = sent(memory, 2)
    assert memory.stack(images_of(3), 1) is None and memory.stack(images_of(3), 0) is None
    memory.take_back()
    assert memory.stack(images_of(3), 0) is None
    assert isinstance(memory.stack(images_of(3), 1), SentImages)
    assert torch.equal(held, torch.stack(images_of(2)))


def test_images_of_another_size_and_memory_of_another_process_go_the_usual_way():
    memory = BatchMemory((2, 3, 4, 5), workers=1, places=1)
    assert memory.stack([torch.zeros(3, 4, 6)], 0) is None
    assert memory.stack(images_of(1, 3), 0) is None
    assert pickle.loads(pickle.dumps(memory)) is None
    assert BatchMemory((64, 3, 2000, 2000), workers=1, places=4).places == 0


def free_in_a_fork(memory, place):
    memory._free(place)


def test_a_fork_frees_no_place_of_its_parent():
    memory = BatchMemory((2, 3, 4, 5), workers=1, places=1)
    held = sent(memory, 1)
    process = multiprocessing.get_context("fork").Process(target=free_in_a_fork, args=(memory, 0))
    process.start()
    process.join()
    assert process.exitcode == 0 and sent(memory, 2) is None
    assert torch.equal(held, torch.stack(images_of(1)))


def test_batches_that_are_kept_are_not_written_again(many):
    options = {"batch_size": 3, "shuffle": True}
    alone = [batch[0] for batch in make_loader(many, PREPROCESS, **options)]
    loader = make_loader(many, PREPROCESS, workers=2, **options)
    for _ in range(2):
        kept = [batch[0] for batch in loader]
        assert len(kept) == 26 > 2 * loader.memory.places
        assert all(map(torch.equal, kept, alone))


def test_a_pass_leaves_every_place_free_also_one_that_was_broken_off(many):
    loader = make_loader(many, PREPROCESS, batch_size=3, shuffle=True, workers=2)
    addresses = {images.data_ptr() for images, *_ in loader}
    assert len(addresses) <= 2 * loader.memory.places
    next(iter(loader))
    list(loader)
    gc.collect()
    assert not loader.memory._states.any()
    assert len(list(loader)) == 26
