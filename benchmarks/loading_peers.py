"""The other loaders of loading_speed.py, which starts this file with the Python of `--peers`.

The first line on standard output lists versions and contenders as JSON; then each line of standard
input names one, and its seconds for an epoch are answered. Needs torch and Pillow, and
albumentations or torchvision.
"""

import importlib.metadata
import json
import sys
import time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, default_collate

KEPT = []  # libraries of operators, which vanish with their object
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Images(Dataset):
    def __init__(self, records, read, change):
        self.records, self.read, self.change = records, read, change

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        path, boxes, labels = self.records[index]
        return self.change(self.read(path), boxes, labels)


def by_pillow(path):
    return np.asarray(Image.open(path).convert("RGB"))


def by_opencv(path):
    import cv2

    return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)


def albumentations_change(size):
    import albumentations
    import cv2

    cv2.setNumThreads(0)
    compose = albumentations.Compose(
        [
            albumentations.Resize(*size),
            albumentations.HorizontalFlip(p=0.5),
            albumentations.Affine(
                scale=(0.8, 1.25), translate_percent=(-0.1, 0.1), rotate=(-10, 10), p=1
            ),
            albumentations.ColorJitter(0.2, 0.2, 0.2, 0.025, p=1),
            albumentations.Normalize(MEAN, STD),
        ],
        bbox_params=albumentations.BboxParams("pascal_voc", ["labels"], min_visibility=0.3),
    )

    def change(image, boxes, labels):
        made = compose(image=image, bboxes=boxes, labels=labels)
        pixels = torch.from_numpy(np.ascontiguousarray(made["image"].transpose(2, 0, 1)))
        boxes = torch.tensor(np.asarray(made["bboxes"], np.float32).reshape(-1, 4))
        return pixels, {"boxes": boxes, "labels": torch.tensor(made["labels"])}

    return change


def torchvision_change(size):
    if not torch.version.cuda:
        # Its wheels load no operators of their own into a torch without CUDA, and then refuse to be
        # imported because these are missing. The transforms need none.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    compose = v2.Compose(
        [
            v2.Resize(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(
                10, (0.1, 0.1), (0.8, 1.25), interpolation=v2.InterpolationMode.BILINEAR
            ),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.025),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
            v2.SanitizeBoundingBoxes(),
        ]
    )

    def change(image, boxes, labels):
        shape = image.shape[:2]
        boxes = tv_tensors.BoundingBoxes(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            format="XYXY",
            canvas_size=shape,
        )
        target = {"boxes": boxes, "labels": torch.tensor(labels)}
        return compose(Image.fromarray(image), target)

    return change


def collate(items):
    images, targets = zip(*items, strict=True)
    return default_collate(images), list(targets)


CONTENDERS = {
    "Pillow, albumentations": (by_pillow, albumentations_change),
    "OpenCV, albumentations": (by_opencv, albumentations_change),
    "Pillow, torchvision v2": (by_pillow, torchvision_change),
}


def main(path):
    with open(path) as file:
        given = json.load(file)
    loaders = {}
    for name, (read, make) in CONTENDERS.items():
        try:
            data = Images(given["records"], read, make(given["size"]))
            data[0]
        except (ImportError, RuntimeError) as error:
            print(f"without {name}: {error}", file=sys.stderr)
            continue
        loaders[name] = DataLoader(
            data,
            given["batch"],
            shuffle=True,
            num_workers=1,
            collate_fn=collate,
            persistent_workers=True,
        )
    packages = ("albumentations", "opencv-python-headless", "torchvision", "pillow")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    print(json.dumps({"versions": versions, "contenders": list(loaders)}), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in loaders[line.strip()]:
            pass
        print(json.dumps(time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
