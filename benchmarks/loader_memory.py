"""Memory of a loader and of its processes over many epochs, as benchmarks/results/loader_memory.*

    .venv/bin/python benchmarks/loader_memory.py DATA [--epochs 50] [--workers 4] [--images 1000]
                                                 [--cache memory] [--out FILE]

DATA is a detection set, whose train split is repeated to `--images` records. The network is small,
so that an epoch takes seconds; every image is augmented, and decoded once with `--cache memory`.
After each epoch the kernel says for each process how much memory is its own (USS), and how much it
is with its part of what is shared (PSS). Files that are mapped, such as libraries, do not count:
other programs that map them would change the figures. The slope of the straight line through the
second half of the epochs is printed; FILE.json has the figures, and FILE.png draws them.
"""

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from sightline._files import write_json
from sightline.bench.machine import describe
from sightline.data import Augment, Preprocess, make_loader, read_dataset

SIZE = 60, 80
BATCH = 32
RESULTS = Path(__file__).parent / "results"
AUGMENT = Augment(flip_h=0.5, rotate=10, mosaic=0.2)


def megabytes_of(process: int) -> tuple[float, float]:
    """PSS and USS of a process in MB."""
    values = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        values[name] = int(value) * 1024 / 1e6
    return values["Pss_Anon:"] + values["Pss_Shmem:"], values["Private_Dirty:"]


def measured(options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """PSS and USS by epoch, each [processes], the main process first."""
    annotations = read_dataset(options.data, split="train", on_bad_label="drop-box")
    repeated = annotations.subset(np.arange(options.images) % len(annotations))
    loader = make_loader(
        repeated, Preprocess(SIZE), batch_size=BATCH, shuffle=True, augment=AUGMENT,
        workers=options.workers, cache=options.cache,
    )  # fmt: skip
    found: dict[str, list[list[float]]] = {"PSS": [], "USS": []}
    for epoch in range(options.epochs):
        loader.set_epoch(epoch)
        for _ in loader:
            pass
        time.sleep(0.05)  # the workers return to waiting
        processes = [os.getpid(), *(worker.pid for worker in loader._workers())]
        pss, uss = zip(*map(megabytes_of, processes), strict=True)
        found["PSS"].append(list(pss))
        found["USS"].append(list(uss))
    return found


def slope_of(values: np.ndarray) -> float:
    """MB per epoch in the second half."""
    half = values[len(values) // 2 :]
    return float(np.polyfit(np.arange(len(half)), half, 1)[0])


def draw(found: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    epochs = range(1, len(found["PSS"]) + 1)
    axes.plot(epochs, np.sum(found["PSS"], axis=1), label="PSS of all processes", color="black")
    axes.plot(epochs, np.array(found["USS"])[:, 0], label="USS of the main process")
    for number, values in enumerate(np.array(found["USS"]).T[1:], start=1):
        axes.plot(epochs, values, label=f"USS of worker {number}", linewidth=1)
    axes.set(xlabel="epoch", ylabel="MB", ylim=(0, None), title="Memory of a loader")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--cache", default="memory")
    parser.add_argument("--out", type=Path, default=RESULTS / "loader_memory")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more than cores, on purpose
    found = measured(options)
    total = np.sum(found["PSS"], axis=1)
    slopes = {"all processes, PSS": slope_of(total)}
    for number, values in enumerate(np.array(found["USS"]).T):
        slopes[f"worker {number}, USS" if number else "main process, USS"] = slope_of(values)
    print(f"PSS of all processes: {total[0]:.1f} MB after epoch 1, {total[-1]:.1f} MB at the end")
    for name, slope in slopes.items():
        print(f"{name:24} {slope:+8.4f} MB per epoch")
    about = {name: getattr(options, name) for name in ("epochs", "workers", "images", "cache")}
    rounded = json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 2))
    write_json(
        options.out.with_suffix(".json"),
        {**describe("cpu", 1), **about, "MB per epoch": slopes, **rounded},
        indent=None,
    )
    draw(found, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main(sys.argv[1:])
