import pytest
import torch
from torch.optim import lr_scheduler

from sightline.train import SCHEDULES, Schedule, make_schedule


def optimizer(lr=0.5):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(schedule, optimizer, epochs, steps, monitored=0.0):
    seen = []
    for _ in range(epochs):
        for _ in range(steps):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        schedule.end_epoch(monitored)
    return seen


PEERS = {
    "constant": (lambda o: lr_scheduler.ConstantLR(o, 1.0), {}),
    "step": (lambda o: lr_scheduler.StepLR(o, 2, 0.3), {"step_epochs": 2, "gamma": 0.3}),
    "multi-step": (
        lambda o: lr_scheduler.MultiStepLR(o, [1, 4], 0.3),
        {"milestones": [1, 4], "gamma": 0.3},
    ),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.8), {"gamma": 0.8}),
    "cosine": (lambda o: lr_scheduler.CosineAnnealingLR(o, 6, 0.05), {"final_factor": 0.1}),
}


@pytest.mark.parametrize("name", PEERS)
def test_rates_at_epoch_starts_equal_those_of_torch(name):
    ours, theirs = optimizer(), optimizer()
    make_peer, options = PEERS[name]
    schedule = make_schedule(ours, name, epochs=6, steps_per_epoch=3, **options)
    peer = Schedule(make_peer(theirs), every="epoch")
    assert rates(schedule, ours, 6, 3)[::3] == pytest.approx(rates(peer, theirs, 6, 3)[::3])


def test_one_cycle_equals_torch_at_every_step():
    # torch stretches the cycle so that its last step reaches the final rate; ours ends one later.
    ours, theirs = optimizer(), optimizer()
    options = {"initial_factor": 0.04, "final_factor": 0.001, "peak": 0.3}
    schedule = make_schedule(ours, "one-cycle", epochs=1, steps_per_epoch=100, **options)
    peer = lr_scheduler.OneCycleLR(
        theirs, 0.5, total_steps=101, div_factor=25, final_div_factor=40, cycle_momentum=False
    )
    ours_rates = rates(schedule, ours, 1, 100)
    theirs_rates = rates(Schedule(peer, every="step"), theirs, 1, 100)
    assert ours_rates == pytest.approx(theirs_rates, abs=0.5 * 0.03)
    assert max(ours_rates) == pytest.approx(0.5) and ours_rates[0] == pytest.approx(0.02)
    assert ours_rates[-1] < 0.005


def test_warmup_grows_linearly_and_then_leaves_the_schedule_alone():
    ours = optimizer(1.0)
    schedule = make_schedule(ours, "constant", epochs=4, steps_per_epoch=4, warmup_epochs=1)
    assert rates(schedule, ours, 4, 4) == pytest.approx([0.2, 0.4, 0.6, 0.8] + [1.0] * 12)


def test_plateau_drops_after_patience_and_warms_up_first():
    ours = optimizer(1.0)
    schedule = make_schedule(
        ours, "plateau", epochs=6, steps_per_epoch=2, warmup_epochs=1, gamma=0.1, patience=1
    )
    seen = rates(schedule, ours, 6, 2, monitored=1.0)
    assert seen == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("name", SCHEDULES)
def test_state_goes_on_where_it_was(name):
    options = {"epochs": 6, "steps_per_epoch": 3, "warmup_epochs": 1, "milestones": [2]}
    whole = optimizer()
    expected = rates(make_schedule(whole, name, **options), whole, 6, 3)
    first = optimizer()
    schedule = make_schedule(first, name, **options)
    seen = rates(schedule, first, 2, 3)
    second = optimizer()
    resumed = make_schedule(second, name, **options)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert seen + rates(resumed, second, 4, 3) == expected


def test_unknown_name_and_bad_lengths_are_named():
    with pytest.raises(ValueError, match=r"schedule must be one of constant, .*got 'cosin'"):
        make_schedule(optimizer(), "cosin", epochs=1, steps_per_epoch=1)
    with pytest.raises(ValueError, match="`epochs` and `steps_per_epoch` must be >= 1, got 0"):
        make_schedule(optimizer(), "cosine", epochs=0, steps_per_epoch=1)
    with pytest.raises(ValueError, match=r"`warmup_epochs` must be in \[0, 3\), got 3"):
        make_schedule(optimizer(), "cosine", epochs=3, steps_per_epoch=1, warmup_epochs=3)
    with pytest.raises(ValueError, match="`every` must be 'step' or 'epoch', got 'batch'"):
        Schedule(lr_scheduler.ConstantLR(optimizer(), 1.0), every="batch")
