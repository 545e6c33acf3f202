"""Images per second of a loader with one process: ours, and a torch DataLoader with albumentations.

    .venv/bin/python benchmarks/loading_speed.py DATA [--peers PYTHON] [--epochs 9] [--json FILE]

DATA is a detection set with JPEG files, such as BCCD. Every epoch decodes each image of its train
split anew, changes it at random (flip, zoom, shift, turn, colours; with boxes), and normalises it
at 320 x 240. PYTHON is that of an environment with torch, albumentations and opencv-python-headless
or torchvision. All contenders load one epoch in turn, so that other load affects all alike; the
figure is the median over the epochs. Ours is also timed with images kept in memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline._files import write_json
from sightline.bench.machine import describe
from sightline.data import Augment, Preprocess, make_loader, read_dataset

SIZE = 240, 320
BATCH = 16
# The same strengths as in loading_peers.py.
AUGMENT = Augment(
    flip_h=0.5, scale=(0.8, 1.25), translate=0.1, rotate=10, brightness=0.2, contrast=0.2,
    saturation=0.2, hue=9,
)  # fmt: skip


def seconds_of(loader: Any) -> Callable[[int], float]:
    def run(epoch: int) -> float:
        loader.set_epoch(epoch)
        started = time.perf_counter()
        for _ in loader:
            pass
        return time.perf_counter() - started

    return run


class Peers:
    """The contenders of another environment, in a process that waits for its turn."""

    def __init__(self, python: str, annotations: Any) -> None:
        records = [
            (str(record.image), record.boxes.tolist(), record.labels.tolist())
            for record in annotations.records
        ]
        file = tempfile.NamedTemporaryFile("w", suffix=".json")  # noqa: SIM115
        json.dump({"records": records, "size": SIZE, "batch": BATCH}, file)
        file.flush()
        script = Path(__file__).with_name("loading_peers.py")
        self._process = subprocess.Popen(
            [python, script, file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.found = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the other environment failed with exit code {self._process.wait()}")
        return json.loads(line)

    def seconds(self, name: str) -> Callable[[int], float]:
        def run(_: int) -> float:
            assert self._process.stdin is not None
            print(name, file=self._process.stdin, flush=True)
            return self._answer()

        return run


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--peers")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--json")
    options = parser.parse_args(arguments)
    annotations = read_dataset(options.data, split="train", on_bad_label="drop-box")
    contenders = {}
    for name, cache in (("sightline", "none"), ("sightline, kept in memory", "memory")):
        loader = make_loader(
            annotations, Preprocess(SIZE), batch_size=BATCH, shuffle=True, augment=AUGMENT,
            workers=1, cache=cache,
        )  # fmt: skip
        contenders[name] = seconds_of(loader)
    found: dict[str, Any] = {**describe("cpu", 1), "images": len(annotations)}
    if options.peers:
        peers = Peers(options.peers, annotations)
        found["versions"] |= peers.found["versions"]
        contenders |= {name: peers.seconds(name) for name in peers.found["contenders"]}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for epoch in range(options.epochs + 1):
        for name, run in contenders.items():
            seconds = run(epoch)
            if epoch:  # the first starts processes, and fills the memory
                times[name].append(seconds)
    ours = statistics.median(times["sightline"])
    rows = {}
    for name, values in times.items():
        middle = statistics.median(values)
        spread = statistics.quantiles(values, n=4) if len(values) > 1 else [middle] * 3
        rows[name] = {
            "images per second": len(annotations) / middle,
            "quartiles": [len(annotations) / value for value in (spread[2], spread[0])],
            "times ours": middle / ours,
        }
        print(f"{name:40} {len(annotations) / middle:7.0f} images/s   {middle / ours:5.2f} x ours")
    if options.json:
        write_json(options.json, found | {"loaders": rows})


if __name__ == "__main__":
    main(sys.argv[1:])
