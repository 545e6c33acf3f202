"""Random changes to training images and their objects.

`own`, which calls a user's function instead, needs torch and is imported by its module's name.
"""

from sightline.data.augment.apply import apply_augment, compose_mosaic
from sightline.data.augment.clip import clip_boxes
from sightline.data.augment.settings import Augment, default_augment

__all__ = ["Augment", "apply_augment", "clip_boxes", "compose_mosaic", "default_augment"]
