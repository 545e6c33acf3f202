"""Measures how long opening a COCO file of generated annotations takes, and its peak memory.

    python benchmarks/open_coco.py                               # the size of COCO's train2017
    python benchmarks/open_coco.py --images 5000 --boxes 36000   # of its val2017

The data set is written as COCO's own files are, with polygons, and its images are empty files. Each
run is a process of its own, with the file in the page cache; memory is the peak above what the
process takes after its imports. Linux only.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CLASSES = 80
CROWDS = 0.01  # share of annotations with run lengths
RINGS = 500  # polygons that are drawn, and used again and again

RUN = """
import json, sys, time
import sightline.data

def kilobytes(name):
    # Not ru_maxrss, which a process takes over from the one that started it.
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

before = kilobytes("VmRSS")
start = time.perf_counter()
found = sightline.data.read_dataset(sys.argv[1], format="coco")
seconds = time.perf_counter() - start
peak = kilobytes("VmHWM") - before
start = time.perf_counter()
step = max(1, len(found) // 1000)
outlines = [shape for record in found.records[::step] for shape in record.shapes or ()]
each = (time.perf_counter() - start) / max(1, len(outlines))
print(json.dumps({"images": len(found), "boxes": int(found.class_counts().sum()),
                  "seconds": seconds, "peak_mb": peak * 1024 / 1e6, "outline_us": each * 1e6}))
"""


def write_coco(folder: Path, images: int, boxes: int, seed: int = 0) -> Path:
    """Write a data set of empty images and drawn annotations; return its label file."""
    rng = random.Random(seed)
    (folder / "images").mkdir(parents=True)
    path = folder / "instances.json"
    categories = [{"supercategory": "thing", "id": i, "name": f"class {i}"} for i in range(CLASSES)]
    with path.open("w") as file:
        file.write('{"info": {"year": 2026}, "images": [')
        for number in range(images):
            name = f"{number:012d}.jpg"
            (folder / "images" / name).touch()
            entry = {"license": 3, "file_name": name, "coco_url": f"http://images/{name}"}
            entry |= {"height": 480, "width": 640, "date_captured": "2013-11-14 17:02:52"}
            file.write(", " * (number > 0) + json.dumps(entry | {"id": number}))
        file.write('], "annotations": [')
        file.writelines(_annotations(rng, images, boxes))
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def _annotations(rng: random.Random, images: int, boxes: int) -> Iterator[str]:
    rings = [
        json.dumps([round(rng.uniform(0, 480), 2) for _ in range(2 * rng.randint(6, 24))])
        for _ in range(RINGS)
    ]
    crowd = json.dumps({"counts": [100, 200, 640 * 480 - 300], "size": [480, 640]})
    for number in range(boxes):
        is_crowd = rng.random() < CROWDS
        outline = crowd if is_crowd else f"[{rng.choice(rings)}]"
        x, y = round(rng.uniform(0, 500), 2), round(rng.uniform(0, 400), 2)
        width, height = round(rng.uniform(1, 140), 2), round(rng.uniform(1, 80), 2)
        comma = ", " if number else ""
        yield (
            f'{comma}{{"segmentation": {outline}, "area": {width * height:.4f}, '
            f'"iscrowd": {int(is_crowd)}, "image_id": {rng.randrange(images)}, '
            f'"bbox": [{x}, {y}, {width}, {height}], "category_id": {rng.randrange(CLASSES)}, '
            f'"id": {number}}}'
        )


def measure(path: Path) -> dict[str, float]:
    """Open a data set in a fresh process; return what it measured."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_coco(Path(folder) / "set", options.images, options.boxes)
        megabytes = path.stat().st_size / 1e6
        runs = [measure(path) for _ in range(options.runs)]
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    fastest = min(run["seconds"] for run in runs)
    print(
        f"{options.images:,} images, {options.boxes:,} boxes, {megabytes:,.0f} MB: opened in "
        f"{median['seconds']:.2f} s (median of {options.runs}; fastest {fastest:.2f}), "
        f"peak {median['peak_mb']:,.0f} MB; {median['outline_us']:.0f} us for each outline read"
    )
    if options.json:
        options.json.write_text(json.dumps({"file_mb": megabytes, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
