import numpy as np
import pytest
from PIL import Image

from sightline.data import draw_classification, draw_detections


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


@pytest.mark.parametrize("shape", [(8, 8), (30, 50, 1), (480, 640, 3), (3000, 4000, 3)])
def test_a_picture_is_drawn_at_its_own_size_where_no_other_is_asked_for(shape):
    image = np.zeros(shape, np.uint8)
    box = np.array([[1.0, 1.0, 6.0, 6.0]])
    drawn = draw_detections(image, box, [0], ["a"])
    assert drawn.size == shape[1::-1] and drawn.mode == "RGB"
    wide = draw_detections(image, box, [0], ["a"], width=400)
    assert wide.size == (400, round(400 * shape[0] / shape[1]))


def line_width(side):
    image = np.full((side, side, 3), 255, np.uint8)
    box = np.array([[side / 4, side / 2, side - 1, side - 1]])
    row = np.asarray(draw_detections(image, box, [0], ["a"]))[side * 3 // 4, : side // 2]
    return int((row != 255).any(1).sum())


def test_lines_grow_with_the_picture():
    assert [line_width(side) for side in (40, 400, 4000)] == [1, 2, 20]


def test_a_class_stands_below_the_picture_at_its_own_size():
    image = np.random.default_rng(0).integers(0, 255, (40, 300, 3), np.uint8)
    drawn = np.asarray(draw_classification(image, "a 0.9", right=True))
    np.testing.assert_array_equal(drawn[:40], image)
    assert drawn.shape[0] > 50 and drawn[40:].std() > 0
    two = draw_classification(image, "a 0.9\nis b", right=False)
    assert two.height - 40 > 1.5 * (drawn.shape[0] - 40)


def test_a_small_picture_is_as_wide_as_its_text_and_a_long_text_is_shortened():
    image = np.zeros((8, 8), np.uint8)
    short, long = (draw_classification(image, text) for text in ("a name  0.93", "a" * 500))
    assert 8 < short.width < long.width < 300
    for text in ("a", "a" * 500):
        assert draw_classification(image, text, width=160).size[0] == 160


def test_names_are_left_out_where_they_would_cover_the_picture():
    image = np.full((40, 40, 3), 255, np.uint8)
    box = np.array([[10.0, 20.0, 30.0, 35.0]])
    above = np.asarray(draw_detections(image, box, [0], ["a name"]))[:20]
    assert (above == 255).all()
    larger = np.asarray(draw_detections(image, box, [0], ["a name"], width=200))[:100]
    assert (larger != 255).any()


def test_no_line_goes_through_a_name():
    image = np.full((200, 200, 3), 255, np.uint8)
    boxes = np.array([[50.0, 100, 150, 180], [0, 95, 180, 190]])
    names = ["wwwwww", "a"]
    alone, both = (
        np.asarray(draw_detections(image, boxes[:count], [0, 1][:count], names)) for count in (1, 2)
    )
    assert (alone[95, 55:80] != 255).any(1).all(), "the first name stands where the line runs"
    np.testing.assert_array_equal(both[95, 55:80], alone[95, 55:80])


def test_what_read_image_takes_can_be_drawn_on(tmp_path):
    path = tmp_path / "p.png"
    Image.new("RGB", (30, 20)).save(path)
    for picture in (path, path.read_bytes(), Image.new("L", (30, 20))):
        assert draw_detections(picture, np.zeros((0, 4)), [], []).size == (30, 20)


@pytest.mark.parametrize("name", ["two\nlines", "\ud800", "\x1b[31m", "n" * 500, "$x$ $"])
def test_any_name_can_be_drawn(name):
    image = np.full((100, 200, 3), 255, np.uint8)
    box = np.array([[5.0, 30.0, 45.0, 95.0]])
    drawn = np.asarray(draw_detections(image, box, [0], [name], scores=[0.5]))
    tag = (drawn[:30] != 255).any(2).any(1)
    assert tag.any() and not tag[:10].any(), "one line above the box"


def test_a_label_at_the_border_stays_inside():
    image = np.full((60, 60, 3), 255, np.uint8)
    box = np.array([[50.0, 0.0, 60.0, 10.0]])
    names = ["a rather long name"]
    drawn = np.asarray(draw_detections(image, box, [0], names, scores=[0.5], width=400))
    row = (drawn[4:20] != 255).any(2)
    assert row[:, 150:].any() and drawn.shape == (400, 400, 3)


def test_letters_beyond_ascii_are_drawn():
    pytest.importorskip("matplotlib")
    image = np.full((100, 100, 3), 255, np.uint8)
    box = np.array([[10.0, 40.0, 80.0, 80.0]])
    boxes = [np.asarray(draw_detections(image, box, [0], [name], width=400)) for name in "ßжλ"]
    lines = [np.asarray(draw_classification(image, name, width=400)) for name in "ßжλ"]
    # A letter that the font lacks is an empty frame, the same for each.
    for one, two, three in (boxes, lines):
        assert (one != two).any() and (one != three).any() and (two != three).any()
