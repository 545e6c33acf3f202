"""What a trained model says of one picture: short in a console, plain in JSON, drawn."""

import json

import numpy as np
import pytest

from sightline.data import DataError
from sightline.tasks import Classification, Detections

PICTURE = np.full((40, 60, 3), 255, np.uint8)
FOUND = Detections(
    boxes=np.array([[5.0, 20, 25, 39], [30, 20, 50, 39], [1, 1, 9, 9]]),
    scores=np.array([0.93, 0.8, 0.5]),
    labels=np.array([2, 2, 0]),
    names=("cat", "cat", "dog"),
    picture=PICTURE,
)
NOTHING = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), (), "a.png")
CAT = Classification(1, "cat", 0.875, np.array([0.125, 0.875]), ("dog", "cat"), PICTURE)


def test_a_result_is_one_short_line():
    assert repr(FOUND) == "Detections(3: 2 cat, 1 dog; best cat .93)"
    assert repr(NOTHING) == "Detections(0)"
    assert repr(CAT) == "Classification(cat .88)"
    one = Detections(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), ("two\nlines",))
    assert repr(one) == r"Detections(1: 1 two\nlines; best two\nlines 1.00)"
    names = tuple(f"class {i} of a large set" for i in range(80))
    many = Detections(np.zeros((80, 4)), np.linspace(1, 0, 80), np.arange(80), names)
    assert "75 of 75 other classes" in repr(many) and len(repr(many)) < 250


def test_a_result_is_plain_values():
    values = json.loads(json.dumps(FOUND.to_dict()))
    assert values["image"] is None and len(values["detections"]) == 3
    first = {"name": "cat", "label": 2, "score": 0.93, "box": [5.0, 20.0, 25.0, 39.0]}
    assert values["detections"][0] == first
    assert NOTHING.to_dict() == {"image": "a.png", "detections": []}
    assert json.loads(json.dumps(CAT.to_dict())) == {
        "image": None,
        "name": "cat",
        "score": 0.875,
        "probabilities": {"dog": 0.125, "cat": 0.875},
    }


def test_a_result_is_drawn_on_its_picture_at_its_own_size():
    drawn = FOUND.draw()
    assert drawn.size == (60, 40)
    changed = (np.asarray(drawn) != 255).any(2)
    assert changed[30, 5] and changed[30, 49] and not changed[30, 15]
    assert FOUND.draw(width=120).size == (120, 80)
    assert (np.asarray(FOUND.draw(np.zeros((40, 60), np.uint8)))[30, 15] == 0).all()
    below = np.asarray(CAT.draw())
    assert (below[:40, :60] == 255).all() and below.shape[0] > 50


def test_a_result_without_its_picture_says_so(tmp_path):
    nowhere = Detections(FOUND.boxes, FOUND.scores, FOUND.labels, FOUND.names)
    with pytest.raises(ValueError, match="no image to draw on: give the one"):
        nowhere.draw()
    gone = Detections(FOUND.boxes, FOUND.scores, FOUND.labels, FOUND.names, tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"gone\.png: no such image"):
        gone.draw()
