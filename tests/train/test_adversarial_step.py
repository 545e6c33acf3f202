"""AdversarialStep: two networks, two optimizers, one loop."""

import pytest
import torch
from torch import nn

from sightline.losses import Terms
from sightline.train import EMA, AdversarialStep, Log, Player, Progress, Schedule, fit
from sightline.train.batches import Batch
from sightline.train.step import batch_generator

from .run_bits import bits, results_without_times

HERE = Progress(epoch=2, epochs=5, batch=3)
CPU = torch.device("cpu")
REAL = torch.randn(24, 2, generator=torch.Generator().manual_seed(0)) + 3
BATCHES = [REAL[i : i + 8] for i in range(0, 24, 8)]


def one_weight(start):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, start)
    return model


def sgd(model, lr=0.5):
    return torch.optim.SGD(model.parameters(), lr=lr)


def critic_loss(real, generated):
    return generated.mean() - real.mean()


def generator_loss(generated):
    return -generated.mean()


def two_weights(**options):
    """Generator 3 z and discriminator 1 x, whose gradients are worked by hand."""
    generator, discriminator = one_weight(3.0), one_weight(1.0)
    step = AdversarialStep(
        Player(generator, sgd(generator), generator_loss),
        Player(discriminator, sgd(discriminator), critic_loss),
        latent_shape=(1,),
        **options,
    )
    return step, generator.weight, discriminator.weight


def latents(count, progress=HERE, seed=0):
    random = batch_generator(CPU, seed, progress)
    return [float(torch.randn(1, 1, generator=random)) for _ in range(count)]


def values(terms):
    return {name: float(value) for name, value in terms.losses.items()}


def test_one_batch_moves_both_weights_as_worked_by_hand():
    step, generator, discriminator = two_weights()
    terms = step(Batch(torch.tensor([[2.0]]), None), HERE)
    first, second = latents(2)
    # The discriminator's loss d (3 z - 2) has the slope 3 z - 2 in d; then the generator's loss
    # -d g z the slope -d z in g.
    d = 1 - 0.5 * (3 * first - 2)
    assert discriminator.item() == pytest.approx(d)
    assert generator.item() == pytest.approx(3 + 0.5 * d * second)
    assert values(terms) == pytest.approx(
        {"generator": -d * 3 * second, "discriminator": 3 * first - 2}
    )


def test_critic_steps_each_meet_newly_generated_pictures():
    step, generator, discriminator = two_weights(critic_steps=3)
    terms = step(Batch(torch.tensor([[2.0]]), None), HERE)
    *critic, last = latents(4)
    d = 1 - 0.5 * sum(3 * z - 2 for z in critic)
    assert discriminator.item() == pytest.approx(d)
    assert generator.item() == pytest.approx(3 + 0.5 * d * last)
    before = d + 0.5 * (3 * critic[-1] - 2)
    assert values(terms)["discriminator"] == pytest.approx(before * (3 * critic[-1] - 2))


def test_neither_update_leaves_a_gradient_in_the_other_network():
    step, generator, discriminator = two_weights()
    followed = []
    step.discriminator.model.register_forward_hook(
        lambda module, inputs, output: followed.append(inputs[0].requires_grad)
    )
    step(Batch(torch.tensor([[2.0]]), None), HERE)
    assert followed == [False, False, True]  # real, generated, and generated for the generator
    assert discriminator.grad.item() == pytest.approx(3 * latents(1)[0] - 2)
    assert discriminator.requires_grad and generator.requires_grad


def test_real_and_generated_are_separate_batches_to_batch_norm():
    generator = one_weight(3.0)
    norm = nn.BatchNorm1d(1)
    discriminator = nn.Sequential(norm, nn.Linear(1, 1))
    step = AdversarialStep(
        Player(generator, sgd(generator), generator_loss),
        Player(discriminator, sgd(discriminator), critic_loss),
        latent_shape=(1,),
    )
    sizes = []
    norm.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    step(Batch(torch.tensor([[2.0], [4.0], [6.0]]), None), HERE)
    assert sizes == [3, 3, 3] and norm.num_batches_tracked == 3


