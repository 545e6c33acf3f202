import math

import numpy as np
import pytest

from sightline.report import draw_confusion, draw_losses, draw_metrics, draw_rate
from sightline.report.figure import png
from sightline.report.precision_recall import draw_precision_recall


def rows(count=5):
    return [
        {
            "epoch": e,
            "lr": 0.1 / e,
            "train/loss": 1 / e,
            "train/class_loss": 0.6 / e,
            "train/box_loss": 0.4 / e,
            "val/loss": 1.2 / e,
            "val/class_loss": 0.7 / e,
            "val/box_loss": 0.5 / e,
            "val/AP50": 1 - 1 / e,
            "val/f1_micro": 0.5,
            "seconds": 1.0,
        }
        for e in range(1, count + 1)
    ]


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_losses_have_a_panel_for_the_sum_and_each_term():
    figure = draw_losses(rows(), best_epoch=4)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["Loss (sum of terms)", "Class loss", "Box loss"]
    assert texts(figure.axes[0]) == ["training", "validation", "best epoch"]
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [1 / e for e in range(1, 6)])


def test_metrics_are_drawn_once_each_and_absent_without_validation():
    figure = draw_metrics(rows())
    assert texts(figure.axes[0]) == ["AP50"]
    assert draw_metrics([{"epoch": 1, "lr": 0.1, "train/loss": 1.0}]) is None


@pytest.mark.parametrize("count", [1, 2, 300])
def test_figures_of_short_and_long_runs_are_png(count):
    for figure in (draw_losses(rows(count)), draw_metrics(rows(count)), draw_rate(rows(count))):
        assert png(figure).startswith(b"\x89PNG")


def test_a_metric_that_is_nan_leaves_a_gap():
    table = rows(3)
    table[1]["val/AP50"] = math.nan
    line = draw_metrics(table).axes[0].lines[0]
    assert list(line.get_xdata()) == [1, 3]


def test_confusion_shows_counts_and_shares_of_the_true_class():
    counts, shares = draw_confusion([[3, 1], [0, 0]], ["a", "b"], ["a", "b"]).axes
    assert sorted(t.get_text() for t in counts.texts) == ["1", "3"]
    assert sorted(t.get_text() for t in shares.texts) == ["0.25", "0.75"]
    with pytest.raises(ValueError, match=r"`counts` must have shape \[1, 2\], got \[2, 2\]"):
        draw_confusion(np.zeros((2, 2)), ["a"], ["a", "b"])


def test_a_large_confusion_matrix_has_no_numbers_to_misread():
    names = [f"class {i}" for i in range(40)]
    figure = draw_confusion(np.eye(40), names, names)
    assert not figure.axes[0].texts


def test_precision_recall_names_classes_with_their_ap():
    curve = {"name": "cat", "recall": [0, 1], "precision": [1, 0.5], "AP50": 0.75}
    assert texts(draw_precision_recall([curve]).axes[0]) == ["cat  0.750"]
    assert png(draw_precision_recall([])).startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 2, 3, 300])
def test_epochs_are_whole_numbers(count):
    for figure in (draw_losses(rows(count)), draw_metrics(rows(count)), draw_rate(rows(count))):
        figure.canvas.draw()
        for ax in figure.axes:
            low, high = ax.get_xlim()
            shown = [tick for tick in ax.get_xticks() if low <= tick <= high]
            assert shown and all(tick == round(tick) for tick in shown)
            assert low < 1 and high > count, "the first and the last epoch stand inside"


def test_metrics_that_are_nan_in_every_epoch_say_so():
    table = [{**row, "val/AP50": math.nan} for row in rows(3)]
    assert [text.get_text() for text in draw_metrics(table).axes[0].texts] == [
        "no epoch has a value"
    ]


def test_a_metric_above_one_is_not_cut_off():
    table = [{**row, "val/error": 10.0 * row["epoch"]} for row in rows(3)]
    ax = draw_metrics(table).axes[0]
    assert ax.get_ylim()[1] > 30 and ax.get_ylabel() == "value"
