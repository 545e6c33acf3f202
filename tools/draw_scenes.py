"""Draws the picture of the README: what a trained detector finds in scenes of the test split.

make demo
.venv/bin/python tools/draw_scenes.py [run folder, runs/detect/demo without it] [output file]
"""

import sys

from PIL import Image

import sightline
from sightline.data import load_digit_scenes

SCENES = 6
TILE = 256  # pixels
GAP = 8
COLUMNS = 3


def main(run: str = "runs/detect/demo", out: str = "docs/digit-scenes.jpg") -> None:
    scenes = [record.image for record in load_digit_scenes("test", SCENES).records]
    tiles = [found.draw(width=TILE) for found in sightline.load(run).predict(scenes)]
    step, rows = TILE + GAP, -(-SCENES // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * step - GAP, rows * step - GAP), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % COLUMNS * step, index // COLUMNS * step))
    sheet.save(out, quality=90)


if __name__ == "__main__":
    main(*sys.argv[1:3])
