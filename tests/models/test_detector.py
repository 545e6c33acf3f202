import copy

import pytest
import torch

from sightline.models import AnchorOutputs, create_model

SMALL = {
    "widths": (8, 16, 24, 32),
    "blocks": (0, 0, 1, 0),
    "fpn_channels": 24,
    "anchors": [[(12, 12), (20, 20)], [(32, 32), (48, 24)]],
}


def small_detector(**kwargs):
    torch.manual_seed(0)
    return create_model("light_detector", 3, **{**SMALL, **kwargs})


def losses_of(model, targets):
    return model.loss(model(IMAGES), targets)


def predictions_of(model):
    return model.predictions(model(IMAGES))


def scene(boxes, labels):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


TARGETS = [scene([[4, 4, 20, 22], [30, 30, 62, 60]], [0, 2]), scene([[8, 30, 28, 50]], [1])]
IMAGES = torch.randn(2, 3, 64, 72, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("training", [True, False])
def test_one_forward_pass_has_losses_and_predictions_in_either_mode(training):
    model = small_detector().train(training)
    outputs = model(IMAGES)
    assert isinstance(outputs, AnchorOutputs)
    assert outputs.image_size.tolist() == [64, 72]
    losses = model.loss(outputs, TARGETS)
    assert list(losses) == ["class_loss", "box_loss"]
    for name, value in losses.items():
        assert value.shape == () and value.isfinite() and value > 0, name
    predictions = model.predictions(outputs)
    assert len(predictions) == 2
    for prediction in predictions:
        assert sorted(prediction) == ["boxes", "labels", "scores"]


def test_every_parameter_gets_a_finite_gradient():
    model = small_detector()
    sum(losses_of(model, TARGETS).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_predictions_are_sorted_cut_and_of_known_classes():
    model = small_detector(score_threshold=0.0, max_detections=7).eval()
    for prediction in predictions_of(model):
        boxes, scores, labels = (prediction[key] for key in ("boxes", "scores", "labels"))
        assert boxes.shape == (7, 4) and scores.shape == (7,) and labels.shape == (7,)
        assert labels.dtype == torch.int64 and labels.min() >= 0 and labels.max() < 3
        assert (scores.diff() <= 0).all()
        assert (boxes >= 0).all()
        assert (boxes[:, [0, 2]] <= 72).all() and (boxes[:, [1, 3]] <= 64).all()


def test_nothing_above_the_score_threshold_gives_empty_predictions():
    for prediction in predictions_of(small_detector(score_threshold=0.9).eval()):
        assert prediction["boxes"].shape == (0, 4)
        assert prediction["scores"].shape == prediction["labels"].shape == (0,)


def test_images_without_objects_have_losses():
    model = small_detector()
    losses = losses_of(model, [scene([], []), scene([], [])])
    assert losses["box_loss"] == 0 and losses["class_loss"] > 0
    sum(losses.values()).backward()
    mixed = losses_of(model, [TARGETS[0], scene([], [])])
    assert all(value.isfinite() for value in mixed.values())


def test_objects_follow_their_own_image_in_a_batch():
    # Losses are sums over positives: a batch is the two images apart, weighed by their positives.
    model = small_detector().eval()
    outputs = model(IMAGES)
    flipped = outputs._replace(logits=outputs.logits.flip(0), deltas=outputs.deltas.flip(0))
    swapped = model.loss(flipped, TARGETS[::-1])
    for name, value in model.loss(outputs, TARGETS).items():
        torch.testing.assert_close(swapped[name], value)


def test_perfect_deltas_have_no_box_loss():
    model = small_detector()
    anchors = torch.tensor([[4.0, 4, 24, 24], [100, 100, 120, 120]])
    size = torch.tensor([120, 120])
    outputs = AnchorOutputs(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4), anchors, size)
    losses = model.loss(outputs, [scene([[4, 4, 24, 24]], [1])])
    assert losses["box_loss"].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("box_loss", ["giou", "diou", "ciou"])
def test_two_scenes_are_overfitted(box_loss):
    model = small_detector(box_loss=box_loss, box_weight=2.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    steps = 120
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        optimizer.zero_grad()
        loss = sum(losses_of(model, TARGETS).values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    assert loss < 0.25
    for prediction, target in zip(predictions_of(model), TARGETS, strict=True):
        best = slice(len(target["labels"]))
        order = prediction["labels"][best].argsort()
        wanted = target["labels"].argsort()
        assert torch.equal(prediction["labels"][best][order], target["labels"][wanted])
        assert prediction["scores"][best].min() > 0.4
        torch.testing.assert_close(
            prediction["boxes"][best][order], target["boxes"][wanted], atol=3, rtol=0
        )


def test_same_seed_trains_to_the_same_weights():
    def trained():
        model = small_detector()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
        sum(losses_of(model, TARGETS).values()).backward()
        optimizer.step()
        return model.state_dict()

    again = trained()
    for name, value in trained().items():
        assert torch.equal(value, again[name]), name


def test_state_dict_round_trips():
    model = small_detector()
    other = copy.deepcopy(model)
    model(IMAGES)  # moves the running statistics
    other.load_state_dict(model.state_dict())
    for first, second in zip(*map(predictions_of, (model.eval(), other.eval())), strict=True):
        for key in first:
            assert torch.equal(first[key], second[key])


def test_weights_have_the_names_that_saved_files_hold():
    names = set(small_detector().state_dict())
    convolutions = ["trunk.stages.0.0.conv", "trunk.stages.2.1.conv2"]
    convolutions += [
        f"fpn.{part}.{stride}.conv" for part in ("lateral", "output") for stride in (8, 16)
    ]
    for stride in (8, 16):
        parts = ("tower.0.conv", "class_logits", "box_deltas")
        convolutions += [f"heads.{stride}.{part}" for part in parts]
    assert {f"{name}.weight" for name in convolutions} <= names
    assert len(names) == 80


def test_resnet_trunk_detects_with_the_default_anchors():
    model = create_model("resnet18_detector", 2).eval()
    logits, deltas, anchors, _ = model(torch.zeros(1, 3, 64, 64))
    count = 9 * (8 * 8 + 4 * 4 + 2 * 2)
    assert logits.shape == (1, count, 2) and deltas.shape == (1, count, 4)
    assert anchors.shape == (count, 4)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (scene([[0, 0, 4, 4]], [3]), r"\['labels'\]\[0\]` must be in 0..2 for 3 classes, got 3"),
        (scene([[0, 0, 4, 4]], [-1]), "must be in 0..2 for 3 classes, got -1"),
        (scene([[0, 0, 4, 4]], [0, 1]), r"integers of shape \[1\], one per box"),
        (scene([[9, 0, 4, 4]], [0]), "finite xyxy with x1 <= x2"),
        (scene([[0, 0, float("nan"), 4]], [0]), "finite xyxy"),
        ({"boxes": torch.zeros(2, 5), "labels": torch.zeros(2)}, r"shape \[N, 4\], got \[2, 5\]"),
        ({"boxes": torch.zeros(0, 4)}, "has no 'labels'"),
    ],
)
def test_bad_target_is_named(target, message):
    with pytest.raises(ValueError, match=r"`targets\[1\].*" + message):
        losses_of(small_detector(), [TARGETS[0], target])


@pytest.mark.parametrize("method", ["loss", "predictions"])
def test_images_instead_of_outputs_are_refused(method):
    call, more = getattr(small_detector(), method), [TARGETS] if method == "loss" else []
    with pytest.raises(TypeError, match=r"`outputs` must be .* got Tensor as outputs"):
        call(IMAGES, *more)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match=r"`box_loss` must be one of .*'l1'"):
        small_detector(box_loss="l1")
    with pytest.raises(ValueError, match=r"`anchors` must have one list .* got lists of \[1\]"):
        small_detector(anchors=[[(8, 8)]])
    with pytest.raises(ValueError, match=r"above 0, got \[\[8.0, 0.0\]\]"):
        small_detector(anchors=[[(8, 0)], [(8, 8)]])
    with pytest.raises(ValueError, match="`num_classes` must be at least 1"):
        create_model("light_detector", 0)
    with pytest.raises(ValueError, match=r"one dict per image: 2, got 1"):
        losses_of(small_detector(), TARGETS[:1])
    with pytest.raises(TypeError, match="must be a list of one dict per image, got dict"):
        losses_of(small_detector(), TARGETS[0])
