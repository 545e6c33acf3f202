"""Steps: what one batch does, and what `fit` asks of it."""

import doctest
from collections import namedtuple

import pytest
import torch
from torch import nn

from sightline.data import Sample
from sightline.losses import Terms
from sightline.metrics import AccuracyEvaluator, DetectionEvaluator
from sightline.train import (
    EMA,
    Log,
    Progress,
    Schedule,
    Step,
    SupervisedStep,
    call_with_targets,
    evaluate,
    fit,
)
from sightline.train import step as step_module
from sightline.train.metric import as_metric
from sightline.train.terms import TermsMeter, check_terms

from .run_bits import bits, results_without_times
from .toy import ToyClassifier, batches_of, toy_loaders, toy_run

BATCHES = batches_of(6)
QUIET = Log(quiet=True)


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr)


def supervised(model=None, **options):
    model = model or linear()
    return SupervisedStep(model, sgd(model), **{"loss": nn.CrossEntropyLoss(), **options})


class Contrast(Step):
    """A step of one's own: two optimizers, noise from torch's generator, losses and a log."""

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        self.model, self.scale = nn.Linear(4, 3), nn.Linear(3, 3)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.other = torch.optim.SGD(self.scale.parameters(), lr=0.05, momentum=0.9)

    def __call__(self, batch, progress):
        noisy = batch.inputs + 0.1 * torch.randn_like(batch.inputs)
        outputs = self.scale(self.model(noisy))
        terms = Terms(
            {"fit": nn.functional.cross_entropy(outputs, batch.targets)},
            {"right": (outputs.argmax(1) == batch.targets).float().mean(), "step": progress.batch},
        )
        for optimizer in (self.optimizer, self.other):
            optimizer.zero_grad()
        terms.total.backward()
        for optimizer in (self.optimizer, self.other):
            optimizer.step()
        return terms

    def validate(self, batch):
        outputs = self.model(batch.inputs)
        return Terms({"fit": nn.functional.cross_entropy(outputs, batch.targets)}), outputs


def train(step, epochs=3, **options):
    return fit(step, BATCHES, val_loader=BATCHES[:2], epochs=epochs, log=QUIET, **options)


def test_a_step_of_ones_own_trains_validates_and_logs():
    history = train(Contrast(), metric=AccuracyEvaluator())
    assert history.column("train/loss")[-1] < history.column("train/loss")[0]
    assert history.column("train/step") == [2.5] * 3  # mean over batches 1 to 4
    assert 0 < history.rows[-1]["train/right"] <= 1
    assert history.rows[0]["lr"] == 0.05 and history.monitor == "val/accuracy"


def test_a_step_of_ones_own_resumes_to_the_same_bits(tmp_path):
    train(Contrast(), out=tmp_path / "whole")
    train(Contrast(), epochs=1, out=tmp_path / "parts")
    train(Contrast(seed=9), out=tmp_path / "parts", resume=True)
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    whole = results_without_times(tmp_path / "whole")
    assert results_without_times(tmp_path / "parts") == whole


def test_a_log_may_be_monitored_where_its_mode_is_said():
    history = train(Contrast(), monitor="train/right", mode="max")
    assert history.monitor == "train/right"
    with pytest.raises(ValueError, match="whether a larger 'train/right' is better: give mode="):
        train(Contrast(), monitor="train/right")


def test_a_module_and_its_step_train_to_the_same_bits():
    by_module = toy_run(2)
    fit(**by_module)
    run = toy_run(2)
    own = ("model", "optimizer", "schedule", "ema", "clip_norm")
    model, optimizer, schedule, ema, clip_norm = (run.pop(name) for name in own)
    step = SupervisedStep(model, optimizer, schedule=schedule, ema=ema, clip_norm=clip_norm)
    fit(step, **run)
    wanted = by_module["model"].state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("beside", [{"optimizer": sgd(linear())}, {"loss": nn.MSELoss()}])
def test_what_a_step_has_is_refused_beside_it(beside):
    (name,) = beside
    with pytest.raises(TypeError, match=rf"`{name}` cannot be given .* to SupervisedStep\(\.\.\."):
        train(supervised(), **beside)


def test_an_unknown_argument_names_the_nearest():
    with pytest.raises(TypeError, match=r"unexpected argument 'metrics'.* did you mean 'metric'"):
        train(supervised(), metrics=AccuracyEvaluator())
    with pytest.raises(TypeError, match="a module trains with `optimizer`"):
        train(linear(), loss=nn.CrossEntropyLoss())


