import numpy as np
import pytest

from sightline.report import draw_classification, draw_detections


def test_boxes_are_drawn_where_they_are():
    image = np.full((100, 100, 3), 255, np.uint8)
    box = np.array([[40.0, 40.0, 80.0, 80.0]])
    drawn = np.asarray(draw_detections(image, box, [0], ["cat"], width=100))
    assert drawn.shape == (100, 100, 3)
    changed = (drawn != 255).any(2)
    assert changed[60, 40] and changed[60, 79] and changed[40, 60] and changed[79, 60]
    assert not changed[60, 60] and not changed[95, 95]


def test_the_class_colour_tells_classes_apart():
    image = np.full((50, 50, 3), 255, np.uint8)
    box = np.array([[5.0, 20.0, 45.0, 45.0]])
    one, two = (
        np.asarray(draw_detections(image, box, [label], ["a", "b"], width=50))[30, 5]
        for label in (0, 1)
    )
    assert (one != two).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_are_enlarged_and_grey_ones_accepted(channels):
    image = np.zeros((8, 8, channels), np.uint8)
    assert draw_detections(image, np.zeros((0, 4)), [], ["a"]).size == (400, 400)
    assert draw_classification(image, "a 0.9", right=True).size == (160, 186)


def test_a_label_at_the_border_stays_inside():
    image = np.full((60, 60, 3), 255, np.uint8)
    box = np.array([[50.0, 0.0, 60.0, 10.0]])
    names = ["a rather long name"]
    drawn = np.asarray(draw_detections(image, box, [0], names, scores=[0.5], width=400))
    row = (drawn[4:20] != 255).any(2)
    assert row[:, 150:].any() and drawn.shape == (400, 400, 3)
