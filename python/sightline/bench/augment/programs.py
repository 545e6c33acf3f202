"""The images, and what each library does with them."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..worker import Program

# Of one call. A loader augments without a pause: after one, while another library has its turn, the
# first tenths of a second are slower (1.6 ms per image instead of 1.1).
IMAGES = 128
BOXES = 10  # of each image
HEIGHT, WIDTH = 480, 640
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as is usual


@dataclass(frozen=True)
class Strengths:
    """What changes at random, in the units of `sightline.data.Augment`."""

    scale: tuple[float, float] = (0.8, 1.25)
    translate: float = 0.1
    rotate: float = 10.0
    shear: float = 5.0
    colour: float = 0.2  # brightness, contrast and saturation
    hue: float = 5.0
    min_visibility: float = 0.3
    elastic: float = 0.0


STRENGTHS = {"affine": Strengths(), "elastic": Strengths(elastic=0.03)}

# Of an import: a torchvision beside a torch of another build lacks its own operators.
MISSING = (ImportError, RuntimeError)

# (image uint8 [H, W, 3], boxes [N, 4]) -> (float32 [3, H, W], boxes [K, 4], labels [K])
Change = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[Any, Any, Any]]


class Library:
    """What a module of `contenders` has as `LIBRARY`."""

    def versions(self) -> str:
        raise NotImplementedError

    def set_threads(self, threads: int) -> None:
        raise NotImplementedError

    def flip(self) -> Change:
        """A horizontal flip, normalised: the same in all libraries, to be compared."""
        raise NotImplementedError

    def change(self, strengths: Strengths) -> Change:
        """Flip, affine map, colours, elastic if any, and normalisation, at random."""
        raise NotImplementedError


def library(name: str) -> Library:
    module = importlib.import_module(f".contenders.{name}", __package__)
    found: Library = module.LIBRARY
    return found


def versions() -> dict[str, str]:
    """Of the libraries that are installed."""
    found = {}
    for name in ("albumentations", "torchvision"):
        try:
            found[name] = library(name).versions()
        except MISSING:
            continue
    return found


def make(name: str, program: str, threads: int) -> Program | None:
    """The program "affine", "elastic" or "flip" of a library; None where it is not installed."""
    try:
        own = library(name)
    except MISSING:
        return None
    own.set_threads(threads)
    change = own.flip() if program == "flip" else own.change(STRENGTHS[program])
    images, boxes, labels = inputs()
    return Program(partial(_run, change, images, boxes, labels), _arrays)


def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images [N, H, W, 3] with structure at several sizes, their boxes and labels."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (IMAGES, HEIGHT // 32, WIDTH // 32, 3), np.uint8)
    images = coarse.repeat(32, axis=1).repeat(32, axis=2)
    images += rng.integers(0, 16, images.shape, np.uint8)
    corners = rng.uniform((0, 0), (WIDTH - 200, HEIGHT - 200), (IMAGES, BOXES, 2))
    sides = rng.uniform(20, 200, (IMAGES, BOXES, 2))
    labels = rng.integers(0, 20, (IMAGES, BOXES))
    return images, np.concatenate([corners, corners + sides], axis=2), labels


def _run(change: Change, images: Any, boxes: Any, labels: Any) -> tuple[Any, Any, Any]:
    """The result of the last image, since each is freed before the next, as in a loader."""
    for one in zip(images, boxes, labels, strict=True):
        found = change(*one)
    return found


def _arrays(found: tuple[Any, Any, Any]) -> list[np.ndarray]:
    return [np.asarray(found[0]), np.asarray(found[1], np.float64)]
