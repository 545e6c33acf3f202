"""Runs that are ended by a signal from a user or the system."""

import signal
import subprocess
import sys

import pytest
import torch

from sightline.cli import main
from sightline.train.checkpoint import load_weights

from ..tiny import write_colours
from ..trained import quick_words

EPOCHS = 6

# `sightline`, but after the line of the second epoch it waits for the end of its input, so that the
# signal finds it in training however slow the machine is. Jobs that a script starts in the
# background ignore SIGINT, and hand that down to what they start.
WAITING = """
import signal
import sys
from sightline.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)

class Output:
    def __init__(self, stream):
        self.stream, self.said, self.waited = stream, "", False
    def __getattr__(self, name):
        return getattr(self.stream, name)
    def write(self, text):
        self.stream.write(text)
        self.stream.flush()
        self.said += text
        if not self.waited and "epoch 2/" in self.said and self.said.endswith("\\n"):
            self.waited = True
            sys.stdin.read()

sys.stdout = Output(sys.stdout)
sys.exit(main(sys.argv[1:]))
"""


def start_and_signal(words, number):
    """Start `sightline train`, send a signal once two epochs are done; its status and output."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, "train", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith(f"epoch 2/{EPOCHS}"):
            process.send_signal(number)
            break
    rest, _ = process.communicate(timeout=120)
    return process.returncode, "".join(seen) + rest


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with the data and a run that nothing stopped, and the words that made it."""
    folder = tmp_path_factory.mktemp("stopping")
    words = [w for w in quick_words("classify") if not w.startswith("epochs")]
    data = write_colours(folder / "data")
    words += [f"data={data}", f"epochs={EPOCHS}", f"out={folder}"]
    assert main(["train", *words, "train.name=whole", "--quiet"]) == 0
    return folder / "classify", words


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_stopped_training_goes_on_to_the_same_bits(whole, number, status):
    runs, words = whole
    name = f"stopped{int(number)}"
    returned, said = start_and_signal([*words, f"train.name={name}"], number)
    assert returned == status, said
    stopped = runs / name
    if number == signal.SIGINT:
        assert f"continue with: sightline train resume={stopped}" in said
        assert "Traceback" not in said
    assert main(["train", f"resume={stopped}", "--quiet"]) == 0
    for kind in ("best", "last"):
        one, _ = load_weights(stopped / "weights" / f"{kind}.safetensors")
        two, _ = load_weights(runs / "whole" / "weights" / f"{kind}.safetensors")
        assert all(torch.equal(one[key], two[key]) for key in two), kind