def test_what_a_step_or_a_terms_function_must_return_is_said():
    class Silent(Contrast):
        def __call__(self, batch, progress):
            super().__call__(batch, progress)

    with pytest.raises(TypeError, match=r"Silent\(batch, progress\) must return .* got NoneType"):
        train(Silent())
    alone = supervised(loss=None, terms=lambda model, x, y: model(x).square().mean())
    with pytest.raises(TypeError, match=r"`terms` must return a pair, .* got Tensor"):
        train(alone)
    with pytest.raises(NotImplementedError, match=r"Step must define __call__\(batch, progress\)"):
        Step()(None, None)


def test_a_part_with_a_name_of_fits_own_is_refused():
    step = Contrast()
    step.best = sgd(linear())
    with pytest.raises(ValueError, match=r"Contrast.parts\(\) has 'best'"):
        train(step)


# Updates.


class Overflowing(nn.Module):
    """A loss whose gradient is infinite in some calls, as that of float16 may be."""

    def __init__(self, calls):
        super().__init__()
        self.calls, self.seen = calls, 0

    def forward(self, outputs, targets):
        if outputs.requires_grad:
            self.seen += 1
            if self.seen in self.calls:
                outputs.register_hook(lambda gradient: gradient * float("inf"))
        return nn.functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_step_that_float16_skipped_moves_neither_schedule_nor_average(clip_norm):
    model = linear()
    optimizer = sgd(model)
    schedule = Schedule(torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5), every="step")
    ema = EMA(model)
    loss = Overflowing(calls=(1, 3))
    step = SupervisedStep(
        model, optimizer, loss=loss, schedule=schedule, ema=ema, clip_norm=clip_norm
    )
    step.precision.scaler = torch.amp.GradScaler("cpu")
    rates, weights = [], []
    for number, batch in enumerate(BATCHES, start=1):
        step(step.take(batch), Progress(1, 1, number))
        rates.append(step.rates()["lr"])
        weights.append(model.weight.detach().clone())
    assert rates == [0.1, 0.05, 0.05, 0.025]
    assert (schedule.steps, ema.steps) == (2, 2)
    assert torch.equal(weights[1], weights[2]) and not torch.equal(weights[2], weights[3])
    assert all(w.isfinite().all() for w in weights)


def updates_by_hand(groups):
    """Weights after one step of SGD for each group of batches, by the mean loss of each group."""
    model = linear()
    optimizer = sgd(model)
    for group in groups:
        optimizer.zero_grad()
        losses = [nn.functional.cross_entropy(model(x), y) for x, y in group]
        (sum(losses) / len(losses)).backward()
        optimizer.step()
    return model.weight


@pytest.mark.parametrize(
    ("accumulate", "groups"),
    [(1, [[b] for b in BATCHES]), (2, [BATCHES[:2], BATCHES[2:]]), (3, [BATCHES[:3], BATCHES[3:]])],
)
def test_accumulated_batches_and_those_left_over_make_one_update_each(accumulate, groups):
    model = linear()
    optimizer = sgd(model)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    schedule = Schedule(scheduler, every="step")
    step = SupervisedStep(
        model, optimizer, loss=nn.CrossEntropyLoss(), schedule=schedule, accumulate=accumulate
    )
    row = train(step, epochs=1).rows[0]
    torch.testing.assert_close(model.weight, updates_by_hand(groups))
    assert schedule.steps == len(groups)
    assert row["train/loss"] > 0.5  # of whole batches, not of their shares


def test_an_interrupted_accumulation_is_forgotten_and_resumes_to_the_same_bits(tmp_path):
    def run(out, epochs, **options):
        step = supervised(accumulate=3, clip_norm=0.5)
        train(step, epochs=epochs, out=tmp_path / out, **options)
        return step

    run("whole", 3)
    step = run("parts", 1)
    step(step.take(BATCHES[0]), Progress(2, 3, 1))
    step.train(True)
    assert step._held == 0
    run("parts", 3, resume=True)
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    with pytest.raises(ValueError, match="`accumulate` must be >= 1, got 0"):
        supervised(accumulate=0)


def test_logs_are_averaged_and_never_minimised():
    def terms(model, inputs, targets):
        outputs = model(inputs)
        return Terms(
            {"class": nn.functional.cross_entropy(outputs, targets)},
            {"size": 1e3 * outputs.square().mean(), "one": 1},
        ), outputs

    shown, plain = linear(), linear()
    history = train(supervised(shown, loss=None, terms=terms), epochs=2)
    train(supervised(plain), epochs=2)
    assert torch.equal(shown.weight, plain.weight)
    row = history.rows[0]
    assert row["train/one"] == row["val/one"] == 1
    assert row["train/size"] > row["train/loss"] and "train/class_loss" not in row


