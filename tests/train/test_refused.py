"""Mistakes in steps, losses, metrics and arguments, which would otherwise train something else."""

import io

import pytest
import torch
from torch import nn

from sightline.losses import Terms
from sightline.metrics import AccuracyEvaluator
from sightline.train import EMA, AdversarialStep, Batch, Log, Player, Step, SupervisedStep, fit
from sightline.train.precision import Precision

from .run_bits import bits

LABELS = torch.arange(12) % 3
INPUTS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)) + LABELS[:, None]
BATCHES = [(INPUTS[i : i + 6], LABELS[i : i + 6]) for i in (0, 6)]


def sgd(*models):
    return torch.optim.SGD([p for model in models for p in model.parameters()], lr=0.1)


def train(model=None, *, epochs=1, val_loader=BATCHES, log=None, **options):
    model = model or nn.Linear(4, 3)
    if not isinstance(model, Step):
        options = {"optimizer": sgd(model), "loss": nn.CrossEntropyLoss(), **options}
    log = log or Log(quiet=True)
    return fit(model, BATCHES, val_loader=val_loader, epochs=epochs, log=log, **options)


class Noisy(Step):
    """A step with a generator of its own."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Linear(4, 3)
        self.optimizer = sgd(self.model)
        self.noise = torch.Generator().manual_seed(1)

    def __call__(self, batch, progress):
        inputs = batch.inputs + torch.randn(batch.inputs.shape, generator=self.noise)
        loss = nn.functional.cross_entropy(self.model(inputs), batch.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def adversarial(**change):
    generator, discriminator = nn.Linear(2, 4), nn.Linear(4, 1)
    return AdversarialStep(
        Player(generator, sgd(generator), torch.mean),
        Player(discriminator, sgd(discriminator), lambda real, _: real.mean()),
        **{"latent_shape": (2,), **change},
    )


class Measured:
    """A metric with one number."""

    def __init__(self, name="right", value=0.5, directions=None):
        self.name, self.value, self.directions = name, value, directions

    def reset(self):
        pass

    def update(self, outputs, targets):
        pass

    def compute(self):
        return {self.name: self.value}


def with_log(outputs, targets):
    return Terms({"fit": nn.functional.cross_entropy(outputs, targets)}, {"right": 0.5})


# Steps.


def test_a_generator_of_a_step_resumes_to_the_same_bits(tmp_path):
    train(Noisy(), epochs=2, out=tmp_path / "whole", val_loader=None)
    train(Noisy(), epochs=1, out=tmp_path / "parts", val_loader=None)
    train(Noisy(), epochs=2, out=tmp_path / "parts", val_loader=None, resume=True)
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")


def test_parts_without_the_model_are_refused_as_they_would_resume_an_untrained_one():
    class Forgetful(Noisy):
        def parts(self):
            return {"optimizer": self.optimizer}

    class Extended(Noisy):
        def parts(self):
            return super().parts() | {"schedule": 3}

    with pytest.raises(TypeError, match=r"Forgetful.parts\(\) lacks the model, .*super\(\)"):
        train(Forgetful(), val_loader=None)
    with pytest.raises(TypeError, match=r"'schedule', which is no torch.Generator and lacks .*int"):
        train(Extended(), val_loader=None)


def test_what_validate_must_return_is_said():
    class Outputs(Noisy):
        def validate(self, batch):
            return self.model(batch.inputs[:2])  # would be unpacked to two rows

    with pytest.raises(TypeError, match=r"Outputs.validate\(batch\) must return a pair.*Tensor"):
        train(Outputs(), metric=AccuracyEvaluator())


@pytest.mark.parametrize("step", [Noisy(), adversarial()])
@pytest.mark.parametrize("monitor", [None, "train/loss"])
def test_a_validation_without_losses_needs_a_metric(step, monitor, tmp_path):
    with pytest.raises(TypeError, match=f"{type(step).__name__} has no losses in validation"):
        train(step, monitor=monitor, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        ValueError, match=r"'val/right_loss' is not among \['train/loss', 'val/accuracy'\]"
    ):
        train(step, monitor="val/right_loss", metric=AccuracyEvaluator())


def test_a_step_without_validate_computes_outputs_in_its_precision():
    step = Noisy()
    step.precision = Precision("bf16")
    _, outputs = step.validate(Batch(*BATCHES[0]))
    assert outputs.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("model", "got"), [("resnet18", "str"), (SupervisedStep, "the class SupervisedStep")]
)
def test_what_is_neither_a_step_nor_a_module_is_refused(model, got):
    with pytest.raises(TypeError, match=f"`model` must be a torch.nn.Module or .*Step, got {got}"):
        fit(model, BATCHES, epochs=1)


def test_a_step_without_a_model_is_refused():
    class Bare(Noisy):
        def __init__(self):
            self.nets = {}

    with pytest.raises(TypeError, match=r"Bare must set `model`, .* super\(\).__init__"):
        train(Bare())


@pytest.mark.parametrize("accumulate", [1.5, 2.0])
def test_a_part_of_a_batch_cannot_be_accumulated(accumulate):
    with pytest.raises(TypeError, match="`accumulate` must be an integer"):
        train(accumulate=accumulate)


def test_an_average_of_another_model_is_refused():
    other = r"averages another model, of which 'weight' \[2, 4\] does not fit"
    with pytest.raises(ValueError, match=other):
        train(ema=EMA(nn.Linear(4, 2)))
    with pytest.raises(ValueError, match=other):
        fit(adversarial(ema=EMA(nn.Linear(4, 2))), [INPUTS], epochs=1, log=Log(quiet=True))
    with pytest.raises(ValueError, match=r"of which '0\.weight'"):
        EMA(nn.Sequential(nn.Linear(4, 3))).step(nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"critic_steps": 1.5}, "`critic_steps` must be an integer"),
        ({"latent_shape": 2}, r"`latent_shape` must be a shape such as \(64,\), got 2"),
    ],
)
def test_arguments_of_an_adversarial_step_are_named(change, message):
    with pytest.raises(TypeError, match=message):
        adversarial(**change)


def test_what_is_called_after_an_epoch_must_be_a_function():
    with pytest.raises(TypeError, match="`on_epoch_end` must hold functions, got int"):
        train(on_epoch_end=3)


# Losses.


def test_a_log_of_a_loss_may_be_monitored():
    assert train(loss=with_log, monitor="val/right", mode="max").best_value == 0.5


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda outputs, targets: {}, TypeError, "no loss among the terms in epoch 1, step 1"),
        (
            lambda outputs, targets: outputs.mean().detach(),
            ValueError,
            "the loss depends on no parameter that is trained",
        ),
    ],
)
def test_a_loss_that_trains_nothing_is_refused(loss, error, message):
    with pytest.raises(error, match=message):
        train(loss=loss)


def test_a_module_that_returns_outputs_is_told_of_loss():
    class Masked(nn.Linear):
        def forward(self, inputs, mask=None):
            return super().forward(inputs)

    with pytest.raises(TypeError, match=r"dict of loss terms, got Tensor .* trains with `loss`"):
        train(Masked(4, 3), loss=None)


def test_parameters_of_a_loss_that_the_optimizer_lacks_are_warned_of():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, outputs, targets):
            return nn.functional.cross_entropy(self.scale * outputs, targets)

    said = {}
    for trained in (True, False):
        model, loss, printed = nn.Linear(4, 3), Scaled(), io.StringIO()
        optimizer = sgd(model, loss) if trained else sgd(model)
        train(model, loss=loss, optimizer=optimizer, log=Log(printed))
        said[trained] = "`loss` has parameters that `optimizer` lacks" in printed.getvalue()
    assert said == {True: False, False: True}


# Metrics.


@pytest.mark.parametrize(
    ("metric", "loss", "column"),
    [
        (Measured("loss"), nn.CrossEntropyLoss(), "val/loss"),
        (Measured("right"), with_log, "val/right"),
    ],
)
def test_a_metric_does_not_replace_a_column(metric, loss, column):
    with pytest.raises(ValueError, match=f"both make the column {column}"):
        train(metric=metric, loss=loss)


def test_a_metric_that_gives_no_number_is_named():
    with pytest.raises(TypeError, match="must return numbers, got NoneType for 'right'"):
        train(metric=Measured(value=None))


@pytest.mark.parametrize("directions", ["max", ["right"], {"right": "up"}, {"val/right": "max"}])
def test_directions_in_another_form_are_shown(directions):
    with pytest.raises(ValueError, match="`directions` of the metric must be a dict of a name"):
        train(metric=Measured(directions=directions))


@pytest.mark.parametrize("monitor", ["val/rigth", "right"])
def test_a_monitor_without_direction_is_told_of_a_similar_column(monitor):
    with pytest.raises(ValueError, match=r"cannot tell whether .*; did you mean 'val/right'"):
        train(metric=Measured(directions={"right": "max"}), monitor=monitor)
