"""What a trained model says of one picture."""

from collections import Counter
from dataclasses import dataclass
from os import PathLike, fsdecode
from typing import Any

import numpy as np

from sightline._text import printable, shortened
from sightline.data.draw import draw_classification, draw_detections
from sightline.data.image import Picture

__all__ = ["SCORE_THRESHOLD", "Classification", "Detections"]

# Detections below it are no claim that an object is there. The default of `Predictor.predict`, of
# `sightline predict`, and of the pictures and the confusion matrix of a report; average precision
# sees all detections.
SCORE_THRESHOLD = 0.3
_MOST_NAMED = 5  # classes, in a line
_NAME_LENGTH = 24  # characters


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """What was found in one picture, best first.

    Attributes:
        boxes: float64 [N, 4] xyxy in pixels of the picture as shown (EXIF orientation applied).
        scores: float64 [N].
        labels: int64 [N].
        names: [N], the classes in words.
        picture: what was given to `predict`, for `draw`; a file that was opened by its pixels. It
            is read when it is drawn: a file must still be there, an array hold what it held.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    picture: Picture | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        """One line, as `Detections(3: 2 cat, 1 dog; best cat .93)`."""
        if not len(self):
            return "Detections(0)"
        best = int(np.argmax(self.scores))
        found = f"{shortened(self.names[best], _NAME_LENGTH)} {_score(self.scores[best])}"
        return f"Detections({len(self)}: {self.summary()}; best {found})"

    def summary(self) -> str:
        """How many of which class, as "2 cat, 1 dog", the most common first."""
        counts = Counter(self.names).most_common()
        words = [f"{count} {shortened(name, _NAME_LENGTH)}" for name, count in counts[:_MOST_NAMED]]
        if len(counts) > _MOST_NAMED:
            rest = sum(count for _, count in counts[_MOST_NAMED:])
            words.append(f"{rest} of {len(counts) - _MOST_NAMED} other classes")
        return ", ".join(words) or "nothing found"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        "image" is the path of the picture, None where it was no file; "detections" has a dict with
        "name", "label", "score" and "box" (xyxy in pixels) for each, best first.
        """
        rows = zip(self.names, self.labels, self.scores, self.boxes, strict=True)
        return {
            "image": _path(self.picture),
            "detections": [
                {"name": name, "label": int(label), "score": float(score), "box": box.tolist()}
                for name, label, score, box in rows
            ],
        }

    def draw(self, picture: Picture | None = None, *, width: int | None = None) -> Any:
        """The picture with the boxes, names and scores, as a PIL image in RGB.

        Args:
            picture: another picture to draw on; None for that which was given to `predict`.
            width: pixels that the result is wide; None for the picture's own size.

        Raises:
            DataError: a file that is no longer there, or cannot be read.
            ValueError: no picture here, and none given.
        """
        names = dict(zip(self.labels.tolist(), self.names, strict=True))
        image = _to_draw_on(self.picture if picture is None else picture)
        return draw_detections(
            image, self.boxes, self.labels, names, scores=self.scores, width=width
        )


@dataclass(frozen=True, eq=False, repr=False)
class Classification:
    """What one picture shows.

    Attributes:
        label: the best class.
        name: the same in words.
        score: its probability.
        probabilities: float64 [K], of all classes.
        class_names: [K].
        picture: what was given to `predict`, for `draw`; a file that was opened by its pixels.
    """

    label: int
    name: str
    score: float
    probabilities: np.ndarray
    class_names: tuple[str, ...] = ()
    picture: Picture | None = None

    def __repr__(self) -> str:
        """One line, as `Classification(cat .93)`."""
        return f"Classification({shortened(self.name, _NAME_LENGTH)} {_score(self.score)})"

    def summary(self) -> str:
        """The class and its probability, as "cat 0.930"."""
        return f"{printable(self.name)} {self.score:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "image" (its path, or None), "name", "score", "probabilities".

        The last is a dict from class name to probability.
        """
        probabilities = dict(zip(self.class_names, self.probabilities.tolist()))
        return {
            "image": _path(self.picture),
            "name": self.name,
            "score": self.score,
            "probabilities": probabilities,
        }

    def draw(self, picture: Picture | None = None, *, width: int | None = None) -> Any:
        """The picture with the class and its probability under it, as a PIL image in RGB.

        Arguments and errors are those of `Detections.draw`.
        """
        image = _to_draw_on(self.picture if picture is None else picture)
        return draw_classification(image, f"{printable(self.name)}  {self.score:.2f}", width=width)


def _score(score: float) -> str:
    return f"{score:.2f}".removeprefix("0")


def _path(picture: Picture | None) -> str | None:
    return fsdecode(picture) if isinstance(picture, (str, PathLike)) else None


def _to_draw_on(picture: Picture | None) -> Picture:
    if picture is None:
        raise ValueError("no picture to draw on: give the one that this was found in")
    return picture