def test_terms_and_logs_bear_the_name_of_their_network():
    generator, discriminator = one_weight(1.0), one_weight(1.0)

    def of_discriminator(real, generated):
        return Terms(
            {"real": -real.mean(), "generated": generated.mean()},
            {"gap": (real - generated).mean()},
        )

    step = AdversarialStep(
        Player(generator, sgd(generator), generator_loss),
        Player(discriminator, sgd(discriminator), of_discriminator),
        latent_shape=(1,),
    )
    history = fit(step, [torch.ones(4, 1)], epochs=1, log=Log(quiet=True))
    assert [name for name in history.rows[0] if "train" in name] == [
        "train/loss",
        "train/generator_loss",
        "train/discriminator_real_loss",
        "train/discriminator_generated_loss",
        "train/discriminator_gap",
    ]


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_nan_is_said_with_the_network_the_epoch_and_the_step(network):
    step, generator, discriminator = two_weights()
    weight = generator if network == "generator" else discriminator

    def hook(module, inputs, output):
        return output * float("nan")

    model = getattr(step, network).model
    model.register_forward_hook(hook)
    with pytest.raises(FloatingPointError, match=r"'discriminator' is nan in epoch 2, step 3"):
        step(Batch(torch.ones(1, 1), None), HERE)
    assert torch.isfinite(weight).all()


def networks(seed=0):
    torch.manual_seed(seed)
    generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Dropout(0.2))
    discriminator.append(nn.Linear(8, 1))
    return generator, discriminator


def logistic(real, generated):
    softplus = nn.functional.softplus
    return {"real": softplus(-real).mean(), "generated": softplus(generated).mean()}


def adversarial(seed=0, **options):
    generator, discriminator = networks(seed)
    g, d = (torch.optim.Adam(model.parameters(), lr=0.02) for model in (generator, discriminator))
    step = AdversarialStep(
        Player(generator, g, generator_loss, torch.optim.lr_scheduler.StepLR(g, 2)),
        Player(
            discriminator,
            d,
            logistic,
            Schedule(torch.optim.lr_scheduler.ExponentialLR(d, 0.99), every="step"),
            clip_norm=1.0,
        ),
        latent_shape=(3,),
        **{"ema": EMA(generator, decay=0.9), "seed": 5, **options},
    )
    return step


class Seen:
    """Keeps the pictures and targets of each validation."""

    monitor = "val/distance"
    directions = {"distance": "min"}  # noqa: RUF012

    def __init__(self):
        self.pictures, self.targets = [], []

    def reset(self):
        self.pictures.append([])

    def update(self, outputs, targets):
        self.pictures[-1].append(outputs)
        self.targets.append(targets)

    def compute(self):
        return {"distance": float((torch.cat(self.pictures[-1]).mean(0) - 3).norm())}


def test_validation_judges_pictures_of_the_same_latents_and_leaves_training_alone():
    plain = adversarial()
    fit(plain, BATCHES, epochs=2, log=Log(quiet=True))
    metric, validated = Seen(), adversarial()
    history = fit(
        validated,
        BATCHES,
        val_loader=[(batch, torch.ones(len(batch))) for batch in BATCHES[:2]],
        metric=metric,
        epochs=2,
        log=Log(quiet=True),
    )
    assert history.monitor == "val/distance" and "val/loss" not in history.rows[0]
    first, second = metric.pictures[-1]
    assert first.shape == (8, 2) and not torch.equal(first, second)
    assert metric.targets[0].tolist() == [1] * 8
    validated.train(False)
    _, again = validated.validate(validated.take(BATCHES[0]))
    assert torch.equal(again, first)
    for name, value in plain.network.state_dict().items():
        assert torch.equal(value, validated.network.state_dict()[name]), name


