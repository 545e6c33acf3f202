"""Random changes to training images and their objects.

`own`, which calls a user's function instead, needs torch and is imported by its module's name.
"""

from sightline.data.augment.apply import apply_augment
from sightline.data.augment.change import Change
from sightline.data.augment.clip import clip_boxes
from sightline.data.augment.draw import draw_change, unchanged
from sightline.data.augment.settings import LEVELS, Augment, default_augment

__all__ = [
    "LEVELS",
    "Augment",
    "Change",
    "apply_augment",
    "clip_boxes",
    "default_augment",
    "draw_change",
    "unchanged",
]
