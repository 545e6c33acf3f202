"""A trained model that needs nothing but its run folder, or one weights file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sightline.data import Preprocess, read_image
from sightline.data.image import Picture
from sightline.models import create_model
from sightline.train.checkpoint import load_weights
from sightline.train.wrappers import load_plain_state

__all__ = ["Classification", "Detections", "Predictor", "load", "weights_file"]


# What the header of a weights file may lack, as `load` takes it.
_HOW_TO_GIVE = {
    "model": "model=<the module that was trained>",
    "task": "task='classify' (or 'detect')",
    "class_names": "class_names=[...]",
    "preprocess": "preprocess=sightline.data.Preprocess(...)",
}


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, best first.

    `boxes` float64 [N, 4] xyxy in pixels of the picture, `scores` float64 [N], `labels` int64 [N],
    `names` [N] the classes in words.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Classification:
    """What one picture shows: the best class, and `probabilities` float64 [K] of all."""

    label: int
    name: str
    score: float
    probabilities: np.ndarray


@dataclass(frozen=True)
class Predictor:
    """A model, its preprocessing and its class names; made by `sightline.load`."""

    model: nn.Module
    task: str
    class_names: tuple[str, ...]
    preprocess: Preprocess
    metadata: dict[str, Any]

    def predict(
        self,
        picture: Picture | Sequence[Picture],
        *,
        score_threshold: float = 0.0,
        batch_size: int = 16,
    ) -> Any:
        """Predict one picture, or each of a list.

        Args:
            picture: what `sightline.data.read_image` takes (a path, the bytes of an image file, a
                file opened for reading bytes, a PIL image, a uint8 array [H, W] or
                [H, W, 1 | 3 | 4] in RGB order), or a list or tuple of them.
            score_threshold: detections below it are left out, in [0, 1].
            batch_size: pictures that go through the network together.

        Returns:
            `Detections` or `Classification`, by task; a list of them for a list.

        Raises:
            DataError: a file that is missing or cannot be decoded; names it.
            ValueError, TypeError: what is no picture; an array of another shape or dtype.
        """
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"`score_threshold` must be in [0, 1], got {score_threshold}")
        if isinstance(picture, (list, tuple)):
            results: list[Any] = []
            for start in range(0, len(picture), batch_size):
                results += self._batch(picture[start : start + batch_size], score_threshold)
            return results
        return self._batch([picture], score_threshold)[0]

    @torch.no_grad()
    def _batch(self, pictures: Sequence[Picture], score_threshold: float) -> list[Any]:
        inputs, transforms = [], []
        for picture in pictures:
            image, transform = self.preprocess.apply(
                read_image(picture, channels=self.preprocess.channels)
            )
            inputs.append(torch.from_numpy(image))
            transforms.append(transform)
        device = next(self.model.parameters()).device
        outputs = self.model(torch.stack(inputs).to(device))
        if self.task == "classify":
            return [self._classification(row) for row in torch.softmax(outputs.double(), 1).cpu()]
        return [
            self._detections(found, transform, score_threshold)
            for found, transform in zip(outputs, transforms, strict=True)
        ]

    def _classification(self, probabilities: torch.Tensor) -> Classification:
        label = int(probabilities.argmax())
        score = float(probabilities[label])
        return Classification(label, self.class_names[label], score, probabilities.numpy())

    def _detections(self, found: dict, transform: Any, score_threshold: float) -> Detections:
        scores = found["scores"].double().cpu().numpy()
        keep = scores >= score_threshold
        boxes = found["boxes"].double().cpu().numpy()[keep]
        labels = found["labels"].cpu().numpy()[keep]
        return Detections(
            boxes=self.preprocess.to_original(boxes, transform),
            scores=scores[keep],
            labels=labels,
            names=tuple(self.class_names[label] for label in labels),
        )


def weights_file(source: str | Path, weights: str = "best") -> Path:
    """The weights of a run folder, or the file itself.

    Raises:
        FileNotFoundError: neither a weights file nor a folder with `weights/<weights>.safetensors`.
        ValueError: `weights` is neither "best" nor "last".
    """
    source = Path(source)
    if weights not in ("best", "last"):
        raise ValueError(f"`weights` must be 'best' or 'last', got {weights!r}")
    if source.is_file():
        return source
    path = source / "weights" / f"{weights}.safetensors"
    if not path.is_file():
        what = "no finished epoch in it" if source.is_dir() else "no such file or folder"
        raise FileNotFoundError(f"cannot load a model from {source}: {what} (looked for {path})")
    return path


def load(
    source: str | Path,
    *,
    weights: str = "best",
    device: str | torch.device = "cpu",
    model: nn.Module | None = None,
    task: str | None = None,
    class_names: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
) -> Predictor:
    """Load a trained model from a run folder or a weights file, ready to predict.

    A run of `sightline train` needs nothing else, nor does one of `fit` whose model is of
    `create_model` and whose loader is of `sightline.data`. For others, what the header of their
    weights lacks is given here, or to `fit` as `metadata`.

    Args:
        source: a run folder, or a `.safetensors` file that a run wrote.
        weights: "best" or "last" of a run folder.
        device: where it predicts.
        model: the module to load the weights into, where `create_model` did not make it. It is
            changed: it has the weights afterwards, is in evaluation mode and on `device`.
        task: "classify", for a model that gives logits [B, K], or "detect", for one that gives a
            dict of boxes, scores and labels for each image.
        class_names: names of labels 0, 1, ...
        preprocess: how a picture becomes the input of the network.

    Raises:
        FileNotFoundError: no weights there.
        ValueError: the header lacks something, and it was not given; another `task`.
    """
    path = weights_file(source, weights)
    tensors, metadata = load_weights(path)
    given = {"task": task, "class_names": class_names, "preprocess": preprocess}
    metadata |= {name: value for name, value in given.items() if value is not None}
    missing = sorted({"task", "class_names", "preprocess"} - metadata.keys())
    if model is None and "model" not in metadata:
        missing.insert(0, "model")
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)} in its header, so give "
            f"sightline.load({str(source)!r}, {', '.join(_HOW_TO_GIVE[name] for name in missing)})"
        )
    if metadata["task"] not in ("classify", "detect"):
        raise ValueError(f"`task` must be 'classify' or 'detect', got {metadata['task']!r}")
    if not isinstance(metadata["preprocess"], Preprocess):
        metadata["preprocess"] = Preprocess.from_dict(metadata["preprocess"])
    names = tuple(metadata["class_names"])
    if model is None:
        made_by = metadata["model"]
        model = create_model(made_by["name"], len(names), **made_by["options"])
    load_plain_state(model, tensors)
    return Predictor(
        model=model.eval().to(device),
        task=metadata["task"],
        class_names=names,
        preprocess=metadata["preprocess"],
        metadata=metadata | {"preprocess": metadata["preprocess"].to_dict()},
    )
