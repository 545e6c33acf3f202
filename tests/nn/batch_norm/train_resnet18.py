"""python -m tests.nn.batch_norm.train_resnet18 [--seeds N] [--epochs N] [--size N] [--layout ...]

Trains ResNet-18 on the embedded digits, with its batch norms as they are and converted, both from
the same weights on the same batches, and prints the accuracy on held-out digits of each seed.
"""

import argparse
import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sightline.bench.batch_norm.plain_resnet import BasicBlock, resnet18
from sightline.data.digits import digit_images
from sightline.models import convert_batch_norm

BATCH, RATE = 32, 0.05
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def accuracies(
    seeds: int, epochs: int, size: int, layout: str = "contiguous", *, width: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """[seeds] of plain torch and [seeds] converted; a quarter of the digits is held out."""
    pixels, values = digit_images()
    small = torch.from_numpy(pixels)[:, None].float() / 255
    images = F.interpolate(small, size=(size, size), mode="bilinear").repeat(1, 3, 1, 1)
    images = images.to(memory_format=FORMATS[layout])
    labels = torch.from_numpy(values)
    held_out = torch.arange(len(labels)) % 4 == 0
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        plain = resnet18(10, width)
        for module in plain.modules():  # to learn in few steps
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
        plain = plain.to(memory_format=FORMATS[layout])
        ours, report = convert_batch_norm(copy.deepcopy(plain))
        assert (len(report.fused), len(report.alone)) == (17, 3), str(report)
        pair = []
        for model in (plain, ours):
            train(model, images[~held_out], labels[~held_out], epochs, seed)
            with torch.no_grad():
                right = model.eval()(images[held_out]).argmax(1) == labels[held_out]
            pair.append(right.float().mean().item())
        found.append(pair)
    plain_accuracies, our_accuracies = np.array(found).T
    return plain_accuracies, our_accuracies


def train(model: nn.Module, images, labels, epochs: int, seed: int) -> None:
    steps = len(images) // BATCH  # a few left-over digits would upset the running statistics
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RATE, momentum=0.9, nesterov=True, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(BATCH)[:steps]:
            optimizer.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.nn.batch_norm.train_resnet18")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--layout", choices=FORMATS, nargs="*", default=list(FORMATS))
    given = parser.parse_args()
    print(f"ResNet-18, digits of {given.size} x {given.size} pixels, {given.epochs} epochs")
    for layout in given.layout:
        both = accuracies(given.seeds, given.epochs, given.size, layout)
        for name, found in zip(("torch", "converted"), both, strict=True):
            each = ", ".join(f"{accuracy:.4f}" for accuracy in found)
            print(f"  {layout}, {name}: {found.mean():.4f} of {each}", flush=True)


if __name__ == "__main__":
    main()
