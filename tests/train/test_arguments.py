"""What `fit` is given by mistake is refused in words before anything is written."""

import io

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset

from sightline.metrics import AccuracyEvaluator
from sightline.train import EMA, EarlyStopping, Log, Schedule, fit

LABELS = torch.arange(12) % 3
SET = TensorDataset(torch.eye(3)[LABELS], LABELS)


def run_with(epochs=2, **changes):
    """A small run; functions among the changes are called with its optimizer."""
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if "schedule" in changes and callable(changes["schedule"]):
        changes["schedule"] = changes["schedule"](optimizer)
    given = {
        "val_loader": DataLoader(SET, 6),
        "optimizer": optimizer,
        "loss": nn.CrossEntropyLoss(),
        "metric": AccuracyEvaluator(),
        "log": Log(quiet=True),
        **changes,
    }
    return fit(model, DataLoader(SET, 6), epochs=epochs, **given)


def stranger():
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)


class CountsOnly(AccuracyEvaluator):
    def compute(self):
        return 3


class StepsByEpoch:
    def step(self, epoch):
        pass


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 2.0}, TypeError, "`epochs` must be an integer, got 2.0"),
        ({"epochs": 0}, ValueError, "`epochs` must be >= 1, got 0"),
        ({"optimizer": torch.optim.AdamW}, TypeError, "`optimizer` must be an instance such as"),
        ({"optimizer": "adam"}, TypeError, "`optimizer` must be such as torch.optim.AdamW"),
        ({"ema": 0.99}, TypeError, r"`ema` must be such as EMA\(model\), got float"),
        ({"ema": EMA}, TypeError, r"`ema` must be an instance such as EMA\(model\), got EMA"),
        ({"early_stopping": 3}, TypeError, r"such as EarlyStopping\(patience=5\), got int"),
        ({"early_stopping": EarlyStopping}, TypeError, "`early_stopping` must be an instance"),
        ({"metric": AccuracyEvaluator}, TypeError, r"metric=AccuracyEvaluator\(\)"),
        ({"val_loader": SET}, TypeError, "`val_loader` must give batches and TensorDataset is a"),
        ({"on_epoch_end": ["print"]}, TypeError, "`on_epoch_end` must hold functions, got str"),
        ({"schedule": "cosine"}, TypeError, r"make_schedule\(optimizer, 'cosine', epochs="),
        ({"schedule": StepsByEpoch()}, TypeError, "scheduler of torch.*got StepsByEpoch"),
        (
            {"schedule": lambda _: StepLR(stranger(), 1)},
            ValueError,
            "`schedule` changes another optimizer than `optimizer`: create its StepLR",
        ),
        (
            {
                "schedule": lambda optimizer: Schedule(
                    StepLR(optimizer, 1), warmup=StepLR(stranger(), 1), warmup_steps=1
                )
            },
            ValueError,
            "`schedule` changes another optimizer",
        ),
        (
            {"schedule": ReduceLROnPlateau},
            ValueError,
            "mode='min' and is given val/accuracy, which is better larger: make it with mode='max'",
        ),
        (
            {"schedule": lambda o: ReduceLROnPlateau(o, mode="max"), "monitor": "val/loss"},
            ValueError,
            "mode='max' and is given val/loss, which is better smaller: make it with mode='min'",
        ),
    ],
)
def test_an_argument_of_another_kind_is_refused_in_words(changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        run_with(out=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_plateau_lowers_the_rate_after_epochs_that_are_no_better():
    history = run_with(
        schedule=lambda o: ReduceLROnPlateau(o, mode="max", patience=0, factor=0.5),
        loss=lambda outputs, labels: 0 * outputs.sum(),
        epochs=3,
    )
    assert history.column("lr") == [0.1, 0.1, 0.05]


def test_a_one_cycle_of_batches_that_moves_by_epochs_is_warned_of():
    by_epoch, by_step = io.StringIO(), io.StringIO()
    run_with(schedule=lambda o: OneCycleLR(o, 0.1, total_steps=4), log=Log(by_epoch))
    run_with(
        schedule=lambda o: Schedule(OneCycleLR(o, 0.1, total_steps=5), every="step"),
        log=Log(by_step),
    )
    assert "give Schedule(scheduler, every='step')" in by_epoch.getvalue()
    assert "warning" not in by_step.getvalue()


def test_a_single_function_is_called_after_every_epoch():
    epochs = []
    run_with(on_epoch_end=lambda row, model: epochs.append(row["epoch"]))
    assert epochs == [1, 2]


def test_a_metric_that_gives_no_dict_is_named():
    with pytest.raises(TypeError, match=r"`metric.compute\(\)` must return a dict .* got int"):
        run_with(metric=CountsOnly())


def test_a_metric_without_validation_is_warned_of():
    printed = io.StringIO()
    run_with(val_loader=None, log=Log(printed))
    assert "`metric` has nothing to measure without `val_loader`" in printed.getvalue()
