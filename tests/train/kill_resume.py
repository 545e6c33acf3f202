"""python -m tests.train.kill_resume [--kills 20] [--seed K]

The long check of resuming: a detector trains with augmentation and two loader processes, is killed
(SIGKILL) at a random moment inside training, and goes on from its folder. Every weight, average,
moment, generator and result must be that of a run that was never stopped. Every kill has a run of
its own. The exit status is 1 where one run differs. A loader process whose trainer was killed while
it sent a batch prints a ConnectionResetError, which means nothing.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in conftest.py, before torch is imported

import argparse
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from sightline.train import Log, resume_run
from sightline.train.run_dir import RunDir

from ..fresh import context
from ..tiny import write_squares
from ..trained import train_quickly
from .run_bits import bits, results_without_times

EPOCHS = 5
WORKERS = 2


def train(data: Path, out: Path) -> None:
    """Train into `out`, or go on there."""
    # A started process hands its own way of starting processes down, which is a slow one.
    multiprocessing.set_start_method("fork", force=True)
    if RunDir(out).state.exists():
        resume_run(out, log=Log(quiet=True))
    else:
        options = {"epochs": EPOCHS, "data.workers": WORKERS, "augment.mosaic": 0.5}
        train_quickly(data, "detect", out=out, **options)


class Trainer:
    """Starts trainings as processes of their own, from one that has imported everything."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def start(self, out: Path) -> multiprocessing.Process:
        process = context.Process(target=train, args=(self.data, out))
        process.start()
        return process

    def finish(self, out: Path) -> None:
        process = self.start(out)
        process.join()
        assert process.exitcode == 0, f"training into {out} ended with {process.exitcode}"


def events(out: Path) -> list[dict]:
    path = RunDir(out).events
    # The last line may be half written.
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def wait_for_training(process: multiprocessing.Process, out: Path) -> None:
    """Until the first state is written: from there on a run can be resumed."""
    while not RunDir(out).state.exists():
        assert process.is_alive(), f"training into {out} ended with {process.exitcode}"
        time.sleep(0.002)


def training_seconds(out: Path) -> float:
    """How long a finished run trained."""
    times = {event["event"]: event["time"] for event in events(out)}
    return times["end"] - times["start"]


def kill_inside_training(trainer: Trainer, out: Path, rng: random.Random, seconds: float) -> str:
    """Start a run and kill it before its training ends; where it stood, in words.

    The moment is uniform over the `seconds` that training takes. A run that was faster than its
    moment is thrown away for another, whose moment is within the time that this one took.
    """
    for attempt in range(100):
        run = out.with_name(f"{out.name}-{attempt}")
        process = trainer.start(run)
        wait_for_training(process, run)
        delay = rng.uniform(0, seconds)
        process.join(delay)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL and events(run)[-1]["event"] != "end":
            done = sum(event["event"] == "epoch" for event in events(run))
            run.rename(out)
            return f"killed after {delay:.3f} s, {done} of {EPOCHS} epochs done"
        if events(run)[-1]["event"] == "end":
            seconds = min(seconds, training_seconds(run))
    raise AssertionError(f"training never lasted as long as the {seconds:.2f} s it once took")


def check(folder: Path, *, kills: int, seed: int) -> list[str]:
    """Kill and resume `kills` runs in `folder`; a line for each."""
    rng = random.Random(seed)
    trainer = Trainer(write_squares(folder / "data", train=24))
    trainer.finish(folder / "whole")
    seconds = training_seconds(folder / "whole")
    expected = bits(folder / "whole"), results_without_times(folder / "whole")
    lines = [f"never stopped: {seconds:.2f} s of training"]
    for number in range(kills):
        out = folder / f"killed-{number}"
        story = kill_inside_training(trainer, out, rng, seconds)
        trainer.finish(out)
        same = (bits(out), results_without_times(out)) == expected
        left = [path.name for path in out.rglob("*.tmp")]
        lines.append(f"{story}: {'the same bits' if same and not left else f'DIFFERS {left}'}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.train.kill_resume",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = check(Path(folder), kills=arguments.kills, seed=arguments.seed)
    print("\n".join(lines))
    return int(any("DIFFERS" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
