"""A signal stops a long op within a second, whatever the op is at."""

import json
import resource
import signal
import threading
import time

import numpy as np
import pytest
import torch

from sightline import _numpy, ops
from sightline.metrics.shapes import masks

DELAY, LATE = 0.1, 1.0  # seconds
rng = np.random.default_rng(0)


class Stopped(Exception):
    pass


def stop(*_):
    raise Stopped


@pytest.fixture
def signal_soon():
    """A signal after DELAY whose handler raises, as that of Ctrl-C does.

    Times are of the CPU, so that a machine which is busy with other things changes nothing.
    """
    before = signal.signal(signal.SIGPROF, stop)
    yield lambda: signal.setitimer(signal.ITIMER_PROF, DELAY)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def seconds_late(signal_soon, call, error=Stopped) -> float:
    signal_soon()
    begun = time.process_time()
    with pytest.raises(error):
        call()
    return time.process_time() - begun - DELAY


def heaped(n: int, dtype=np.float32) -> np.ndarray:
    """Boxes that all overlap."""
    low, size = rng.uniform(0, 50, (n, 2)), rng.uniform(60, 90, (n, 2))
    return np.concatenate([low, low + size], 1).astype(dtype)


def scattered(n: int) -> dict:
    """Boxes of which NMS keeps many."""
    low, size = rng.uniform(0, 9000, (n, 2)), rng.uniform(1, 90, (n, 2))
    return {
        "boxes": np.concatenate([low, low + size], 1).astype(np.float32),
        "scores": scores(n),
    }


def rows_of_costs(n: int) -> np.ndarray:
    i = np.arange(n, dtype=float)
    return -(i[:, None] * i[None])


def scores(n: int) -> np.ndarray:
    return rng.random(n).astype(np.float32)


def rotated(n: int) -> np.ndarray:
    boxes = np.concatenate([rng.uniform(0, 9, (n, 2)), rng.uniform(20, 60, (n, 3))], 1)
    return boxes.astype(np.float32)


def predictions(anchors: int, objects: int) -> dict:
    return {
        "scores": rng.random((anchors, 4)).astype(np.float32),
        "boxes": heaped(anchors),
        "points": rng.uniform(55, 60, (anchors, 2)).astype(np.float32),
        "gt_boxes": heaped(objects),
        "gt_labels": rng.integers(0, 4, objects),
    }


def offsets(n: int) -> np.ndarray:
    return np.array([0, n])


# What takes seconds, if nothing stops it.
LONG = {
    "linear_assignment": lambda: {"cost": rows_of_costs(1500)},
    "nms": lambda: {**scattered(1_000_000), "iou_threshold": 0.1},
    "nms_rotated": lambda: {
        "boxes": rotated(20_000),
        "scores": scores(20_000),
        "iou_threshold": 0.99,
    },
    "nms_padded": lambda: {
        **scattered(1_000_000),
        "iou_threshold": 0.1,
        "max_detections": 1_000_000,
    },
    "multiclass_nms": lambda: {
        "boxes": scattered(1_000_000)["boxes"][None],
        "scores": scores(1_000_000)[None, :, None],
        "score_threshold": 0.0,
        "iou_threshold": 0.1,
        "max_detections": 1_000_000,
    },
    "soft_nms": lambda: {"boxes": heaped(40_000), "scores": scores(40_000), "score_threshold": 0.0},
    "matrix_nms": lambda: {"boxes": heaped(80_000), "scores": scores(80_000)},
    "weighted_boxes_fusion": lambda: {
        "boxes": [heaped(60_000)],
        "scores": [scores(60_000)],
        "labels": [np.zeros(60_000, int)],
        "iou_threshold": 0.999,
    },
    "complete_box_iou": lambda: {"boxes1": heaped(20_000), "boxes2": heaped(10_000)},
    "box_iou_rotated": lambda: {"boxes1": rotated(12_000), "boxes2": rotated(12_000)},
    "box_iou_max": lambda: {"boxes1": heaped(60_000), "boxes2": heaped(60_000)},
    "box_iou_topk": lambda: {"boxes1": heaped(60_000), "boxes2": heaped(60_000), "k": 3},
    "match_anchors": lambda: {
        "anchors": heaped(60_000),
        "gt_boxes": heaped(60_000),
        "high_threshold": 0.7,
        "low_threshold": 0.3,
    },
    "assign_ssd": lambda: {"anchors": heaped(60_000), "gt_boxes": heaped(30_000)},
    "assign_atss": lambda: {"anchors": [heaped(200_000)], "gt_boxes": heaped(50_000)},
    "assign_fcos": lambda: {
        "points": [rng.uniform(55, 60, (200_000, 2)).astype(np.float32)],
        "gt_boxes": heaped(40_000),
        "strides": [8.0],
    },
    "assign_sim_ota": lambda: {
        **predictions(40_000, 20_000),
        "strides": np.full(40_000, 8, np.float32),
    },
    "assign_task_aligned": lambda: predictions(40_000, 20_000),
    "warp": lambda: {  # 256 samples of each pixel, all moved into the picture
        "images": np.zeros((64, 64, 3), np.uint8),
        "matrices": np.diag([0.05, 0.05, 1.0]),
        "size": (2000, 2000),
        "displacements": np.float32([[[0, 0], [-2000, 0]], [[0, -2000], [-2000, -2000]]]),
    },
    "match_detections": lambda: {
        "dt_boxes_xywh": heaped(20_000),
        "dt_scores": scores(20_000),
        "dt_offsets": offsets(20_000),
        "gt_boxes_xywh": heaped(10_000),
        "gt_offsets": offsets(10_000),
    },
}


