"""Data sets small enough to train on in a second, written to disk."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("red", "green")
_COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60)}


def write_squares(root: Path, *, train: int = 12, val: int = 4, test: int = 4) -> Path:
    """YOLO data set: 64 x 64 pictures with one or two coloured squares on grey noise."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val), ("test", test)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(90, 130, (64, 64, 3)).astype(np.uint8)
            lines = []
            for corner in (2, 34)[: 1 + i % 2]:
                side = int(rng.integers(16, 28))
                label = int(rng.integers(2))
                x, y = corner, int(rng.integers(0, 64 - side))
                pixels[y : y + side, x : x + side] = _COLOURS[CLASSES[label]]
                centre = ((x + side / 2) / 64, (y + side / 2) / 64, side / 64, side / 64)
                lines.append(" ".join([str(label), *map(str, centre)]))
            Image.fromarray(pixels).save(root / "images" / split / f"{split}{i}.png")
            (root / "labels" / split / f"{split}{i}.txt").write_text("\n".join(lines) + "\n")
    splits = "".join(f"{split}: images/{split}\n" for split in ("train", "val", "test"))
    (root / "data.yaml").write_text(f"{splits}names: [{', '.join(CLASSES)}]\n")
    return root


def write_colours(root: Path, *, count: int = 10) -> Path:
    """Folder of images: `count` pictures of 32 x 32 per class, one noisy colour each."""
    rng = np.random.default_rng(1)
    for name, colour in _COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(-30, 30, (32, 32, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}{i}.png")
    return root
