"""A model and a loader small enough to train in milliseconds, with every source of randomness."""

import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from sightline.train import EMA, EarlyStopping, Log, make_optimizer, make_schedule

# Points of three classes, 24 in all.
_GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.randint(0, 3, (24,), generator=_GENERATOR)
INPUTS = torch.randn(24, 4, generator=_GENERATOR) + LABELS[:, None]


def batches_of(size):
    """The points in batches (inputs, labels)."""
    return [(INPUTS[i : i + size], LABELS[i : i + size]) for i in range(0, len(LABELS), size)]


class ToyClassifier(nn.Module):
    """Batch norm (buffers), dropout (torch's generator) and two loss terms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(16, 3)

    def forward(self, images, targets=None):
        features = torch.relu(self.norm(self.conv(images))).flatten(1)
        logits = self.head(self.drop(features))
        if targets is None:
            return logits
        labels = torch.stack([target["label"] for target in targets])
        return {
            "class": nn.functional.cross_entropy(logits, labels),
            "size": 1e-3 * logits.square().mean(),
        }


def collate(samples):
    """Noise from Python's and NumPy's generators, so that a resume has to restore both."""
    images = torch.stack([image for image, _ in samples])
    images = images + 0.01 * random.random() + 0.01 * float(np.random.rand())  # noqa: NPY002
    return images, [{"label": label} for _, label in samples]


def plain_collate(samples):
    images, labels = zip(*samples, strict=True)
    return torch.stack(images), [{"label": label} for label in labels]


def toy_samples(count=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    images = torch.randn(count, 1, 4, 4, generator=generator) + labels[:, None, None, None]
    return list(zip(images, labels, strict=True))


def toy_loaders():
    train = DataLoader(toy_samples(24), batch_size=5, shuffle=True, collate_fn=collate)
    val = DataLoader(toy_samples(9, seed=1), batch_size=4, collate_fn=plain_collate)
    return train, val


def toy_run(epochs=4, *, seed=0, schedule="one-cycle", patience=50, quiet=True, **options):
    """Arguments for `fit`, all built from one seed."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    model = ToyClassifier()
    train, val = toy_loaders()
    optimizer = make_optimizer(model, "adamw", lr=0.02, weight_decay=0.01)
    return {
        "model": model,
        "train_loader": train,
        "val_loader": val,
        "optimizer": optimizer,
        "schedule": make_schedule(optimizer, schedule, epochs=epochs, steps_per_epoch=len(train)),
        "epochs": epochs,
        "ema": EMA(model, decay=0.9),
        "early_stopping": EarlyStopping(patience=patience),
        "clip_norm": 1.0,
        "log": Log(quiet=quiet),
        **options,
    }