@pytest.mark.parametrize("name", LONG)
def test_an_op_on_arrays_stops(name, signal_soon):
    arguments = LONG[name]()
    assert seconds_late(signal_soon, lambda: getattr(ops, name)(**arguments)) < LATE


@pytest.mark.parametrize("name", ["linear_assignment", "nms", "box_iou_max", "soft_nms"])
def test_an_op_on_tensors_stops(name, signal_soon):
    arguments = {
        key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for key, value in LONG[name]().items()
    }
    assert seconds_late(signal_soon, lambda: getattr(ops, name)(**arguments)) < LATE


def test_ctrl_c_raises_keyboard_interrupt_from_the_torch_op_itself(signal_soon):
    signal.signal(signal.SIGPROF, signal.default_int_handler)
    cost = torch.from_numpy(rows_of_costs(1500))[None]
    call = torch.ops.sightline.linear_assignment
    assert seconds_late(signal_soon, lambda: call(cost), KeyboardInterrupt) < LATE


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_the_calling_thread_stops_others_that_have_more_to_do(kind, signal_soon):
    """Of two problems the second, which another thread has, is the long one."""
    cost = np.stack([np.zeros((1500, 1500)), rows_of_costs(1500)])
    threads = torch.get_num_threads(), _numpy.get_num_threads()
    torch.set_num_threads(2)
    _numpy.set_num_threads(2)
    try:
        given = cost if kind == "arrays" else torch.from_numpy(cost)
        assert seconds_late(signal_soon, lambda: ops.linear_assignment(given)) < LATE
    finally:
        torch.set_num_threads(threads[0])
        _numpy.set_num_threads(threads[1])


def test_a_handler_that_does_not_raise_lets_the_op_go_on(signal_soon):
    seen = []
    signal.signal(signal.SIGPROF, lambda *_: seen.append(time.perf_counter()))
    signal_soon()
    cost = rows_of_costs(700)
    columns = ops.linear_assignment(cost)
    ended = time.perf_counter()
    assert sorted(columns) == list(range(700))
    assert seen and seen[0] < ended


def test_an_op_in_another_thread_is_left_alone(signal_soon):
    results = []
    cost = rows_of_costs(700)
    thread = threading.Thread(target=lambda: results.append(ops.linear_assignment(cost)))
    begun = time.process_time()
    signal_soon()
    thread.start()
    with pytest.raises(Stopped):
        while time.process_time() < begun + 5:
            time.sleep(0)
    thread.join()
    assert sorted(results[0]) == list(range(700))


def test_stopping_leaks_no_memory(signal_soon):
    arguments = LONG["linear_assignment"]()  # whose solver copies 18 MB

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    seconds_late(signal_soon, lambda: ops.linear_assignment(**arguments))
    before = peak()
    for _ in range(4):
        seconds_late(signal_soon, lambda: ops.linear_assignment(**arguments))
    assert peak() - before < 40


def test_overlaps_of_masks_stop(signal_soon):
    pixels = rng.random((2500, 40, 40)) < 0.5
    encoded = masks.encode_masks(pixels)
    assert seconds_late(signal_soon, lambda: masks.mask_iou(encoded, encoded)) < LATE


def test_reading_coco_json_stops(signal_soon):
    row = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    rows = ",".join([json.dumps(row)] * 1000).encode()
    text = b"[" + b",".join([rows] * 3000) + b"]"
    arguments = (-1, 0, text, "results", True, ["image_id", "category_id", "bbox", "score"])
    assert seconds_late(signal_soon, lambda: _numpy.read_coco_results(*arguments)) < LATE
