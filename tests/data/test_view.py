import numpy as np
import pytest
from PIL import Image

from sightline.cli import main
from sightline.data import Annotations, Augment, Record
from sightline.data.view import draw_dataset_view
from sightline.formats import Polygons

from ..tiny import write_colours


def squares(count=3, **columns):
    """Dark images of 60 x 40 with one object from (10, 10) to (30, 30)."""
    image = np.zeros((40, 60, 3), np.uint8)
    box = np.array([[10.0, 10, 30, 30]])
    records = [
        Record(image, f"{i}", 60, 40, labels=np.array([0]), boxes=box, **columns)
        for i in range(count)
    ]
    return Annotations("boxes", ("a", "b"), tuple(records))


def is_coloured(pixels):
    return pixels.max(axis=-1).astype(int) - pixels.min(axis=-1) > 40


def test_boxes_are_drawn_where_they_are():
    grid = np.asarray(draw_dataset_view(squares(1), width=120))
    drawn = is_coloured(grid)
    assert drawn[6 + 40, 6 + 20 : 6 + 22].any()  # the left side, at twice the size
    assert not drawn[6 + 40, 6 + 30 : 6 + 50].any()  # inside
    assert not drawn[6 + 70 :, :].any()  # below


def test_outlines_are_tinted_and_points_drawn():
    ring = Polygons((np.array([[10.0, 10], [30, 10], [30, 30], [10, 30]]),))
    points = np.array([[[50.0, 20, 2], [55, 30, 0]]])
    grid = np.asarray(draw_dataset_view(squares(1, shapes=[ring], points=points), width=120))
    drawn = is_coloured(grid)
    assert drawn[6 + 40, 6 + 30 : 6 + 50].all()
    assert drawn[6 + 40, 6 + 100]
    assert not drawn[6 + 60, 6 + 110]  # not labelled


def test_a_grid_has_rows_of_columns_and_a_row_per_image_with_augmentation():
    plain = draw_dataset_view(squares(5), width=60, columns=2, count=5)
    assert plain.size == (2 * 66 + 6, 3 * 46 + 6)
    changed = draw_dataset_view(squares(2), width=60, augment=Augment(), variants=3)
    assert changed.size == (4 * 66 + 6, 2 * 46 + 6)
    levels = draw_dataset_view(squares(2), width=60, augment=Augment(level=2))
    assert levels.size == (4 * 66 + 6, 2 * 46 + 6)  # an image, a changed copy, and both mirrored


def test_the_choice_depends_on_the_seed_alone():
    images = [
        Record(np.full((8, 8, 1), 20 * i, np.uint8), f"{i}", 8, 8, labels=np.zeros(1, int))
        for i in range(12)
    ]
    annotations = Annotations("class", ("a",), tuple(images))
    first, again, other = (
        np.asarray(draw_dataset_view(annotations, count=4, width=16, seed=seed))
        for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize("name", ["count", "columns", "width"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        draw_dataset_view(squares(1), **{name: 0})


def test_the_command_writes_a_picture_before_and_after_augmentation(tmp_path, capsys):
    write_colours(tmp_path / "set", count=3)
    out = tmp_path / "view.png"
    words = ["data", "view", str(tmp_path / "set"), f"out={out}", "width=40"]
    assert main(words) == 0
    assert "6 of 6 images" in capsys.readouterr().out
    assert main([*words, "augment.rotate=20", "count=2", "variants=1"]) == 0
    with Image.open(out) as picture:
        assert picture.height > picture.width / 2
    assert main([*words, "augment.rotate=400"]) == 2
    assert "rotate" in capsys.readouterr().err
    assert main([*words, "augment.turn=4"]) == 2
