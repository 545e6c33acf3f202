"""Pictures of an evaluation, of two classes and of eighty."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from sightline.report import (
    draw_confusion,
    draw_error_breakdown,
    draw_f1,
    draw_precision_recall,
    draw_reliability,
    write_plots,
)
from tests.metrics.detection.cases import at, random_images, results_of

ALL = ["precision_recall", "f1", "errors", "confusion_matrix", "reliability"]


@pytest.fixture(scope="module", params=[2, 80])
def result(request):
    names = [f"class {k}" for k in range(request.param)]
    images = random_images(0, images=20 * request.param // 2, classes=request.param)
    return results_of(images, class_names=names)


def legend_of(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_every_picture_is_written_and_large_enough_to_read(result, tmp_path):
    paths = write_plots(result, tmp_path / "new" / "folder")
    assert [path.stem for path in paths] == ALL
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) >= 400
    many = len(result.class_names) > 25
    with Image.open(paths[3]) as picture:
        assert (picture.size[1] > 1600) == many, "room for the names of eighty classes"


def test_of_many_classes_the_best_and_the_worst_are_named(result):
    names = legend_of(draw_f1(result))
    assert names[0].startswith("all classes")
    if len(result.class_names) == 2:
        assert len(names) == 3
    else:
        shown = int(np.sum(result.gt_count > 0))
        assert len(names) == 14 and names[-1] == f"{shown - 12} others"
        best = [float(name.split()[-1]) for name in names[1:-1]]
        assert best == sorted(best, reverse=True)


def test_the_mean_curve_is_named_with_its_area():
    curve = {"recall": [0, 1], "precision": [1, 0.5], "AP50": 0.75}
    figure = draw_precision_recall([{**curve, "name": "cat"}], mean={**curve, "name": "all"})
    assert legend_of(figure) == ["all  0.750", "cat  0.750"]
    assert figure.axes[0].get_title(loc="left") == "Precision and recall at IoU .5"


def test_f1_lines_hold_the_best_point():
    detections = {"boxes": at(0, 500, 50), "scores": [0.9, 0.8, 0.7]}
    result = results_of([(detections, {"boxes": at(0, 50, 100)})])
    figure = draw_f1(result)
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert marks[0].get_xydata().tolist() == [[0.7, pytest.approx(2 / 3)]]


def test_bars_are_the_costs_and_the_counts(result):
    breakdown = result.error_breakdown()
    left, right = draw_error_breakdown(breakdown).axes
    widths = {
        tick.get_text(): patch.get_width()
        for tick, patch in zip(left.get_yticklabels(), left.patches)
    }
    assert widths == {name: 100 * cost for name, cost in breakdown.costs.items()}
    assert len(right.get_yticklabels()) == min(12, len(result.class_names))


def test_the_reliability_diagram_has_a_bar_a_bin(result):
    calibration = result.calibration(num_bins=5)
    left, right = draw_reliability(calibration).axes
    assert [patch.get_height() for patch in right.patches] == calibration.pooled.count.tolist()
    heights = [patch.get_height() for patch in left.patches[:5]]
    assert heights == pytest.approx(np.nan_to_num(calibration.pooled.precision).tolist())


def test_of_many_classes_only_the_shares_are_drawn_and_the_note_stands_below():
    names = [f"class {k}" for k in range(30)]
    figure = draw_confusion(np.eye(30), names, names, note="boxes above .5")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Share of the true class"]
    assert figure.get_supxlabel() == "boxes above .5"


def test_what_there_is_nothing_for_is_left_out(tmp_path):
    nothing = results_of([])
    assert [path.stem for path in write_plots(nothing, tmp_path)] == ["confusion_matrix"]
    found = {"boxes": at(0), "scores": [7.5]}
    unbounded = results_of([(found, {"boxes": at(0)})], iou_thresholds=[0.75])
    assert [path.stem for path in write_plots(unbounded, tmp_path)] == ALL[:4]


def test_scores_that_are_not_finite_are_drawn_without_an_end(tmp_path):
    scores = [np.inf, 3.0, -2.0, -np.inf, np.nan]
    found = {"boxes": at(0, 50, 100, 150, 200), "scores": scores}
    result = results_of([(found, {"boxes": found["boxes"]})], parity="pycocotools")
    assert draw_f1(result).axes[0].get_xlim() == (-2, 3)
    assert write_plots(result, tmp_path)


def test_pictures_of_an_evaluation_need_no_torch():
    code = "import sys, sightline.report as r; r.write_plots; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def ticks_of(axis):
    """Where an axis bears ticks, and what they say, within its limits."""
    axis.get_figure().canvas.draw()
    low, high = sorted(axis.get_view_interval())
    return [
        (float(tick.get_loc()), tick.label1.get_text())
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 5000])
def test_an_axis_of_counts_bears_whole_numbers_each_once(count):
    found = {"boxes": at(*range(0, 100 * count, 100)), "scores": np.full(count, 0.55)}
    images = [({"boxes": [], "scores": []}, {"boxes": at(0)}), (found, {"boxes": []})]
    if not count:
        images = [({"boxes": at(0)}, {"boxes": at(0)})]
    result = results_of(images)
    axes = [draw_error_breakdown(result.error_breakdown()).axes[1].xaxis]
    if count and count < 500:
        axes.append(draw_reliability(result.calibration()).axes[1].yaxis)
    for axis in axes:
        ticks = ticks_of(axis)
        assert all(place == round(place) and text == f"{place:,.0f}" for place, text in ticks)
        assert len({text for _, text in ticks}) == len(ticks) >= 2


def test_a_cost_that_is_not_defined_says_so():
    result = results_of([({"boxes": []}, {"boxes": at(0, 50)})])
    left, _ = draw_error_breakdown(result.error_breakdown()).axes
    texts = [text.get_text() for text in left.texts]
    assert texts[:2] == [" not defined", " 0.0"] and texts[2] == " not defined   (2)"
    assert left.get_xlim() == (0, 1.25) and ticks_of(left.xaxis)[-1][1] == "1.2"


def test_a_set_without_errors_says_so():
    result = results_of([({"boxes": at(0)}, {"boxes": at(0)})])
    _, right = draw_error_breakdown(result.error_breakdown()).axes
    assert [text.get_text() for text in right.texts] == ["no errors"]


def test_one_detection_shows_on_a_logarithmic_axis():
    scores = [0.95, *np.full(300, 0.01)]
    result = results_of([({"boxes": at(*range(301)), "scores": scores}, {"boxes": at(0)})])
    _, right = draw_reliability(result.calibration()).axes
    assert right.get_yscale() == "log" and right.get_ylim()[0] < 1
    assert [text for _, text in ticks_of(right.yaxis)] == ["1", "10", "100"]


ODD_NAMES = [
    "price_$_and_$_sign",
    "$1 or $2",
    "two\nlines \x1b[31m",
    "\ud800 half",
    "日本",
    "a" * 99,
]


@pytest.fixture(scope="module")
def oddly_named():
    return results_of(random_images(0, images=40, classes=6), class_names=ODD_NAMES)


def test_names_are_drawn_as_they_are(oddly_named, tmp_path, recwarn):
    paths = write_plots(oddly_named, tmp_path)
    assert [path.stem for path in paths] == ALL
    assert [str(warning.message) for warning in recwarn] == []
    names = [text.rsplit("  ", 1)[0] for text in legend_of(draw_f1(oddly_named))[1:]]
    assert names[:4] == [*ODD_NAMES[:2], r"two\nlines \x1b[31m", r"\ud800 half"]
    assert names[5] == "a" * 11 + "..." + "a" * 10


def test_no_text_of_a_figure_is_a_formula(oddly_named):
    for figure in (draw_f1(oddly_named), draw_error_breakdown(oddly_named.error_breakdown())):
        figure.canvas.draw()
        assert not any(text.get_parse_math() for text in figure.findobj(Text))


def extent(artist, figure):
    return artist.get_window_extent(figure.canvas.get_renderer())


@pytest.mark.parametrize(("classes", "length"), [(1, 3), (1, 60), (12, 60), (200, 60)])
def test_cells_of_a_confusion_matrix_have_room_beside_long_names(classes, length):
    names = [f"{'n' * length}{i}" for i in range(classes)]
    figure = draw_confusion(np.eye(classes), names, names, note="boxes above .5")
    figure.canvas.draw()
    for ax in figure.axes:
        box = extent(ax, figure)
        assert box.width > 150 and box.width == pytest.approx(box.height)
        labels = [text for text in ax.get_yticklabels() if text.get_text()]
        boxes = [extent(text, figure) for text in labels]
        assert min(box.x0 for box in boxes) >= 0
        gaps = [upper.y0 - lower.y1 for upper, lower in pairwise(boxes)]
        assert all(gap > -3 for gap in gaps), "names lie on each other"
        assert min(extent(text, figure).y0 for text in ax.get_xticklabels()) > 0


def test_curves_keep_their_room_beside_long_names():
    names = [f"{'n' * 40}{i}" for i in range(24)]
    result = results_of(random_images(0, images=60, classes=24), class_names=names)
    figure = draw_f1(result)
    figure.canvas.draw()
    (ax,) = figure.axes
    assert extent(ax, figure).width > 4 * figure.dpi
    assert extent(ax.get_legend(), figure).x1 <= figure.bbox.x1
