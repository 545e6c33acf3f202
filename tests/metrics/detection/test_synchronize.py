"""DetectionEvaluator.synchronize over four gloo processes."""

import os
import pickle

import numpy as np
import pytest

from sightline.metrics import DetectionEvaluator
from tests.fresh import context
from tests.metrics.detection.test_merge import columns
from tests.metrics.detection.test_state import assert_same, case_of, fill

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

RANKS = 4
CASE = case_of(seed=11, images=9)
IMAGE = max(CASE.values(), key=lambda image: min(len(side["labels"]) for side in image))
# Which images each rank saw: uneven, none, and with repeats as padded samplers give them.
SHARDS = {
    "uneven": [[0, 1, 2, 3, 4], [5], [6, 7, 8], []],
    "one rank": [[], [], list(range(9)), []],
    "no image": [[], [], [], []],
    "padded": [[0, 4, 8], [1, 5, 0], [2, 6, 1], [3, 7, 2]],
    "all the same": [list(range(9))] * 4,
}


def shard_of(name, rank):
    ids = list(CASE)
    return {ids[i]: CASE[ids[i]] for i in SHARDS[name][rank]}


def with_other_score(image, rank):
    detections, targets = image
    return {**detections, "scores": np.asarray(detections["scores"]) / (rank + 1)}, targets


def with_other_targets(image, rank):
    detections, targets = image
    return detections, {**targets, "difficult": [rank] * len(targets["labels"])}


def error_of(call):
    try:
        call()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


COLLECTIVES = [
    *("all_gather", "all_gather_into_tensor", "all_gather_object", "gather", "gather_object"),
    *("all_reduce", "all_to_all", "barrier", "broadcast", "broadcast_object_list"),
    *("reduce", "reduce_scatter", "scatter", "send", "recv"),
]


def count_collectives(dist, calls):
    def counted(name, call):
        def wrapped(*args, **kwargs):
            calls.append(name)
            return call(*args, **kwargs)

        return wrapped

    for name in COLLECTIVES:
        setattr(dist, name, counted(name, getattr(dist, name)))


def run_rank(rank, folder):
    """Every scenario on one rank; what came of it goes to a file."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS
    )
    found, calls = {}, []
    count_collectives(dist, calls)
    for name in SHARDS:
        evaluator = fill(shard_of(name, rank))
        calls.clear()
        assert evaluator.synchronize() is evaluator
        found[name] = (evaluator, list(calls), evaluator.synchronize()._store.nbytes)

    calls.clear()
    found["dst"] = (fill(shard_of("uneven", rank)).synchronize(dst=2), list(calls))
    pair = dist.new_group([1, 3])
    if rank in (1, 3):
        found["group"] = fill(shard_of("padded", rank)).synchronize(pair)

    image_id = 77
    seen = fill({image_id: with_other_score(IMAGE, rank)})
    found["first"] = seen.synchronize()
    seen = fill({image_id: with_other_score(IMAGE, rank)})
    found["same"] = (error_of(lambda: seen.synchronize(duplicates="same")), len(seen))
    seen = fill({image_id: with_other_targets(IMAGE, rank)})
    found["targets"] = (error_of(seen.synchronize), columns(seen))
    other = DetectionEvaluator(max_detections=(1, 10, 300 if rank == 3 else 100))
    found["settings"] = error_of(other.synchronize)
    broken = fill(shard_of("uneven", rank))
    if rank == 1:
        broken._store = None
    try:
        broken.synchronize()
    except (AttributeError, RuntimeError) as error:
        found["broken"] = f"{type(error).__name__}: {error}"
    with open(f"{folder}/{rank}.tmp", "wb") as file:
        pickle.dump(found, file)
    os.replace(f"{folder}/{rank}.tmp", f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each rank found, of one run of all scenarios."""
    folder = tmp_path_factory.mktemp("ranks")
    ranks = [context.Process(target=run_rank, args=(rank, folder)) for rank in range(RANKS)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
        process.kill()
    assert [process.exitcode for process in ranks] == [0] * RANKS
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(RANKS)]


@pytest.mark.parametrize("name", SHARDS)
def test_every_rank_has_the_bits_of_a_single_process(found, name):
    everything = {i: image for rank in range(RANKS) for i, image in shard_of(name, rank).items()}
    wanted = fill(everything)
    for rank in range(RANKS):
        evaluator, calls, nbytes_of_twice = found[rank][name]
        assert columns(evaluator) == columns(wanted)
        assert calls == ["all_gather", "all_gather"]
        assert nbytes_of_twice == evaluator.nbytes
        assert_same(evaluator.compute(), wanted.compute())


def test_one_rank_alone_may_gather(found):
    for rank in range(RANKS):
        evaluator, calls = found[rank]["dst"]
        wanted = fill(CASE if rank == 2 else shard_of("uneven", rank))
        assert columns(evaluator) == columns(wanted) and calls == ["all_gather", "gather"]


def test_a_group_of_some_ranks_gathers_theirs(found):
    wanted = fill(shard_of("padded", 1) | shard_of("padded", 3))
    assert columns(found[1]["group"]) == columns(found[3]["group"]) == columns(wanted)


def test_the_lowest_rank_decides_on_an_image_that_ranks_saw_differently(found):
    wanted = fill({77: with_other_score(IMAGE, 0)})
    for rank in range(RANKS):
        assert columns(found[rank]["first"]) == columns(wanted)
        error, left = found[rank]["same"]
        assert error.startswith("ValueError: image 77 is in both with other rows") and left == 1


def test_other_targets_of_one_id_are_an_error_on_every_rank(found):
    for rank in range(RANKS):
        error, left = found[rank]["targets"]
        assert error.startswith("ValueError: image 77 is in both with other targets")
        assert left == columns(fill({77: with_other_targets(IMAGE, rank)})), "as it was"


def test_other_settings_are_an_error_on_every_rank(found):
    for rank in range(RANKS):
        assert found[rank]["settings"].startswith(
            "ValueError: evaluators must have the same settings on all ranks; those of ranks [3]"
        )


def test_a_rank_that_fails_raises_its_error_and_the_others_do_not_hang(found):
    for rank in range(RANKS):
        kind = "AttributeError" if rank == 1 else "RuntimeError: ranks [1] could not give"
        assert found[rank]["broken"].startswith(kind)
