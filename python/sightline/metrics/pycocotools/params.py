"""Settings of an evaluation."""

import copy
from typing import Any

import numpy as np

from sightline.metrics.shapes.keypoints import COCO_KEYPOINT_SIGMAS

_AREAS = {
    "all": (0, 1e5**2),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e5**2),
}
_ID_TYPES = {int, str, np.int64, np.str_}


class Params:
    """Settings of `COCOeval`, to be changed before `evaluate`.

    Attributes:
        imgIds, catIds: what to evaluate.
        iouThrs, recThrs: overlap thresholds [T] and recalls [R] at which precision is sampled.
        areaRng, areaRngLbl: area ranges in pixels, both ends included, and their names.
        maxDets: how many of the best detections are kept per image and category.
        useCats: 0 ignores categories.
        kpt_oks_sigmas: the deviation of each keypoint.
    """

    def __init__(self, iouType: str = "segm") -> None:
        if iouType in ("segm", "bbox"):
            self.setDetParams()
        elif iouType == "keypoints":
            self.setKpParams()
        else:
            raise Exception("iouType not supported")
        self.iouType = iouType
        self.useSegm: Any = None  # deprecated: 1 for "segm", 0 for "bbox"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Params":
        copied = type(self).__new__(type(self))
        for name, value in vars(self).items():
            # thousands of ids, which are immutable, need not be copied
            ids = isinstance(value, list) and set(map(type, value)) <= _ID_TYPES
            vars(copied)[name] = list(value) if ids else copy.deepcopy(value, memo)
        return copied

    def setDetParams(self) -> None:
        """COCO's settings for boxes and masks."""
        self._set([1, 10, 100], ["all", "small", "medium", "large"])

    def setKpParams(self) -> None:
        """COCO's settings for keypoints."""
        self._set([20], ["all", "medium", "large"])
        self.kpt_oks_sigmas = COCO_KEYPOINT_SIGMAS.copy()

    def _set(self, max_detections: list[int], areas: list[str]) -> None:
        self.imgIds: list[Any] = []
        self.catIds: list[Any] = []
        self.iouThrs = np.linspace(0.5, 0.95, 10)
        self.recThrs = np.linspace(0.0, 1.0, 101)
        self.maxDets = max_detections
        self.areaRng = [list(_AREAS[name]) for name in areas]
        self.areaRngLbl = areas
        self.useCats = 1
