"""The benchmark of augmentation: what is checked before times, and what is printed."""

from contextlib import ExitStack

import numpy as np
import pytest

from sightline.bench.augment.benchmark import BENCHMARKS
from sightline.bench.augment.contest import prepare
from sightline.bench.augment.programs import BOXES, HEIGHT, IMAGES, WIDTH, inputs, make
from sightline.bench.outcome import OURS, Outcome
from sightline.bench.process import Result
from sightline.bench.timing import Times
from sightline.cli import main


class Peers:
    """In place of the process of other libraries: ours, with what it answers moved by `shift`."""

    def __init__(self, shift=0.0, names=("albumentations",)):
        self.shift, self.names = shift, names

    def ask(self, what, **request):
        return {"opened": [name for name in request["names"] if name in self.names]}

    def result(self, name):
        flip = make(OURS, "flip", 1)
        pixels, boxes = flip.arrays(flip.run())
        return Result(0.1, [], [pixels, boxes + self.shift])

    def sample(self, name, calls):
        return 0.5


def test_a_library_that_mirrors_as_ours_is_timed_and_one_that_is_missing_is_named():
    with ExitStack() as stack:
        contest = prepare(BENCHMARKS[0], stack, "cpu", 1, peers=Peers())
    assert list(contest.samples) == [OURS, "albumentations"]
    assert contest.outcome.notes == {"torchvision": "not installed"}
    assert contest.samples[OURS](1) > 0


def test_a_library_that_mirrors_otherwise_is_not_timed():
    with ExitStack() as stack, pytest.raises(ValueError, match="albumentations: other boxes than"):
        prepare(BENCHMARKS[0], stack, "cpu", 1, peers=Peers(shift=1.0))


def test_rates_and_goals_are_printed():
    outcome = Outcome(BENCHMARKS[0], goals=BENCHMARKS[0].goals)
    outcome.times = {OURS: Times([IMAGES / 800] * 4), "albumentations": Times([IMAGES / 400] * 4)}
    text = BENCHMARKS[0].text(outcome)
    assert "800 images/s" in text and "400 images/s | 2.00x" in text
    assert "met: 800 images/s, goal 400" in text
    assert "missed: 2 times as fast as albumentations, goal 2.4" in text


def test_images_have_their_boxes_inside():
    images, boxes, labels = inputs()
    assert images.shape == (IMAGES, HEIGHT, WIDTH, 3) and labels.shape == (IMAGES, BOXES)
    assert (boxes >= 0).all() and (boxes <= np.array([WIDTH, HEIGHT] * 2)).all()


def test_names_are_listed_and_one_that_fits_none_is_refused(capsys):
    assert main(["bench", "augment", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [one.name for one in BENCHMARKS]
    assert main(["bench", "augment", "--only", "nothing"]) == 2
    assert "no benchmark's name contains 'nothing'" in capsys.readouterr().err
