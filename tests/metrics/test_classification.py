"""Classification metrics against worked numbers and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.metrics import (
    accuracy,
    confusion_matrix,
    precision_recall_f1,
    threshold_weighted_ap,
    top_k_accuracy,
)

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def labels_of(tp, fn, fp, tn):
    """Binary targets and predictions with these counts."""
    targets = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    return targets, np.repeat([1, 0, 1, 0], [tp, fn, fp, tn])


def test_rows_of_the_confusion_matrix_are_the_truth():
    targets, predictions = labels_of(tp=100, fn=30, fp=70, tn=800)
    assert confusion_matrix(targets, predictions).tolist() == [[800, 70], [30, 100]]


def test_worked_binary_case():
    targets, predictions = labels_of(tp=100, fn=30, fp=70, tn=800)
    result = precision_recall_f1(targets, predictions, average="binary")
    assert result.recall == 100 / 130 and result.precision == 100 / 170
    assert accuracy(targets, predictions) == 0.9
    assert result.support == 130


@pytest.mark.parametrize(
    ("counts", "precision", "recall", "f1"),
    [
        ({"tp": 1710, "fn": 190, "fp": 90, "tn": 10}, 0.95, 0.90, 0.924),
        ({"tp": 1666, "fn": 294, "fp": 34, "tn": 6}, 0.98, 0.85, 0.910),
    ],
)
def test_worked_f1(counts, precision, recall, f1):
    result = precision_recall_f1(*labels_of(**counts), average="binary")
    assert (result.precision, result.recall) == (precision, recall)
    assert round(result.f1, 3) == f1


def test_accuracy_misleads_at_one_positive_in_a_million():
    targets = np.zeros(1_000_000, np.int64)
    targets[0] = 1
    predictions = np.zeros_like(targets)
    assert accuracy(targets, predictions) == 0.999999
    assert precision_recall_f1(targets, predictions, average="binary").recall == 0


LABELS = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        *(st.lists(st.integers(0, 4), min_size=n, max_size=n).map(np.array) for _ in range(2))
    )
)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, average=st.sampled_from(["macro", "micro", "weighted"]))
def test_averages_agree_with_scikit_learn(labels, average):
    wanted = sklearn_metrics.precision_recall_fscore_support(
        *labels, average=average, zero_division=0
    )
    result = precision_recall_f1(*labels, average=average)
    np.testing.assert_allclose([result.precision, result.recall, result.f1], wanted[:3], rtol=1e-12)
    if average == "micro":
        assert result.f1 == pytest.approx(accuracy(*labels))


@settings(max_examples=60, deadline=None)
@given(labels=LABELS)
def test_classes_agree_with_scikit_learn(labels):
    wanted = sklearn_metrics.precision_recall_fscore_support(
        *labels, labels=range(5), average=None, zero_division=0
    )
    result = precision_recall_f1(*labels, average=None, num_classes=5)
    for values, expected in zip(
        (result.precision, result.recall, result.f1, result.support), wanted
    ):
        np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert accuracy(*labels) == sklearn_metrics.accuracy_score(*labels)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@settings(max_examples=60, deadline=None)
@given(labels=LABELS, normalize=st.sampled_from([None, "true", "pred", "all"]))
def test_confusion_matrix_agrees_with_scikit_learn(labels, normalize):
    wanted = sklearn_metrics.confusion_matrix(*labels, labels=range(5), normalize=normalize)
    np.testing.assert_array_equal(
        confusion_matrix(*labels, num_classes=5, normalize=normalize), wanted
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(1, 30), k=st.integers(1, 4))
def test_top_k_accuracy_agrees_with_scikit_learn_in_ties_too(seed, samples, k):
    rng = np.random.default_rng(seed)
    targets, scores = rng.integers(0, 5, samples), rng.integers(0, 4, (samples, 5)) / 4
    wanted = sklearn_metrics.top_k_accuracy_score(targets, scores, k=k, labels=range(5))
    assert top_k_accuracy(targets, scores, k=k) == wanted


def test_macro_leaves_out_classes_that_occur_nowhere():
    result = precision_recall_f1([0, 1], [0, 1], num_classes=10)
    assert result.f1 == 1


def test_nothing_gives_nan_accuracy_and_zero_f1():
    assert np.isnan(accuracy([], []))
    assert np.isnan(top_k_accuracy([], np.zeros((0, 5))))
    assert precision_recall_f1([], []).f1 == 0
    assert confusion_matrix([], [], num_classes=2).tolist() == [[0, 0], [0, 0]]


def test_threshold_weights_sum_to_seven_and_a_quarter():
    assert np.linspace(0.5, 0.95, 10).sum() == pytest.approx(7.25)
    ap = np.linspace(0.9, 0.0, 10)
    wanted = sum(t * a for t, a in zip(np.arange(50, 100, 5) / 100, ap)) / 7.25
    assert threshold_weighted_ap(ap) == pytest.approx(wanted)
    assert threshold_weighted_ap(np.full(10, 0.4)) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="one value for each of"):
        threshold_weighted_ap([0.5, 0.4])
    with pytest.raises(ValueError, match="must be positive"):
        threshold_weighted_ap([0.5], [0.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: confusion_matrix([0, 1], [0]), ValueError, "same length, got 2 and 1"),
        (lambda: confusion_matrix([0.5], [0]), TypeError, "`targets` must be integers"),
        (lambda: confusion_matrix([0], [np.nan]), TypeError, "`predictions` must be integers"),
        (lambda: confusion_matrix([-1], [0]), ValueError, "at least 0, got -1 in row 0"),
        (
            lambda: confusion_matrix([0, 3], [0, 0], num_classes=3),
            ValueError,
            r"`targets` must be in 0 ... 2, got 3 in row 1",
        ),
        (lambda: confusion_matrix([0], [0], normalize="rows"), ValueError, "`normalize` must be"),
        (lambda: confusion_matrix([[0]], [[0]]), ValueError, r"must have shape \[N\]"),
        (lambda: accuracy([0], [0, 1]), ValueError, "same length"),
        (lambda: precision_recall_f1([0], [0], average="all"), ValueError, "`average` must be"),
        (lambda: top_k_accuracy([0], [[1.0, np.nan]], k=1), ValueError, "NaN, got one in row 0"),
        (lambda: top_k_accuracy([0], [[1.0, 2.0]], k=3), ValueError, "`k` must be in 1 ... 2"),
        (lambda: top_k_accuracy([2], [[1.0, 2.0]], k=1), ValueError, "got 2 in row 0"),
        (lambda: top_k_accuracy([0, 1], [[1.0, 2.0]], k=1), ValueError, "with N = 2"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