def test_a_log_is_averaged_over_the_batches_that_have_it():
    meter = TermsMeter()
    for logs, images in (({"a": 1.0}, 2), ({}, 5), ({"a": 4.0}, 1)):
        meter.add(Terms({"loss": torch.tensor(2.0)}, logs), images)
    assert meter.columns("train") == {"train/loss": 2.0, "train/a": 2.0}


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (Terms({"a": torch.ones(())}, {"a": 1}), "'a' is both a loss and a log in here"),
        (Terms({"a": torch.ones(())}, {"loss": 1}), "'loss' cannot be one of 'a', 'loss'"),
    ],
)
def test_names_that_make_one_column_are_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        check_terms(terms, where="here")


def test_a_log_with_the_column_of_a_loss_is_refused():
    meter = TermsMeter()
    losses = {"a": torch.ones(()), "b": torch.ones(())}
    meter.add(check_terms(Terms(losses, {"a_loss": 1}), where="here"), 1)
    with pytest.raises(ValueError, match="'a_loss' and a loss both make the column train/a_loss"):
        meter.columns("train")


def test_terms_that_are_no_scalars_are_named():
    with pytest.raises(TypeError, match=r"loss term 'a' must be a scalar tensor, got \[2\] in"):
        check_terms({"a": torch.ones(2)}, where="here")
    with pytest.raises(TypeError, match="log 'b' must be a scalar tensor, got str in here"):
        check_terms(Terms({"a": torch.ones(())}, {"b": "x"}), where="here")
    with pytest.raises(TypeError, match="must return a dict of loss terms, got dict in here"):
        check_terms({}, where="here")


# Validation.

Outputs = namedtuple("Outputs", ["logits", "calls"])


class WithMethods(nn.Module):
    """A model with a loss and predictions of its own, as our detectors are."""

    def __init__(self):
        super().__init__()
        self.head, self.calls = linear(), []

    def forward(self, inputs):
        self.calls.append(self.training)
        return Outputs(self.head(inputs), len(self.calls))

    def loss(self, outputs, targets):
        return {"class": nn.functional.cross_entropy(outputs.logits, targets)}

    def predictions(self, outputs):
        return outputs.logits.argmax(1)


class Seen:
    """A metric that keeps what it is given."""

    def __init__(self):
        self.directions = {"count": "max"}

    def reset(self):
        self.given = []

    def update(self, outputs, targets, samples):
        self.given.append((outputs, targets, samples))

    def compute(self):
        return {"count": len(self.given)}


def test_a_metric_is_given_predictions_targets_and_samples_from_one_forward_pass():
    model, metric = WithMethods(), Seen()
    batches = [(inputs, targets, [f"{i}" for i in range(6)]) for inputs, targets in BATCHES]
    history = fit(
        model,
        batches,
        val_loader=batches[:2],
        optimizer=sgd(model),
        epochs=1,
        metric=metric,
        monitor="val/count",
        log=QUIET,
    )
    assert model.calls == [True] * 4 + [False] * 2
    outputs, targets, samples = metric.given[1]
    assert torch.equal(outputs, model.predictions(model(BATCHES[1][0])))
    assert torch.equal(targets, BATCHES[1][1]) and samples == ["0", "1", "2", "3", "4", "5"]
    assert history.rows[0]["val/count"] == 2 and "val/loss" in history.rows[0]
    assert [seen[2] for seen in metric.given] == [list("012345")] * 2


def test_images_of_a_detection_metric_are_named_by_the_samples():
    targets = [{"boxes": torch.tensor([[0.0, 0, 4, 4]]), "labels": torch.tensor([0])}] * 2
    found = [target | {"scores": torch.ones(1)} for target in targets]
    named = [Sample(i, f"image {i}", (4, 4), None) for i in range(2)]
    evaluator = DetectionEvaluator()
    metric = as_metric(evaluator)
    metric.update(found, targets, named)
    assert metric.compute()["AP"] == pytest.approx(1)
    with pytest.raises(ValueError, match="'image 1' was added before"):
        evaluator.update("image 1", found[1], targets[1])


