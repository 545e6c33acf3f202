import pytest
import torch

from sightline.models import ResNet, create_model, resnet18, resnet20


def parameter_count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_resnet18_has_the_published_parameter_count():
    assert parameter_count(resnet18(1000)) == 11_689_512


def test_resnet20_has_the_published_parameter_count():
    assert parameter_count(resnet20(10)) == 269_722


def test_resnet18_names_its_weights_as_common_checkpoints_do():
    names = set(resnet18(10).state_dict())
    block = [f"{conv}.weight" for conv in ("conv1", "conv2")]
    for norm in ("bn1", "bn2"):
        block += [
            f"{norm}.{field}"
            for field in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        ]
    assert {f"layer3.1.{name}" for name in block} <= names
    assert {"conv1.weight", "bn1.running_mean", "fc.weight", "fc.bias"} <= names
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var"} <= names
    assert len(names) == 122


@pytest.mark.parametrize(
    ("model", "strides"), [(resnet18(2), (4, 8, 16, 32)), (resnet20(2), (1, 2, 4))]
)
def test_features_have_the_stated_strides_and_channels(model, strides):
    maps = model.eval().features(torch.zeros(1, 3, 64, 96))
    assert tuple(maps) == strides
    for stride, x in maps.items():
        assert x.shape == (1, model.feature_channels[stride], 64 // stride, 96 // stride)


@pytest.mark.parametrize("name", ["resnet18", "resnet20"])
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_of_the_logits_in_either_mode(name, training):
    model = create_model(name, 5).train(training)
    images = torch.randn(2, 3, 32, 32)
    logits = model(images)
    assert logits.shape == (2, 5)
    losses = model.loss(logits, torch.tensor([0, 4]))
    assert list(losses) == ["class_loss"]
    assert losses["class_loss"].shape == () and torch.isfinite(losses["class_loss"])


def test_loss_reaches_every_parameter():
    model = resnet20(3)
    logits = model(torch.randn(2, 3, 16, 16))
    model.loss(logits, torch.tensor([0, 2]))["class_loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_loss_is_cross_entropy_of_the_logits():
    model = resnet20(3, label_smoothing=0.1).eval()
    images = torch.randn(4, 3, 16, 16)
    labels = torch.tensor([0, 1, 2, 1])
    logits = model(images)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(model.loss(logits, labels)["class_loss"], expected)


def test_one_batch_is_overfitted():
    torch.manual_seed(0)
    model = resnet20(4, width=8)
    images, targets = torch.randn(4, 3, 16, 16), torch.arange(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        loss = model.loss(model(images), targets)["class_loss"]
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_same_seed_gives_the_same_weights_and_state_dict_round_trips():
    def build(seed):
        torch.manual_seed(seed)
        return resnet20(3)

    first, again, other = build(0), build(0), build(1)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(first.eval()(images), other.eval()(images))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(images), other.eval()(images))


def test_one_hot_targets_give_the_loss_of_labels_and_soft_ones_their_mean():
    model = create_model("resnet20", 3)
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    losses = [model.loss(logits, torch.tensor(labels))["class_loss"] for labels in ([0, 2], [1, 1])]
    one_hot = torch.eye(3)[[0, 2]], torch.eye(3)[[1, 1]]
    torch.testing.assert_close(model.loss(logits, one_hot[0])["class_loss"], losses[0])
    blend = model.loss(logits, 0.75 * one_hot[0] + 0.25 * one_hot[1])["class_loss"]
    torch.testing.assert_close(blend, 0.75 * losses[0] + 0.25 * losses[1])


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.tensor([0, 3]), ValueError, r"`targets\[1\]` must be in 0..2 for 3 classes, got 3"),
        (
            torch.tensor([[0.5, 0.5, 0], [0.5, 0.6, 0]]),
            ValueError,
            r"`targets\[1\]` must hold prob",
        ),
        (torch.tensor([[1.5, -0.5, 0], [0, 1, 0]]), ValueError, r"targets\[0\]` must hold"),
        (torch.tensor([-1, 0]), ValueError, r"`targets\[0\]` must be in 0..2"),
        (torch.tensor([0]), ValueError, r"one label per image, got torch.int64 of shape \[1\]"),
        (torch.tensor([0, 1.0]), ValueError, r"must be integers of shape \[2\], .* torch.float32"),
        (torch.zeros(2, 1, dtype=torch.int64), ValueError, r"of shape \[2\], .* shape \[2, 1\]"),
        ([{"label": torch.tensor(0)}] * 2, TypeError, r"tensor .* int64 \[2\], got list"),
    ],
)
def test_bad_target_is_named(targets, error, message):
    model = resnet20(3)
    with pytest.raises(error, match=message):
        model.loss(model(torch.zeros(2, 3, 16, 16)), targets)


def test_bad_images_and_settings_are_named():
    model = resnet20(3)
    with pytest.raises(ValueError, match=r"\[B, 3, H, W\], got \[2, 1, 16, 16\]"):
        model(torch.zeros(2, 1, 16, 16))
    with pytest.raises(TypeError, match=r"floating point.*uint8"):
        model(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match="`label_smoothing` must be in"):
        resnet20(3, label_smoothing=1.0)
    trunk = ResNet((1,), (8,), num_classes=0, stem="small")
    with pytest.raises(ValueError, match="has no logits"):
        trunk(torch.zeros(1, 3, 8, 8))
