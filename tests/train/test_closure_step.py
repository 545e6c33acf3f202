"""ClosureStep: one batch, evaluated several times as the same function."""

import doctest

import pytest
import torch
from torch import nn

from sightline.losses import Terms
from sightline.train import (
    EMA,
    ClosureStep,
    Log,
    Progress,
    Schedule,
    SupervisedStep,
    closure_step,
    fit,
)
from sightline.train.batches import Batch

from .run_bits import bits, results_without_times
from .toy import INPUTS, LABELS, batches_of

BATCHES = batches_of(8)
HERE = Progress(epoch=2, epochs=5, batch=3)


def half_squared_error(outputs, targets):
    return 0.5 * (outputs - targets).square().mean()


def one_weight(start=0.0):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, start)
    return model


def lbfgs(model, **options):
    return torch.optim.LBFGS(model.parameters(), **options)


class Evaluations(torch.optim.SGD):
    """Evaluates the closure `count` times before it moves."""

    def __init__(self, model, count=3):
        super().__init__(model.parameters(), lr=0.1)
        self.count, self.losses = count, []

    def step(self, closure):
        self.losses = [closure() for _ in range(self.count)]
        super().step()


def test_one_iteration_moves_the_weight_as_worked_by_hand():
    # The loss (w - 4)^2 / 2 has the slope -4 at 0; the first step of L-BFGS is slope / |slope|_1.
    model = one_weight()
    step = ClosureStep(model, lbfgs(model, max_iter=1), loss=half_squared_error)
    terms = step(Batch(torch.ones(1, 1), torch.full((1, 1), 4.0)), HERE)
    assert model.weight.item() == 1
    assert {name: float(value) for name, value in terms.losses.items()} == {"loss": 8}


def test_the_first_evaluation_is_reported_and_the_minimum_reached():
    model = one_weight()
    step = ClosureStep(model, lbfgs(model, line_search_fn="strong_wolfe"), loss=half_squared_error)
    terms = step(Batch(torch.ones(1, 1), torch.full((1, 1), 4.0)), HERE)
    assert model.weight.item() == pytest.approx(4) and float(terms.total) == 8


def test_every_evaluation_drops_the_same_units_and_the_next_batch_others():
    dropped = []

    def loss(outputs, targets):
        dropped.append((outputs == 0).flatten().tolist())
        return outputs.square().mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5))
    step = ClosureStep(model, Evaluations(model), loss=loss)
    for batch in BATCHES[:2]:
        step(Batch(*batch), HERE)
    first, second = dropped[:3], dropped[3:]
    assert first == [first[0]] * 3 and second == [second[0]] * 3 and first[0] != second[0]
    assert len(set(step.optimizer.losses)) == 1

    # The generator stands where one forward pass per batch leaves it.
    after = torch.rand(3)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5))
    for inputs, _ in BATCHES[:2]:
        model(inputs)
    assert torch.equal(after, torch.rand(3))


def test_a_generator_gives_every_evaluation_the_same_noise():
    drawn = []

    def terms(model, inputs, targets, generator):
        drawn.append(float(torch.randn((), generator=generator)))
        return model(inputs).square().mean() + drawn[-1], None

    model = nn.Linear(4, 1)
    step = ClosureStep(model, Evaluations(model), terms=terms)
    step(Batch(*BATCHES[0]), HERE)
    step(Batch(*BATCHES[0]), Progress(epoch=2, epochs=5, batch=4))
    assert len(drawn) == 6 and len(set(drawn)) == 2


def test_running_statistics_are_updated_once():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    step = ClosureStep(model, Evaluations(model, count=5), loss=nn.CrossEntropyLoss())
    step(Batch(*BATCHES[0]), HERE)
    assert model[0].num_batches_tracked == 1
    assert torch.allclose(model[0].running_mean, 0.1 * BATCHES[0][0].mean(0))


def test_running_statistics_are_those_of_the_weights_before_the_step():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    inputs, labels = BATCHES[0]
    mean = model[0](inputs).mean(0).detach()
    step = ClosureStep(model, lbfgs(model), loss=nn.CrossEntropyLoss())
    step(Batch(inputs, labels), HERE)
    assert (model[0](inputs).mean(0) - mean).abs().max() > 0.1  # other weights by now
    assert torch.allclose(model[1].running_mean, 0.1 * mean)


def test_the_average_and_the_schedule_move_once_per_batch():
    model = one_weight()
    optimizer = Evaluations(model)
    schedule = Schedule(torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5), every="step")
    ema = EMA(model)
    step = ClosureStep(model, optimizer, loss=half_squared_error, schedule=schedule, ema=ema)
    step(Batch(torch.ones(1, 1), torch.ones(1, 1)), HERE)
    assert ema.steps == 1 and step.model is ema.model and step.rates() == {"lr": 0.05}


