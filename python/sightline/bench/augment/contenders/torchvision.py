"""torchvision's transforms v2, on tensors of uint8 as its guide advises."""

import torch
from torchvision import __version__, tv_tensors
from torchvision.transforms import v2

from ..programs import HEIGHT, MEAN, STD, WIDTH, Change, Library, Strengths


class Torchvision(Library):
    def versions(self) -> str:
        return __version__

    def set_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def flip(self) -> Change:
        return _change([v2.RandomHorizontalFlip(p=1)])

    def change(self, strengths: Strengths) -> Change:
        torch.manual_seed(0)
        steps = [
            v2.RandomHorizontalFlip(p=0.5),
            v2.RandomAffine(
                degrees=strengths.rotate,
                translate=(strengths.translate, strengths.translate),
                scale=strengths.scale,
                shear=[-strengths.shear, strengths.shear] * 2,
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(
                brightness=strengths.colour,
                contrast=strengths.colour,
                saturation=strengths.colour,
                hue=strengths.hue / 360,
            ),
        ]
        if strengths.elastic:
            steps.append(v2.ElasticTransform(alpha=strengths.elastic * WIDTH * 10, sigma=32.0))
        return _change(steps)


def _change(steps: list) -> Change:
    compose = v2.Compose(
        [
            *steps,
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(min_size=1),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )

    def change(image, boxes, labels):
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        found, target = compose(
            tv_tensors.Image(pixels),
            {
                "boxes": tv_tensors.BoundingBoxes(
                    torch.from_numpy(boxes), format="XYXY", canvas_size=(HEIGHT, WIDTH)
                ),
                "labels": torch.from_numpy(labels),
            },
        )
        return found.contiguous(), target["boxes"], target["labels"]

    return change


LIBRARY = Torchvision()
