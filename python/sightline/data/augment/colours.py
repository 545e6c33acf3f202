"""Affine maps of an image's channels, in 0 to 255: [3, 4] for colour, [1, 2] for grey."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment.settings import Augment

__all__ = ["draw_colors", "for_channels"]

_LUMA = np.array([0.299, 0.587, 0.114])
_MID_GREY = 127.5


def draw_colors(augment: Augment, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Draw brightness, contrast, saturation and hue as one map [3, 4]; None changes nothing."""
    strengths = (augment.brightness, augment.contrast, augment.saturation)
    brightness, contrast, saturation = (1 + rng.uniform(-s, s) if s else 1.0 for s in strengths)
    angle = math.radians(rng.uniform(-augment.hue, augment.hue)) if augment.hue else 0.0
    if augment.grayscale and rng.random() < augment.grayscale:
        saturation = 0.0
    if brightness == contrast == saturation == 1 and angle == 0:
        return None
    grey = np.tile(_LUMA, (3, 1))
    matrix = _hue_rotation(angle) @ (saturation * np.eye(3) + (1 - saturation) * grey)
    bias = brightness * (1 - contrast) * _MID_GREY
    columns = [brightness * contrast * matrix, np.full((3, 1), bias)]
    return np.concatenate(columns, axis=1).astype(np.float32)


def for_channels(colors: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Return the map for images of so many channels; a grey value is (v, v, v)."""
    if channels == 3:
        return colors
    return np.array([[colors[0, :3].sum(), colors[0, 3]]], np.float32)


def _hue_rotation(angle: float) -> NDArray[np.float64]:
    """Rotate colours about the grey axis (Rodrigues' formula for (1, 1, 1) / sqrt(3))."""
    cos, sin = math.cos(angle), math.sin(angle) / math.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return cos * np.eye(3) + sin * cross + (1 - cos) / 3 * np.ones((3, 3))