def test_buffers_of_a_loss_are_updated_once():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, outputs, targets):
            self.calls += 1
            return outputs.square().mean()

    model = one_weight(1.0)
    step = ClosureStep(model, Evaluations(model), loss=Counted())
    step(Batch(torch.ones(1, 1), None), HERE)
    assert step.parts()["loss"].calls == 1


def test_nan_is_said_with_the_epoch_and_the_step():
    model = one_weight()
    step = ClosureStep(model, lbfgs(model), loss=lambda outputs, _: outputs.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match="'loss' is nan in epoch 2, step 3"):
        step(Batch(torch.ones(1, 1), None), HERE)


def test_weights_that_are_not_finite_after_the_step_are_named():
    class Diverges(Evaluations):
        def step(self, closure):
            super().step(closure)
            self.param_groups[0]["params"][0].data.fill_(float("inf"))

    model = one_weight()
    step = ClosureStep(model, Diverges(model), loss=half_squared_error)
    with pytest.raises(FloatingPointError, match=r"weight 'weight' is not .* epoch 2, step 3"):
        step(Batch(torch.ones(1, 1), torch.ones(1, 1)), HERE)


def test_a_trial_point_with_an_infinite_loss_is_left_to_the_optimizer():
    class TriesTooFar(Evaluations):
        def step(self, closure):
            weight = self.param_groups[0]["params"][0]
            self.losses = [closure()]
            weight.data.fill_(float("inf"))
            self.losses.append(closure())
            weight.data.fill_(2.0)

    model = one_weight()
    step = ClosureStep(model, TriesTooFar(model), loss=half_squared_error)
    terms = step(Batch(torch.ones(1, 1), torch.full((1, 1), 4.0)), HERE)
    assert float(terms.total) == 8 and step.optimizer.losses == [8, float("inf")]


@pytest.mark.parametrize("amp", ["fp16", "auto", "half"])
def test_float16_is_refused(amp):
    model = one_weight()
    with pytest.raises(ValueError, match=f"must be 'off' or 'bf16' in a ClosureStep, got '{amp}'"):
        ClosureStep(model, lbfgs(model), loss=half_squared_error, amp=amp)


@pytest.mark.parametrize("option", ["clip_norm", "accumulate"])
def test_what_would_change_the_gradients_is_no_argument(option):
    model = one_weight()
    with pytest.raises(TypeError, match=option):
        ClosureStep(model, lbfgs(model), loss=half_squared_error, **{option: 2})


def test_bfloat16_reaches_the_forward_pass():
    seen = []
    model = one_weight()
    step = ClosureStep(
        model,
        Evaluations(model),
        loss=lambda outputs, _: seen.append(outputs.dtype) or outputs.float().sum(),
        amp="bf16",
    )
    step(Batch(torch.ones(1, 1), None), HERE)
    assert seen == [torch.bfloat16] * 3


def test_an_optimizer_that_does_not_evaluate_is_named():
    class Idle(torch.optim.SGD):
        def step(self, closure):
            pass

    model = one_weight()
    step = ClosureStep(model, Idle(model.parameters()), loss=half_squared_error)
    with pytest.raises(TypeError, match=r"Idle\.step\(closure\) did not call the closure"):
        step(Batch(torch.ones(1, 1), torch.ones(1, 1)), HERE)


def test_the_usual_step_sends_an_optimizer_with_a_closure_here():
    model = one_weight()
    with pytest.raises(TypeError, match=r"LBFGS\.step needs a closure.*ClosureStep"):
        SupervisedStep(model, lbfgs(model), loss=half_squared_error)


def run(folder=None, *, seed=0, **options):
    """Dropout, batch norm and a log, trained by L-BFGS, whose memory is a part of its state."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3))

    def terms(model, inputs, targets):
        outputs = model(inputs)
        right = (outputs.argmax(1) == targets).float().mean()
        return Terms(
            {"class": nn.functional.cross_entropy(outputs, targets)}, {"right": right}
        ), outputs

    optimizer = lbfgs(model, max_iter=4, line_search_fn="strong_wolfe")
    return fit(
        ClosureStep(model, optimizer, terms=terms),
        [(INPUTS, LABELS)],
        val_loader=BATCHES[:1],
        epochs=4,
        out=folder,
        log=Log(quiet=True),
        **options,
    )


def test_a_run_stopped_and_resumed_has_the_same_bits(tmp_path):
    def stop(row, model):
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    history = run(tmp_path / "whole")
    assert run(tmp_path / "parts", on_epoch_end=stop).stopped == "interrupted"
    run(tmp_path / "parts", seed=9, resume=True)
    assert bits(tmp_path / "whole") == bits(tmp_path / "parts")
    rows = results_without_times(tmp_path / "whole")
    assert rows == results_without_times(tmp_path / "parts") and len(rows) == 4
    assert {"train/right", "val/right", "lr"} <= rows[0].keys()
    assert history.column("train/loss")[-1] < history.column("train/loss")[0]


def test_the_docstring_runs():
    names = {**vars(closure_step)}
    assert doctest.testmod(closure_step, extraglobs=names).failed == 0
