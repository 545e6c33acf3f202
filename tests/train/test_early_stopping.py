import pytest

from sightline.train import EarlyStopping
from sightline.train.early_stopping import Best, monitor_mode


def stops_after(values, **options):
    stopping = EarlyStopping("val/loss", **options)
    for epoch, value in enumerate(values, start=1):
        if stopping.step({"val/loss": value}, epoch):
            return epoch
    return None


def test_stops_after_patience_epochs_without_improvement():
    assert stops_after([3, 2, 2.5, 2.4, 2.3, 1], patience=3, min_delta=0) == 5
    assert stops_after([3, 2, 2.5, 2.4, 1.9, 2, 2], patience=3, min_delta=0) is None


def test_min_delta_is_the_smallest_improvement_that_counts():
    assert stops_after([1.0, 0.95, 0.9], patience=2, min_delta=0.1) == 3
    assert stops_after([1.0, 0.85, 0.7], patience=2, min_delta=0.1) is None


def test_epochs_before_start_epoch_are_not_looked_at():
    assert stops_after([1, 9, 9, 5, 5, 5], patience=2, start_epoch=4) == 6


def test_nan_is_never_an_improvement():
    assert stops_after([float("nan")] * 3, patience=2) == 2


def test_best_keeps_the_earlier_of_equal_values():
    best = Best("max")
    assert [best.step(v, e) for e, v in enumerate([0.5, 0.5, 0.6, 0.6])] == [1, 0, 1, 0]
    assert (best.value, best.epoch) == (0.6, 2)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("val/loss", "min"), ("val/box_loss", "min"), ("val/AP50", "max"), ("val/accuracy", "max")],
)
def test_mode_is_min_of_losses_and_declared_of_metrics(name, mode):
    declared = {"val/AP50": "max", "val/accuracy": "max"}
    assert monitor_mode(name, None, declared) == mode
    assert monitor_mode(name, "min", declared) == "min"


@pytest.mark.parametrize("column", ["val/quality", "val/AP50", "val/accuracy", "val/error"])
def test_mode_is_never_guessed(column):
    with pytest.raises(ValueError, match="give mode='min' or mode='max'"):
        monitor_mode(column)
    with pytest.raises(ValueError, match="give mode='min' or mode='max'"):
        EarlyStopping(column).follow("val/loss", "min")
    with pytest.raises(ValueError, match="give mode='min' or mode='max'"):
        EarlyStopping(column).step({column: 1.0}, 1)


def test_the_direction_of_a_column_of_its_own_is_what_the_metric_declares():
    stopping = EarlyStopping("val/rank", patience=1)
    stopping.follow("val/loss", "min", {"val/rank": "max"})
    assert [stopping.step({"val/rank": value}, 1) for value in (1, 2, 1)] == [False, False, True]


def test_a_direction_that_is_neither_is_refused():
    with pytest.raises(ValueError, match="`mode` must be 'min' or 'max', got 'up'"):
        monitor_mode("val/rank", None, {"val/rank": "up"})


def test_modes_are_min_or_max():
    with pytest.raises(ValueError, match="`mode` must be 'min' or 'max', got 'auto'"):
        monitor_mode("val/loss", "auto")


@pytest.mark.parametrize("change", [{"patience": 0}, {"min_delta": -1}, {"start_epoch": 0}])
def test_values_outside_their_range_are_named(change):
    with pytest.raises(ValueError, match=f"`{next(iter(change))}` must be >= "):
        EarlyStopping(**change)


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(ValueError, match=r"'val/AP5' is not among .* did you mean 'val/AP50'"):
        EarlyStopping("val/AP5").step({"val/AP50": 1.0, "val/loss": 1.0}, 1)


def test_without_a_column_it_watches_the_one_it_is_told():
    stopping = EarlyStopping(patience=1)
    with pytest.raises(ValueError, match="no column to watch outside `fit`: give `monitor`"):
        stopping.step({"val/loss": 1.0}, 1)
    stopping.follow("val/rank", "max")
    assert [stopping.step({"val/rank": value}, 1) for value in (1, 2, 1)] == [False, False, True]
    named = EarlyStopping("val/loss")
    named.follow("val/rank", "max")
    assert (named.monitor, named.best.mode) == ("val/loss", "min")