def test_no_latents_are_drawn_twice():
    step, drawn = adversarial(ema=None), []
    step.network.register_forward_hook(
        lambda module, inputs, output: drawn.append(tuple(inputs[0].flatten().tolist()))
    )
    fit(step, BATCHES, val_loader=BATCHES, metric=Seen(), epochs=2, log=Log(quiet=True))
    trained, validated = set(drawn[:6] + drawn[9:15]), set(drawn[6:9])
    assert len(trained) == 2 * 3 * 2 and len(validated) == 3 and not trained & validated
    assert drawn[15:] == drawn[6:9]


def test_bfloat16_reaches_both_networks():
    step, kinds = adversarial(amp="bf16", ema=None), []
    for network in (step.generator.model, step.discriminator.model):
        network.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    step(step.take(BATCHES[0]), HERE)
    step.train(False)
    step.validate(step.take(BATCHES[0]))
    assert kinds == [torch.bfloat16] * 6


def test_the_average_of_the_generator_is_validated_and_saved():
    step = adversarial()
    fit(step, BATCHES, epochs=1, log=Log(quiet=True))
    assert step.model is step.ema.model and step.network is not step.model
    assert step.ema.steps == 3
    assert not torch.equal(step.model[0].weight, step.network[0].weight)
    assert adversarial(ema=None).model is not None


def test_both_rates_have_columns_and_both_schedules_move():
    history = fit(adversarial(), BATCHES, epochs=3, log=Log(quiet=True))
    assert history.column("lr") == pytest.approx([0.02, 0.02, 0.002])
    rates = [0.02, 0.02 * 0.99**3, 0.02 * 0.99**6]
    assert history.column("discriminator_lr") == pytest.approx(rates)


@pytest.mark.parametrize("form", ["alone", "in a list", "with labels"])
def test_pictures_come_alone_or_with_targets(form):
    batch = {"alone": REAL, "in a list": [REAL], "with labels": (REAL, torch.ones(24))}[form]
    taken = adversarial().take(batch)
    assert torch.equal(taken.inputs, REAL) and (taken.targets is None) == (form != "with labels")


def test_a_run_stopped_and_resumed_has_the_same_bits(tmp_path):
    def stop(row, model):
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    def run(folder, seed=0, **options):
        step = adversarial(seed)
        fit(step, BATCHES, epochs=4, out=folder, log=Log(quiet=True), **options)

    run(tmp_path / "whole")
    run(tmp_path / "parts", on_epoch_end=stop)
    run(tmp_path / "parts", seed=7, resume=True)
    state, files = bits(tmp_path / "whole")
    assert (state, files) == bits(tmp_path / "parts")
    rows = results_without_times(tmp_path / "whole")
    assert rows == results_without_times(tmp_path / "parts") and len(rows) == 4
    assert {"discriminator_model", "discriminator_optimizer", "ema"} <= state["parts"].keys()


def test_what_a_player_lacks_is_named():
    generator, discriminator = networks()
    good = Player(generator, sgd(generator), generator_loss)
    other = Player(discriminator, sgd(discriminator), logistic)
    wrong = [
        ((generator, other), TypeError, r"`generator` must be such as Player\(generator"),
        ((good, Player(discriminator, None, logistic)), TypeError, r"`discriminator\.optimizer`"),
        (
            (good, Player(discriminator, sgd(discriminator), 3)),
            TypeError,
            r"`discriminator\.loss` must be a function, got int",
        ),
        (
            (good, Player(discriminator, sgd(generator), logistic)),
            ValueError,
            "holds no parameter of `model`",
        ),
        (
            (good, Player(discriminator, sgd(discriminator), logistic, clip_norm=0)),
            ValueError,
            r"`discriminator\.clip_norm` must be > 0, got 0",
        ),
    ]
    for players, kind, said in wrong:
        with pytest.raises(kind, match=said):
            AdversarialStep(*players, latent_shape=(3,))
    with pytest.raises(ValueError, match="`critic_steps` must be >= 1, got 0"):
        AdversarialStep(good, other, latent_shape=(3,), critic_steps=0)
