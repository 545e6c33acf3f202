"""`fit` for plain PyTorch: any module with a loss, and loaders as they come."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

import sightline
from sightline.data import (
    Annotations,
    Preprocess,
    Record,
    fit_preprocess,
    load_digits_classification,
    make_loader,
)
from sightline.metrics import AccuracyEvaluator, DetectionEvaluator
from sightline.models import create_model
from sightline.train import EMA, EarlyStopping, Log, evaluate, fit, load_weights

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.randint(0, 3, (24,), generator=GENERATOR)
IMAGES = torch.randn(24, 1, 4, 4, generator=GENERATOR) + LABELS[:, None, None, None]
HELD_OUT = (torch.randn(9, 1, 4, 4, generator=GENERATOR) + LABELS[:9, None, None, None], LABELS[:9])
Pair = namedtuple("Pair", ["image", "label"])


def plain_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def plain_loader(images=IMAGES, labels=LABELS, **options):
    return DataLoader(TensorDataset(images, labels), batch_size=6, **options)


def plain_run(epochs=3, **changes):
    model = changes.pop("model", None) or plain_model()
    return {
        "model": model,
        "train_loader": plain_loader(),
        "val_loader": plain_loader(*HELD_OUT),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loss": nn.CrossEntropyLoss(),
        "epochs": epochs,
        "log": Log(quiet=True),
        **changes,
    }


def trained_by_hand(epochs=3):
    model, loss = plain_model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(epochs):
        model.train()
        for images, labels in plain_loader():
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            optimizer.step()
    return model.eval()


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in second)


def test_a_plain_module_trains_as_in_a_loop_written_by_hand():
    run = plain_run()
    history = fit(**run)
    by_hand = trained_by_hand()
    assert same(weights_of(run["model"]), by_hand.state_dict())
    with torch.no_grad():
        wanted = nn.CrossEntropyLoss()(by_hand(HELD_OUT[0]), HELD_OUT[1])
    assert history.rows[-1]["val/loss"] == pytest.approx(float(wanted), rel=1e-6)
    assert [name for name in history.rows[0] if name.startswith("train/")] == ["train/loss"]


@pytest.mark.parametrize(
    "form",
    [
        lambda pairs: default_collate(pairs),  # a list
        lambda pairs: tuple(default_collate(pairs)),
        lambda pairs: Pair(*default_collate(pairs)),
        lambda pairs: default_collate([{"image": x, "label": y, "index": 1} for x, y in pairs]),
        lambda pairs: default_collate([{"pixel_values": x, "labels": y} for x, y in pairs]),
    ],
    ids=["list", "tuple", "namedtuple", "dict", "dict of another library"],
)
def test_batches_of_every_common_form_train_alike(form):
    run = plain_run(
        1,
        train_loader=plain_loader(collate_fn=form),
        val_loader=plain_loader(*HELD_OUT, collate_fn=form),
        metric=AccuracyEvaluator(),
    )
    fit(**run)
    assert same(weights_of(run["model"]), trained_by_hand(1).state_dict())


def test_a_loader_that_cannot_tell_its_length_trains_alike():
    class Stream(IterableDataset):
        def __iter__(self):
            return zip(IMAGES, LABELS, strict=True)

    run = plain_run(1, train_loader=DataLoader(Stream(), batch_size=6))
    fit(**run)
    assert same(weights_of(run["model"]), trained_by_hand(1).state_dict())


@pytest.mark.parametrize(
    ("batch", "given"),
    [
        (IMAGES, "a Tensor"),
        ((IMAGES, IMAGES, LABELS), "a tuple of 3"),
        ({"picture": IMAGES, "label": LABELS}, "a dict of 'picture', 'label'"),
        (
            {"image": IMAGES, "input": IMAGES, "label": LABELS},
            "a dict of 'image', 'input', 'label'",
        ),
    ],
)
def test_a_batch_of_another_form_is_named(batch, given):
    with pytest.raises(TypeError, match=rf"must be \(inputs, targets\), or .* gave {given}"):
        fit(**plain_run(train_loader=[batch]))


def test_a_model_of_several_inputs_gets_them_moved_together():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(32, 3)

        def forward(self, inputs):
            return self.head(torch.cat([inputs["left"].flatten(1), inputs["right"].flatten(1)], 1))

    model = Two()
    batches = [({"left": IMAGES, "right": IMAGES}, LABELS)]
    history = fit(**plain_run(2, model=model, train_loader=batches, val_loader=batches))
    assert history.column("train/loss")[1] < history.column("train/loss")[0]


def test_several_terms_are_summed_and_shown():
    def loss(outputs, targets):
        return {
            "class": nn.functional.cross_entropy(outputs, targets),
            "size": 1e-3 * outputs.square().mean(),
        }

    row = fit(**plain_run(1, loss=loss)).rows[0]
    for split in ("train", "val"):
        terms = row[f"{split}/class_loss"], row[f"{split}/size_loss"]
        assert row[f"{split}/loss"] == pytest.approx(sum(terms))


def test_validation_runs_the_network_once_a_batch():
    calls = []
    model = plain_model()
    model.register_forward_hook(lambda module, *_: calls.append(module.training))
    fit(**plain_run(1, model=model, metric=AccuracyEvaluator()))
    assert calls == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"loss": None}, TypeError, r"does not take \(images, targets\), so .* give `loss`"),
        ({"loss": nn.CrossEntropyLoss}, TypeError, r"an instance: loss=CrossEntropyLoss\(\)"),
        ({"loss": "cross_entropy"}, TypeError, "`loss` must be a function .* got str"),
        ({"loss": lambda o, t: 1.0}, TypeError, "must return a scalar tensor or a dict .*float"),
        (
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            TypeError,
            r"'loss' must be a scalar tensor, got \[6\] in epoch 1, step 1",
        ),
        (
            {"loss": lambda o, t: {"loss": o.mean(), "class": o.mean()}},
            ValueError,
            "'loss' cannot be one of 'loss', 'class'",
        ),
        ({"loss": lambda o, t: o.mean() * float("nan")}, FloatingPointError, "'loss' is nan"),
        ({"metric": object()}, TypeError, r"object has no reset\(\)"),
        ({"metadata": {"transform": len}}, TypeError, r"`metadata\['transform'\]` cannot"),
        (
            {"metadata": {"task": "segment"}},
            ValueError,
            r"`metadata\['task'\]` must be 'classify' or 'detect', got 'segment': sightline.load",
        ),
    ],
)
def test_what_cannot_train_is_refused_in_words(changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        fit(**plain_run(1, out=tmp_path, **changes))


def test_a_loss_with_a_state_goes_on_with_it(tmp_path):
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, outputs, targets):
            self.steps += 1 if outputs.requires_grad else 0
            return nn.functional.cross_entropy(outputs, targets) / (1 + self.steps)

    whole = plain_run(3, loss=Weighted())
    fit(**whole)
    fit(**plain_run(1, loss=Weighted(), out=tmp_path))
    parts = plain_run(3, loss=Weighted(), out=tmp_path)
    fit(**parts, resume=True)
    assert float(parts["loss"].steps) == 12
    assert same(weights_of(parts["model"]), whole["model"].state_dict())


# Metrics.


def test_accuracy_is_watched_and_larger_is_better():
    history = fit(**plain_run(4, metric=AccuracyEvaluator(top_k=(2,))))
    assert history.monitor == "val/accuracy"
    assert history.best_value == max(history.column("val/accuracy"))
    assert not np.isnan(history.column("val/top2")).any()


def test_early_stopping_watches_what_is_monitored(tmp_path):
    stopping = EarlyStopping(patience=1, min_delta=1e9)
    options = {"metric": AccuracyEvaluator(), "early_stopping": stopping}
    history = fit(**plain_run(4, **options, out=tmp_path))
    assert (stopping.monitor, stopping.best.mode) == ("val/accuracy", "max")
    assert len(history.rows) == 2 and history.stopped == "early stopping"
    again = EarlyStopping(patience=1, min_delta=1e9)
    options = {"metric": AccuracyEvaluator(), "early_stopping": again}
    assert len(fit(**plain_run(4, **options, out=tmp_path), resume=True).rows) == 2
    assert again.best.value == stopping.best.value
    history = fit(**plain_run(4, val_loader=None, early_stopping=stopping))
    assert stopping.monitor == "train/loss" and len(history.rows) == 2


@pytest.mark.parametrize(
    ("column", "options", "said"),
    [
        ("val/loss", {"val_loader": None}, "'val/loss' needs a `val_loader`"),
        ("val/accuracy", {}, "not among .*; metrics need a `metric`"),
        ("val/accurcy", {"metric": AccuracyEvaluator()}, "did you mean 'val/accuracy'"),
        ("loss", {}, r"'loss' is not among \['train/loss', 'val/loss'\]"),
    ],
)
def test_a_column_that_cannot_come_is_refused_before_the_first_epoch(
    tmp_path, column, options, said
):
    stopping = EarlyStopping(column, mode="min")
    for given in ({"early_stopping": stopping}, {"monitor": column, "mode": "min"}):
        with pytest.raises(ValueError, match=said):
            fit(**plain_run(2, **options, **given, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_metric_says_which_way_its_metrics_grow():
    class Distance:
        monitor, directions = "val/accuracy_gap", {"accuracy_gap": "min"}

        def reset(self):
            self.calls = getattr(self, "calls", 0) + 1

        def update(self, predictions, targets):
            pass

        def compute(self):
            return {"accuracy_gap": self.calls}

    history = fit(**plain_run(3, metric=Distance()))
    assert (history.best_epoch, history.best_value) == (1, 1)
    assert fit(**plain_run(3, metric=Distance(), mode="max")).best_epoch == 3
    assert fit(**plain_run(3, metric=Distance(), monitor="val/loss")).monitor == "val/loss"


class OneBox(nn.Module):
    """Learns where the one box of every picture lies; as torchvision's detectors, it gives losses
    in training and detections in evaluation."""

    def __init__(self):
        super().__init__()
        self.box = nn.Parameter(torch.tensor([0.0, 0, 4, 4]))

    def forward(self, images, targets=None):
        if self.training:
            boxes = torch.cat([target["boxes"] for target in targets])
            return {"box": (self.box - boxes).abs().mean()}
        found = {"scores": torch.ones(1), "labels": torch.ones(1, dtype=torch.int64)}
        return [{"boxes": self.box[None], **found} for _ in images]


def box_batches(with_ids):
    target = {"boxes": torch.tensor([[2.0, 2, 8, 8]]), "labels": torch.tensor([1])}
    samples = [(torch.rand(3, 9, 9), {**target, "image_id": torch.tensor([i])}) for i in range(5)]
    if not with_ids:
        samples = [(image, target) for image, _ in samples]
    return [tuple(zip(*samples[start : start + 2])) for start in (0, 2, 4)]


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_detector_that_only_predicts_in_evaluation_is_judged_by_its_boxes(with_ids):
    model = OneBox()
    evaluator = DetectionEvaluator()
    batches = box_batches(with_ids)
    history = fit(
        model,
        batches,
        val_loader=batches,
        optimizer=torch.optim.SGD(model.parameters(), lr=2.0),
        metric=evaluator,
        epochs=4,
        restore_best=True,
        log=Log(quiet=True),
    )
    assert history.monitor == "val/AP50" and "val/loss" not in history.rows[0]
    assert history.best_value == pytest.approx(1) and len(evaluator) == 5
    assert evaluate(model, batches, metric=evaluator)["val/AP50"] == pytest.approx(1)
    with pytest.raises(TypeError, match="no losses in evaluation mode: give a `metric`"):
        evaluate(model, batches)


class NamedImages(DetectionEvaluator):
    """Keeps the ids of the images that it is given."""

    def update(self, image_id, detections, targets=None):
        self.ids = [*getattr(self, "ids", []), *image_id]
        super().update(image_id, detections, targets)


def test_our_detector_is_judged_on_our_loader_by_image_ids_in_one_forward_pass():
    image = np.zeros((32, 32, 3), np.uint8)
    records = tuple(
        Record(image, f"{i}.jpg", 32, 32, labels=[0], boxes=[[4, 4, 20, 20]]) for i in range(3)
    )
    loader = make_loader(
        Annotations("boxes", ("a",), records), Preprocess((32, 32)), batch_size=2, shuffle=False
    )
    model = create_model("light_detector", 1, widths=(8, 8, 8, 8), blocks=(0, 0, 0, 0))
    passes, evaluator = [], NamedImages()
    model.register_forward_hook(lambda *_: passes.append(model.training))
    row = evaluate(model, loader, metric=evaluator)
    assert passes == [False, False] and evaluator.ids == ["0.jpg", "1.jpg", "2.jpg"]
    assert {"val/loss", "val/class_loss", "val/box_loss", "val/AP50"} <= row.keys()


# Best weights.


class Worsening:
    """An evaluator under which the second epoch is the best."""

    monitor, directions = "val/rank", {"rank": "max"}
    epochs = 0

    def reset(self):
        self.epochs += 1

    def update(self, predictions, targets):
        pass

    def compute(self):
        return {"rank": -abs(self.epochs - 2)}


def seen_weights(epoch, of=lambda model: model):
    """A callback that keeps the weights of one epoch."""
    kept = {}

    def call(row, model):
        if row["epoch"] == epoch:
            kept.update(weights_of(of(model)))

    return kept, call


@pytest.mark.parametrize("saved", [True, False])
def test_the_model_ends_with_the_best_weights_where_that_is_asked_for(saved, tmp_path):
    kept, call = seen_weights(2)
    run = plain_run(4, metric=Worsening(), on_epoch_end=[call])
    fit(**run, restore_best=True, out=tmp_path if saved else None)
    assert same(weights_of(run["model"]), kept)
    if saved:
        assert same(load_weights(tmp_path / "weights" / "best.safetensors")[0], kept)
    run = plain_run(4, metric=Worsening(), on_epoch_end=[call])
    fit(**run)
    assert not same(weights_of(run["model"]), kept)


def test_with_an_average_the_best_averaged_weights_are_restored():
    model = plain_model()
    ema = EMA(model, decay=0.5)
    kept, call = seen_weights(2, of=lambda _: ema.model)
    run = plain_run(4, model=model, metric=Worsening(), ema=ema, on_epoch_end=[call])
    fit(**run, restore_best=True)
    assert same(weights_of(model), kept)


def test_early_stopping_and_resuming_end_with_the_best_weights(tmp_path):
    kept, call = seen_weights(2)

    def run(epochs, patience):
        evaluator = Worsening()
        stopping = EarlyStopping("val/rank", mode="max", patience=patience)
        return plain_run(epochs, metric=evaluator, early_stopping=stopping, restore_best=True)

    stopped = run(9, 2)
    history = fit(**stopped, out=tmp_path / "stopped", on_epoch_end=[call])
    assert history.stopped == "early stopping" and len(history.rows) == 4
    assert same(weights_of(stopped["model"]), kept)
    again = run(9, 2)
    assert len(fit(**again, out=tmp_path / "stopped", resume=True).rows) == 4
    assert same(weights_of(again["model"]), kept)

    fit(**run(3, 9), out=tmp_path / "parts")
    later = run(4, 9)
    later["metric"].epochs = 3
    fit(**later, out=tmp_path / "parts", resume=True)
    assert same(weights_of(later["model"]), kept)


# Runs that can be loaded.


def test_a_run_of_our_own_model_and_loader_loads_by_itself(tmp_path):
    train, val = (part.subset(range(40)) for part in load_digits_classification(seed=0))
    preprocess = fit_preprocess(train, (8, 8), channels=1)
    model = create_model("resnet20", num_classes=10, in_channels=1)
    loaders = [make_loader(part, preprocess, batch_size=20, shuffle=False) for part in (train, val)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(
        model,
        loaders[0],
        val_loader=loaders[1],
        optimizer=optimizer,
        epochs=1,
        out=tmp_path,
        log=Log(quiet=True),
    )
    predictor = sightline.load(tmp_path)
    found = predictor.predict([record.image for record in val.records[:5]])
    with torch.no_grad():
        logits = model.eval()(next(iter(loaders[1]))[0][:5])
    assert [row.label for row in found] == logits.argmax(1).tolist()
    assert predictor.task == "classify" and predictor.class_names == train.class_names


def test_a_plain_classifier_trains_on_our_loader(tmp_path):
    train, _ = load_digits_classification(seed=0)
    train = train.subset(range(40))
    preprocess = fit_preprocess(train, (8, 8), channels=1)
    loader = make_loader(train, preprocess, batch_size=20, shuffle=True)

    def model():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    run = plain_run(2, model=model(), train_loader=loader, val_loader=loader, out=tmp_path)
    fit(**run, metric=AccuracyEvaluator())
    with pytest.raises(
        ValueError, match=r"lacks model in its header, so give sightline.load\(.*mo"
    ):
        sightline.load(tmp_path)
    predictor = sightline.load(tmp_path, model=model(), weights="last")
    assert same(weights_of(predictor.model), run["model"].state_dict())
    assert predictor.predict(train.records[0].image).name in train.class_names


def test_what_a_run_lacks_may_be_given_to_fit_or_to_load(tmp_path):
    preprocess = Preprocess(size=(4, 4), channels=1)
    fit(**plain_run(1, out=tmp_path / "bare"))
    with pytest.raises(ValueError, match=r"lacks model, class_names, preprocess, task in its"):
        sightline.load(tmp_path / "bare")
    named = {"task": "classify", "class_names": ["a", "b", "c"], "preprocess": preprocess}
    fit(**plain_run(1, out=tmp_path / "named", metadata=named))
    later = sightline.load(tmp_path / "bare", model=plain_model(), **named)
    first = sightline.load(tmp_path / "named", model=plain_model())
    assert first.preprocess == later.preprocess == preprocess
    assert same(weights_of(first.model), later.model.state_dict())
    assert first.predict(np.zeros((4, 4), np.uint8)).name in "abc"
    with pytest.raises(ValueError, match="`task` must be 'classify' or 'detect', got 'segment'"):
        sightline.load(tmp_path / "named", model=plain_model(), task="segment")


def test_a_history_says_on_one_line_what_happened():
    history = fit(**plain_run(2))
    text = repr(history)
    best = f"best val/loss {history.best_value:.4g} in epoch {history.best_epoch}"
    assert text.startswith(f"History(2 epochs, {best}, last ") and "train/loss" in text
    assert "\n" not in text and len(text) < 200
    for row in history.rows:
        row |= {f"val/metric_{i}": 0.0 for i in range(30)}
    assert "and 29 more)" in repr(history) and len(repr(history)) < 200
    history.rows.clear()
    assert repr(history) == "History(no finished epoch)"


def test_an_optimizer_of_another_model_is_refused():
    other = torch.optim.SGD(plain_model().parameters(), lr=0.1)
    with pytest.raises(
        ValueError, match=r"`optimizer` holds no parameter of `model`.*model\.param"
    ):
        fit(**plain_run(optimizer=other))


def test_a_module_without_parameters_is_refused_by_what_it_lacks():
    with pytest.raises(ValueError, match="`optimizer` holds no parameter of `model`"):
        fit(**{**plain_run(), "model": nn.Flatten()})


def test_an_optimizer_may_hold_a_part_of_the_model_or_the_loss_alone():
    model, loss = plain_model(), LossWithWeights()
    fit(**plain_run(1, model=model, optimizer=torch.optim.SGD(model[3].parameters(), lr=0.1)))
    fit(**plain_run(1, loss=loss, optimizer=torch.optim.SGD(loss.parameters(), lr=0.1)))


class LossWithWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(self.scale * outputs, targets)
