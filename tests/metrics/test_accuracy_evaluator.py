import numpy as np
import pytest

from sightline.metrics import AccuracyEvaluator, accuracy, top_k_accuracy

RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.normal(size=(50, 7)), RNG.integers(0, 7, 50)


def test_batches_give_the_accuracy_of_the_whole():
    evaluator = AccuracyEvaluator(top_k=(2, 5))
    for part in np.split(np.arange(50), [3, 3, 20]):  # one of them empty
        evaluator.update(SCORES[part], LABELS[part])
    assert evaluator.compute() == {
        "accuracy": accuracy(LABELS, SCORES.argmax(1)),
        "top2": top_k_accuracy(LABELS, SCORES, k=2),
        "top5": top_k_accuracy(LABELS, SCORES, k=5),
    }
    evaluator.reset()
    assert np.isnan(list(evaluator.compute().values())).all()


def test_tensors_of_half_precision_and_targets_of_our_loader_are_taken():
    torch = pytest.importorskip("torch")
    evaluator = AccuracyEvaluator()
    logits = torch.tensor([[0.0, 2.0], [1.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    evaluator.update(logits, [{"label": torch.tensor(1)}, {"label": torch.tensor(1)}])
    evaluator.update(logits, torch.tensor([1, 0]))
    assert evaluator.compute() == {"accuracy": 0.75}


def test_of_soft_targets_the_largest_is_the_true_class_and_the_first_of_a_tie():
    torch = pytest.importorskip("torch")
    for soft in (
        np.eye(7)[LABELS],
        torch.eye(7, dtype=torch.bfloat16)[LABELS],
        np.eye(7, dtype=int)[LABELS],
    ):
        evaluator = AccuracyEvaluator()
        evaluator.update(SCORES, soft)
        assert evaluator.compute() == {"accuracy": accuracy(LABELS, SCORES.argmax(1))}
    evaluator.reset()
    evaluator.update([[3.0, 1, 2], [0, 0, 1]], [[0.4, 0.2, 0.4], [0, 0.5, 0.5]])
    assert evaluator.compute() == {"accuracy": 0.5}


def test_more_best_classes_than_there_are_hold_every_label():
    evaluator = AccuracyEvaluator(top_k=(5,))
    evaluator.update(SCORES[:, :3], LABELS % 3)
    assert evaluator.compute()["top5"] == 1


def test_it_says_which_way_is_better():
    evaluator = AccuracyEvaluator(top_k=(5,))
    assert evaluator.directions == {"accuracy": "max", "top5": "max"}


@pytest.mark.parametrize(
    ("outputs", "targets", "error", "message"),
    [
        (SCORES[0], LABELS[:1], ValueError, r"`outputs` must have shape \[B, K\], got \[7\]"),
        (SCORES, LABELS[:3], ValueError, r"`targets` must have shape \[50\] as `outputs`"),
        (SCORES, LABELS * 1.0, TypeError, "`targets` must be integers"),
        (SCORES, np.eye(8)[LABELS], ValueError, r"or \[50, 7\] as `outputs`, got \[50, 8\]"),
        (SCORES, np.eye(7)[LABELS] * np.nan, ValueError, "`targets` must not be NaN, .* row 0"),
        (SCORES[:, :1], LABELS[:, None], ValueError, r"`targets` must have shape \[N\]"),
        (SCORES[:, :3], LABELS, ValueError, r"in 0 ... 2, got"),
        (SCORES * [1, np.nan, 1, 1, 1, 1, 1], LABELS, ValueError, "must not be NaN, got .* row 0"),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(outputs, targets, error, message):
    evaluator = AccuracyEvaluator()
    with pytest.raises(error, match=message):
        evaluator.update(outputs, targets)
    assert evaluator.samples == 0


@pytest.mark.parametrize("top_k", [5, (1,), (0, 5)])
def test_top_k_is_several_numbers_above_one(top_k):
    with pytest.raises(ValueError, match="`top_k` must hold integers of at least 2"):
        AccuracyEvaluator(top_k=top_k)