def test_an_averaged_model_is_validated_by_its_own_loss():
    class Scaled(WithMethods):
        """A loss that depends on a weight of the model."""

        def loss(self, outputs, targets):
            return self.head.bias.sum() + 0 * outputs.logits.sum()

    model = Scaled()
    ema = EMA(model, decay=0.9)
    history = train(supervised(model, loss=None, ema=ema), epochs=1)
    average = float(ema.model.head.bias.detach().sum())
    assert history.rows[0]["val/loss"] == pytest.approx(average)
    assert average != pytest.approx(float(model.head.bias.detach().sum()))


def test_a_metric_of_two_arguments_is_called_as_before():
    class Two(Seen):
        def update(self, predictions, targets, weight=1.0):
            assert weight == 1.0
            self.given.append(len(targets))

    metric = Two()
    evaluate(linear(), BATCHES, metric=metric, losses=False)
    assert metric.given == [6] * 4


@pytest.mark.parametrize(("metric", "calls"), [(None, 2), (AccuracyEvaluator(), 4)])
def test_only_a_module_called_with_targets_is_validated_twice(metric, calls):
    run, seen = toy_run(1), []
    run["model"].register_forward_hook(lambda module, *_: seen.append(module.training))
    loader = toy_loaders()[1]
    evaluate(run["model"], list(loader)[:2], terms=call_with_targets, metric=_labels(metric))
    assert seen == [False] * calls


def _labels(metric):
    if metric is None:
        return None
    update = metric.update
    metric.update = lambda outputs, targets: update(outputs, [t["label"] for t in targets])
    return metric


def test_a_loss_held_by_a_module_is_no_method_of_it():
    class Holder(ToyClassifier):
        def __init__(self):
            super().__init__()
            self.loss = nn.MSELoss()

    row = evaluate(Holder(), toy_loaders()[1])
    assert {"val/class_loss", "val/size_loss"} <= row.keys()


def test_a_loss_that_is_a_module_is_validated_in_evaluation_mode():
    class Mode(nn.Module):
        def forward(self, outputs, targets):
            loss = nn.functional.cross_entropy(outputs, targets)
            return {"class": loss, "training": 0 * loss + float(self.training)}

    loss = Mode()
    row = train(supervised(loss=loss), epochs=1).rows[0]
    assert (row["train/training_loss"], row["val/training_loss"]) == (1, 0)
    assert loss.training


def test_the_earlier_name_of_metric_is_taken():
    options = {"loss": nn.CrossEntropyLoss()}
    row = evaluate(linear(), BATCHES, evaluator=AccuracyEvaluator(), **options)
    assert row == evaluate(linear(), BATCHES, metric=AccuracyEvaluator(), **options)
    assert train(supervised(), evaluator=AccuracyEvaluator()).monitor == "val/accuracy"
    with pytest.raises(TypeError, match="`evaluator` is the earlier name of `metric`"):
        train(supervised(), evaluator=AccuracyEvaluator(), metric=AccuracyEvaluator())


def test_a_step_without_a_loss_to_validate_by_needs_a_metric():
    class Blind(Contrast):
        def validate(self, batch):
            return Step.validate(self, batch)

    row = evaluate(Blind(), BATCHES, metric=AccuracyEvaluator())
    assert list(row) == ["val/accuracy"]
    with pytest.raises(TypeError, match="no losses in evaluation mode: give a `metric`"):
        evaluate(Blind(), BATCHES)


# Random numbers.


def test_terms_are_given_random_numbers_that_depend_on_the_batch_alone():
    def noisy(model, inputs, targets, generator):
        outputs = model(inputs + torch.randn(inputs.shape, generator=generator))
        return nn.functional.cross_entropy(outputs, targets), outputs

    def run(disturb):
        step = supervised(loss=None, terms=noisy)
        rows = train(step, epochs=2, on_epoch_end=lambda row, model: disturb()).rows
        return step.network.weight, [row["val/loss"] for row in rows]

    before = torch.get_rng_state()
    quiet, _ = run(lambda: None)
    disturbed, losses = run(lambda: torch.randn(7))
    assert torch.equal(quiet, disturbed)
    still = supervised(linear(), loss=None, terms=noisy)
    first, second = evaluate(still, BATCHES), evaluate(still, BATCHES)
    assert first == second and losses[0] != losses[1]
    torch.set_rng_state(before)


def test_loss_and_terms_exclude_each_other():
    with pytest.raises(TypeError, match="`loss` and `terms` exclude each other"):
        supervised(terms=call_with_targets)
    with pytest.raises(TypeError, match=r"`terms` must be a function .* got str"):
        supervised(loss=None, terms="call_with_targets")


def test_examples():
    assert doctest.testmod(step_module).failed == 0
