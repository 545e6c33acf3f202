"""Segment cell nuclei with a small U-Net.

The model, the loss and the metric are a few lines of PyTorch each; `sightline.train.fit` trains the
model, saves its best epoch in a run folder and can resume a run that was stopped.

    python examples/unet_nuclei.py NUCLEI     takes a minute or two on two cores
    python examples/unet_nuclei.py            takes seconds, on images of scikit-learn's digits

NUCLEI is a folder with images in `train`, `val` and `test`, and in `annotations` one COCO file per
split with a run-length mask for every nucleus, for example a part of the Data Science Bowl 2018.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from sightline.data import DataError, load_digits_classification, read_image
from sightline.metrics import decode_masks, merge_masks
from sightline.train import evaluate, fit, make_optimizer, make_schedule

SPLITS = ("train", "val", "test")
SEED = 0


# Data: a sample is an image, float32 [1, H, W] of mean 0 and variance 1, and its mask [1, H, W].


def read_nuclei(folder, split):
    """The images of a split in greyscale, each with the union of the masks of its nuclei."""
    path = folder / "annotations" / f"{split}.json"
    if not path.is_file():
        raise DataError(
            f"no file {path}: it must contain the masks of the images in {folder / split}"
        )
    content = json.loads(path.read_text())
    masks = {image["id"]: [] for image in content["images"]}
    for nucleus in content["annotations"]:
        masks[nucleus["image_id"]].append(nucleus["segmentation"])
    samples = []
    for image in content["images"]:
        pixels = read_image(folder / split / image["file_name"], channels=1)[:, :, 0]
        of_image = masks[image["id"]]
        mask = decode_masks([merge_masks(of_image)])[0] if of_image else np.zeros_like(pixels)
        samples.append(as_sample(pixels, mask))
    return samples


def draw_digits(split, side=96):
    """Images of up to twelve digits in noise, whose ink is the mask."""
    count = {"train": 80, "val": 20, "test": 20}[split]
    rng = np.random.default_rng([SEED, SPLITS.index(split)])
    train, held_out = load_digits_classification()
    digits = (train if split == "train" else held_out).records
    samples = []
    for _ in range(count):
        ink = np.zeros((side, side), np.float32)
        for index in rng.integers(len(digits), size=rng.integers(3, 13)):
            digit = np.kron(digits[index].image[:, :, 0] / 255, np.ones((3, 3)))
            top, left = rng.integers(side - 24, size=2)
            place = ink[top : top + 24, left : left + 24]
            np.maximum(place, digit, out=place)
        noise = rng.normal(scale=0.25, size=ink.shape)
        samples.append(as_sample(rng.uniform(0.5, 1) * ink + noise, ink > 0.4))
    return samples


def as_sample(pixels, mask):
    pixels = torch.tensor(pixels, dtype=torch.float32)[None]
    # By the image's own mean: some microscopes give white on black, some violet on white.
    return (pixels - pixels.mean()) / (pixels.std() + 1e-3), torch.tensor(mask).float()[None]


class Crops(Dataset):
    """Square crops, rotated and mirrored at random, which depend only on (epoch, index)."""

    def __init__(self, samples, side):
        self.samples, self.side, self.epoch = samples, side, 0

    def set_epoch(self, epoch):  # `fit` calls it before each epoch
        self.epoch = epoch

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        rng = np.random.default_rng([SEED, self.epoch, index])
        both = torch.cat(self.samples[index])
        top, left = (int(rng.integers(size - self.side + 1)) for size in both.shape[1:])
        both = both[:, top : top + self.side, left : left + self.side]
        both = torch.rot90(both, int(rng.integers(4)), (1, 2))
        return tuple((both.flip(2) if rng.random() < 0.5 else both).split(1))


# Model, loss and metric.


class UNet(nn.Module):
    """Images [B, 1, H, W] of any size -> logits [B, 1, H, W]."""

    def __init__(self, widths=(8, 16, 32, 64)):
        super().__init__()
        self.down = nn.ModuleList(map(self.block, (1, *widths), widths))
        self.up = nn.ModuleList(
            self.block(fine + coarse, fine) for fine, coarse in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[0], 1, 1)

    @staticmethod
    def block(channels, width):
        layers = []
        for before in (channels, width):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, images):
        height, width = images.shape[2:]
        multiple = 2 ** len(self.up)
        maps = F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        finer = []
        for block in self.down[:-1]:
            finer.append(block(maps))
            maps = F.max_pool2d(finer[-1], 2)
        maps = self.down[-1](maps)
        for block in reversed(self.up):
            maps = block(torch.cat([finer.pop(), F.interpolate(maps, scale_factor=2)], dim=1))
        return self.head(maps)[:, :, :height, :width]


def segmentation_loss(logits, masks):
    """Cross-entropy weighs pixels equally; Dice relates the overlap to the area of the nuclei."""
    probability = logits.sigmoid()
    common = (probability * masks).sum((1, 2, 3))
    total = (probability + masks).sum((1, 2, 3))
    return {
        "cross_entropy": F.binary_cross_entropy_with_logits(logits, masks),
        "dice": 1 - ((2 * common + 1) / (total + 1)).mean(),
    }


class Dice:
    """Mean over the images of 2 |predicted and true| / (|predicted| + |true|)."""

    monitor = "val/dice"
    directions = {"dice": "max"}  # noqa: RUF012

    def reset(self):
        self.values = []

    def update(self, logits, masks, samples=None):
        for found, true in zip(logits > 0, masks > 0, strict=True):
            total = int(found.sum() + true.sum())
            self.values.append(2 * int((found & true).sum()) / total if total else 1.0)

    def compute(self):
        return {"dice": float(np.mean(self.values))}


# The program.


def draw_pictures(model, samples, path):
    """Draw images, their masks and the predicted masks side by side."""
    figure = Figure(figsize=(7.5, 2.5 * len(samples)), layout="constrained")
    for row, (image, mask) in zip(figure.subplots(len(samples), 3), samples, strict=True):
        with torch.no_grad():
            found = model.eval()(image[None])[0] > 0
        shown = {"image": image, "mask": mask, "prediction": found}
        for axes, (title, pixels) in zip(row, shown.items(), strict=True):
            axes.imshow(pixels[0].numpy(), cmap="gray")
            axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(path)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "nuclei", nargs="?", type=Path, help="data folder; without it, digits are segmented"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/unet"), help="run folder (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--epochs", type=int, help="epochs (default: 24 for nuclei, 15 for digits)")
    options = parser.parse_args(words)
    try:
        train, val, test = (
            read_nuclei(options.nuclei, split) if options.nuclei else draw_digits(split)
            for split in SPLITS
        )
    except (OSError, DataError) as error:
        parser.error(f"cannot read the data: {error}")

    torch.manual_seed(SEED)
    epochs = options.epochs
    if epochs is None:
        epochs = 24 if options.nuclei else 15
    loader = DataLoader(Crops(train, 128 if options.nuclei else 64), batch_size=8, shuffle=True)
    model = UNet()
    optimizer = make_optimizer(model, "adamw", lr=5e-3, weight_decay=0.01)
    try:
        schedule = make_schedule(optimizer, "one-cycle", epochs=epochs, steps_per_epoch=len(loader))
        history = fit(
            model,
            loader,
            val_loader=DataLoader(val),  # whole images, one by one since their sizes differ
            optimizer=optimizer,
            schedule=schedule,
            loss=segmentation_loss,
            metric=Dice(),
            epochs=epochs,
            out=options.out,
            resume=options.resume,
            restore_best=True,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if history.stopped:
        print(f"continue with --resume --out {options.out}")
        return 130

    dice = evaluate(model, DataLoader(test), loss=segmentation_loss, metric=Dice())["val/dice"]
    (options.out / "numbers.json").write_text(json.dumps({"test dice": dice}) + "\n")
    draw_pictures(model, test[:4], options.out / "pictures.png")
    print(f"mean Dice of {len(test)} test images: {dice:.3f}")
    print(f"drawn: {options.out / 'pictures.png'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
