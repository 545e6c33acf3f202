"""Time and memory of the assigners against images and objects, as benchmarks/results/assignment.*

    .venv/bin/python benchmarks/plot_assignment.py

8,400 anchors and 8 classes per image, one thread. Each point runs in its own process; memory is how
far its peak rises while the op runs, without the inputs and the warm-up on one image.
"""

import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path

OPS = ("assign_task_aligned", "assign_sim_ota", "assign_atss")
IMAGES = (1, 4, 16, 64, 128)
OBJECTS = (30, 300, 5_000)
CLASSES = 8
RESULTS = Path(__file__).parent / "results"


def call_of(name: str, images: int, objects: int):
    """A function that runs op `name` on the first n images of a random batch."""
    import torch

    from sightline import ops

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    levels, cells = [], []
    for stride in (8, 16, 32):
        ticks = (torch.arange(640 // stride) + 0.5) * stride
        levels.append(torch.cartesian_prod(ticks, ticks))
        cells.append(torch.full((len(levels[-1]),), float(stride)))
    points, strides = torch.cat(levels), torch.cat(cells)
    centre, half = 640 * uniform(images, objects, 2), 4 + 60 * uniform(images, objects, 2) ** 2
    gt_boxes = torch.cat([centre - half, centre + half], -1)
    labels = torch.randint(CLASSES, (images, objects), generator=generator)
    if name == "assign_atss":
        anchors = [
            torch.cat([level - 4 * cell[:, None], level + 4 * cell[:, None]], 1)
            for level, cell in zip(levels, cells)
        ]
        return lambda n: ops.assign_atss(anchors, gt_boxes[:n])
    scores = uniform(images, len(points), CLASSES)
    sides = 6 * strides[:, None] * uniform(images, len(points), 4)
    boxes = torch.cat([points - sides[..., :2], points + sides[..., 2:]], -1)
    if name == "assign_sim_ota":
        return lambda n: ops.assign_sim_ota(
            scores[:n], boxes[:n], points, strides, gt_boxes[:n], labels[:n]
        )
    return lambda n: ops.assign_task_aligned(
        scores[:n], boxes[:n], points, gt_boxes[:n], labels[:n]
    )


def current_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(name: str, images: int, objects: int, connection) -> None:
    call = call_of(name, images, objects)
    call(1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = current_megabytes()
    start = time.perf_counter()
    result = call(images)
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    del result
    connection.send({"seconds": seconds, "megabytes": peak - before})


def measure_all() -> list[dict]:
    context = multiprocessing.get_context("spawn")
    rows = []
    for name in OPS:
        for objects in OBJECTS:
            for images in IMAGES:
                here, there = context.Pipe()
                process = context.Process(target=measure, args=(name, images, objects, there))
                process.start()
                rows.append({"op": name, "images": images, "objects": objects, **here.recv()})
                process.join()
                print(rows[-1], file=sys.stderr)
    return rows


def draw(rows: list[dict]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(OPS), figsize=(12, 6.8), sharex=True, sharey="row", layout="constrained"
    )
    for column, name in enumerate(OPS):
        for objects in OBJECTS:
            own = [row for row in rows if (row["op"], row["objects"]) == (name, objects)]
            label = f"{objects:,} objects per image"
            axes[0, column].loglog(IMAGES, [row["seconds"] for row in own], "o-", label=label)
            axes[1, column].plot(IMAGES, [row["megabytes"] for row in own], "o-", label=label)
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("images of 8,400 anchors")
    axes[0, 0].set_ylabel("seconds, one thread")
    axes[1, 0].set_ylabel("MB above the inputs, result included")
    axes[0, 0].set_xticks(IMAGES, [f"{n}" for n in IMAGES])
    axes[0, 0].set_xticks([], minor=True)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(RESULTS / "assignment.png", dpi=110)


def main() -> None:
    rows = measure_all()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "assignment.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows)


if __name__ == "__main__":
    main()
