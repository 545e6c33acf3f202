"""Draws the picture of docs/augmentation.md: a scene under each setting alone, with its boxes.

.venv/bin/python tools/draw_augmentation.py [output file]
"""

import sys
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from sightline.data import Augment, Dataset, Preprocess, draw_detections, load_digit_scenes

SETTINGS = {
    "as it is": {},
    "flip_h=1": {"flip_h": 1.0},
    "scale=0.6,0.6": {"scale": (0.6, 0.6)},
    "translate=0.3": {"translate": 0.3},
    "rotate=30": {"rotate": 30.0},
    "shear=20": {"shear": 20.0},
    "perspective=0.3": {"perspective": 0.3},
    "crop=0.7": {"crop": 0.7},
    "elastic=0.05": {"elastic": 0.05},
    "brightness, contrast": {"brightness": 0.5, "contrast": 0.5},
    "saturation, hue=60": {"saturation": 0.5, "hue": 60.0},
    "grayscale=1": {"grayscale": 1.0},
    "blur=3": {"blur": 3.0},
    "noise=0.15": {"noise": 0.15},
    "cutout=1": {"cutout": 1.0},
    "mosaic=1": {"mosaic": 1.0},
    "mixup=1": {"mixup": 1.0},
    "several at once": {"flip_h": 0.5, "rotate": 20.0, "perspective": 0.2, "elastic": 0.03,
                        "hue": 20.0, "brightness": 0.3, "cutout": 1.0},
}  # fmt: skip
COLUMNS, TILE, GAP, TITLE = 6, 160, 6, 16  # pixels
SEED = 11
MEAN = 0.5


def main(out: str = "docs/augmentation.jpg") -> None:
    scenes = load_digit_scenes("train", 40)
    fullest = max(range(len(scenes)), key=lambda index: len(scenes.records[index].boxes))
    plain = Preprocess((TILE, TILE), mean=(MEAN,) * 3, std=(1.0,) * 3)
    rows = -(-len(SETTINGS) // COLUMNS)
    step = TILE + GAP, TILE + GAP + TITLE
    sheet = Image.new("RGB", (COLUMNS * step[0] - GAP, rows * step[1] - GAP), "white")
    letters = ImageDraw.Draw(sheet)
    for number, (title, settings) in enumerate(SETTINGS.items()):
        augment = replace(Augment.none(), **settings)
        image, target, _ = Dataset(scenes, plain, augment=augment, seed=SEED)[fullest]
        pixels = np.rint(image.numpy().transpose(1, 2, 0) * 255 + MEAN * 255).astype(np.uint8)
        tile = draw_detections(
            pixels, target["boxes"].numpy(), target["labels"].tolist(), scenes.class_names
        )
        left, top = number % COLUMNS * step[0], number // COLUMNS * step[1]
        letters.text((left + 2, top), title, "black", font_size=13)
        sheet.paste(tile, (left, top + TITLE))
    sheet.save(out, quality=75)


if __name__ == "__main__":
    main(*sys.argv[1:2])
