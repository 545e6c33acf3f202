"""Loads a trained model from a run folder or a weights file, and predicts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sightline._text import listed
from sightline.data import DataError, Preprocess, read_image
from sightline.data.image import Picture, images_in
from sightline.models import create_model
from sightline.nn.wrappers import device_of, predictions_of
from sightline.tasks import SCORE_THRESHOLD, TASKS, Classification, Detections, Prediction
from sightline.train.checkpoint import load_into, load_weights

__all__ = ["Classification", "Detections", "Predictor", "load", "weights_file"]


# Entries that the header of a weights file may lack, and the argument of `load` for each.
_HOW_TO_GIVE = {
    "model": "model=<the module that was trained>",
    "task": "task=" + " or ".join(map(repr, TASKS)),
    "class_names": "class_names=[...]",
    "preprocess": "preprocess=sightline.data.Preprocess(...)",
}


@dataclass(frozen=True, repr=False)
class Predictor:
    """A model, its preprocessing and its class names; returned by `sightline.load`."""

    model: nn.Module
    task: str
    class_names: tuple[str, ...]
    preprocess: Preprocess
    metadata: dict[str, Any]

    def __repr__(self) -> str:
        """One line: the network, its task, its input and its classes."""
        network = self.metadata.get("model", {}).get("name") or type(self.model).__name__
        height, width = self.preprocess.size
        return (
            f"Predictor({network}: {self.task}, {height} x {width} pixels, "
            f"{len(self.class_names):,} classes: {listed(self.class_names, 5)})"
        )

    def predict(
        self,
        picture: Picture | Sequence[Picture],
        *,
        score_threshold: float = SCORE_THRESHOLD,
        batch_size: int = 16,
    ) -> Any:
        """Predict one image, each image of a list, or each in a folder.

        Args:
            picture: anything that `sightline.data.read_image` takes (a path, the bytes of an image
                file, a file opened in binary mode, a PIL image, a uint8 array [H, W] or
                [H, W, 1 | 3 | 4] in RGB order), a list or tuple of them, or the path of a folder
                for the images in it, sorted by name.
            score_threshold: detections with a lower score are left out, in [0, 1]; 0.3 by default,
                as in `sightline predict`. 0 keeps all predictions of the model.
            batch_size: images that go through the network together.

        Returns:
            `Detections` or `Classification`, depending on the task; a list of them for a list or a
            folder. Each keeps its `picture`; for a folder that is the path of the file.

        Raises:
            DataError: a file is missing or cannot be decoded, or a folder has no images; the
                message names it. `predict_each` can continue after it.
            ValueError, TypeError: something that is not an image; an array of another shape or
                dtype.
        """
        options: dict[str, Any] = {"score_threshold": score_threshold, "batch_size": batch_size}
        if isinstance(picture, (list, tuple)) or _is_folder(picture):
            return list(self.predict_each(picture, **options))
        return next(self.predict_each([picture], **options))

    def predict_each(
        self,
        pictures: Iterable[Picture] | str | PathLike,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        batch_size: int = 16,
        on_error: Callable[[Picture, DataError], None] | None = None,
    ) -> Iterator[Any]:
        """Predict many images one batch at a time, so that memory does not grow with their number.

        Args:
            pictures: an iterable of images as for `predict`, which may be infinite, or a folder.
            score_threshold, batch_size: as in `predict`.
            on_error: called with an image that cannot be read and the error; the image is then
                left out. None raises the error.

        Returns:
            An iterator of `Detections` or `Classification`, in the order of the images.

        Raises:
            The errors of `predict`.

        Example:
            for found in predictor.predict_each("photos", on_error=lambda _, error: print(error)):
                print(found.picture, found)
        """
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"`score_threshold` must be in [0, 1], got {score_threshold}")
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
        if isinstance(pictures, (str, PathLike)):
            pictures = images_in(pictures) if _is_folder(pictures) else [pictures]
        return self._each(iter(pictures), score_threshold, batch_size, on_error)

    def _each(
        self,
        pictures: Iterator[Picture],
        score_threshold: float,
        batch_size: int,
        on_error: Callable[[Picture, DataError], None] | None,
    ) -> Iterator[Any]:
        batch: list[tuple[Picture, np.ndarray]] = []
        for picture in pictures:
            try:
                pixels = read_image(
                    picture,
                    channels=self.preprocess.channels,
                    max_pixels=self.preprocess.max_pixels,
                )
            except DataError as error:
                if on_error is None:
                    raise
                on_error(picture, error)
                continue
            batch.append((pixels if hasattr(picture, "read") else picture, pixels))
            if len(batch) == batch_size:
                yield from self._batch(batch, score_threshold)
                batch = []
        if batch:
            yield from self._batch(batch, score_threshold)

    @torch.no_grad()
    def _batch(
        self, batch: Sequence[tuple[Picture, np.ndarray]], score_threshold: float
    ) -> Sequence[Prediction]:
        pictures, pixels = zip(*batch, strict=True)
        images, transforms = zip(*map(self.preprocess.apply, pixels), strict=True)
        inputs = torch.stack([torch.from_numpy(image) for image in images])
        outputs = self.model(inputs.to(device_of(self.model)))
        return TASKS[self.task].predictions(
            predictions_of(self.model, outputs),
            pictures,
            transforms,
            class_names=self.class_names,
            preprocess=self.preprocess,
            score_threshold=score_threshold,
        )


def _is_folder(picture: Any) -> bool:
    return isinstance(picture, (str, PathLike)) and Path(picture).is_dir()


def weights_file(source: str | Path, weights: str = "best") -> Path:
    """The path of the weights of a run folder, or of the file itself.

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
        below = (f"{depth}/weights/{path.name}" for depth in ("*", "*/*"))  # of `runs` or a task
        found = {
            file.parents[1].relative_to(source) for word in below for file in source.glob(word)
        }
        if found:
            what = f"it is not a run; it contains runs: {listed(sorted(found), 5)}"
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

    A run of `sightline train` needs nothing else, nor does one of `fit` with a model from
    `create_model` and a loader from `sightline.data`. For others, pass what the header of the
    weights lacks here, or to `fit` as `metadata`.

    Args:
        source: a run folder, or a `.safetensors` file from a run.
        weights: "best" or "last", for a run folder.
        device: the device to predict on.
        model: the module to load the weights into, where `create_model` did not create it. It is
            modified: it gets the weights, is put into evaluation mode and moved to `device`.
        task: a name in `sightline.tasks.TASKS`: that of a classifier for a model that returns
            logits [B, K], that of a detector for one that predicts a dict of boxes, scores and
            labels per image.
        class_names: names of labels 0, 1, ...
        preprocess: how an image is converted to the input of the network.

    Raises:
        FileNotFoundError: there are no weights.
        ValueError: the header lacks something that was not given; an unknown `task`; weights of
            another model, or that are NaN or infinite.
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
    if metadata["task"] not in TASKS:
        known = " or ".join(map(repr, TASKS))
        raise ValueError(f"`task` must be {known}, got {metadata['task']!r}")
    if not isinstance(metadata["preprocess"], Preprocess):
        metadata["preprocess"] = Preprocess.from_dict(metadata["preprocess"])
    names = tuple(metadata["class_names"])
    if model is None:
        made_by = metadata["model"]
        model = create_model(made_by["name"], len(names), **made_by["options"])
    load_into(model, tensors, path)
    return Predictor(
        model=model.eval().to(device),
        task=metadata["task"],
        class_names=names,
        preprocess=metadata["preprocess"],
        metadata=metadata | {"preprocess": metadata["preprocess"].to_dict()},
    )
