"""`COCOeval`: evaluation of detections, like the class of pycocotools."""

import copy
import datetime
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from sightline.metrics.detection.kernels import MAX_MASK_AREAS
from sightline.metrics.detection.numbers import KEYPOINT_CUTS
from sightline.metrics.pycocotools import mask
from sightline.metrics.pycocotools._accumulate import accumulate_lists, select
from sightline.metrics.pycocotools._columns import (
    Detections,
    Objects,
    Places,
    detections_of_file,
    detections_of_records,
    objects_of_file,
    objects_of_records,
)
from sightline.metrics.pycocotools._files import ResultsFile, TruthFile, paused_collector
from sightline.metrics.pycocotools._matched import Matched, Settings
from sightline.metrics.pycocotools._pitfalls import (
    warn_of_detection_ids,
    warn_of_lvis,
    warn_of_object_ids,
    warn_of_text_flags,
)
from sightline.metrics.pycocotools._shapes import (
    keypoint_overlaps,
    keypoint_similarities,
    mask_overlaps,
)
from sightline.metrics.pycocotools.coco import unread_file
from sightline.metrics.pycocotools.params import Params

Record = dict[str, Any]
_HIGHEST_THRESHOLD = 1 - 1e-10  # so that a perfect overlap passes a threshold of 1
_STEPS = ("_prepare", "computeIoU", "computeOks", "evaluateImg")


class COCOeval:
    """Average precision and recall of `cocoDt` on `cocoGt`, for "bbox", "segm" or "keypoints".

    The interface, the printed lines and every number are those of pycocotools 2.0.11.

        evaluation = COCOeval(cocoGt, cocoDt, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()

    `evaluate` matches all images in one native call. `evalImgs` and `ious` are created, as a plain
    list and a plain dict, when they are first read; `accumulate` uses that list once it was read or
    assigned, and the native result otherwise. Where a subclass overrides `computeIoU`,
    `computeOks`, `evaluateImg` or `_prepare`, images are evaluated one by one through these.

    Attributes:
        params: settings; see `Params`.
        evalImgs: a dict, or None, for each category, area range and image, in this order.
        ious: overlaps [D, G] by (image id, category id).
        eval: `precision` and `scores` [T, R, K, A, M], `recall` [T, K, A, M], `counts`, `params`.
        stats: the numbers that `summarize` prints.
    """

    evalImgs: Any
    ious: Any
    _gts: dict[Any, list[Record]]
    _dts: dict[Any, list[Record]]

    def __init__(self, cocoGt: Any = None, cocoDt: Any = None, iouType: str = "segm") -> None:
        if not iouType:
            print("iouType not specified. use default iouType segm")
        self.cocoGt = cocoGt
        self.cocoDt = cocoDt
        self.evalImgs = defaultdict(list)
        self.eval: dict[str, Any] = {}
        self._gts, self._dts = defaultdict(list), defaultdict(list)
        self.params = Params(iouType=iouType)
        self._paramsEval: Any = {}
        self.stats: Any = []
        self.ious = {}
        self._matched: Matched | None = None
        if cocoGt is not None:
            self.params.imgIds = sorted(cocoGt.getImgIds())
            self.params.catIds = sorted(cocoGt.getCatIds())

    def __getattr__(self, name: str) -> Any:
        # reached for attributes that `evaluate` has not created yet
        matched = self.__dict__.get("_matched")
        if matched is None or name not in _LATE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        _LATE[name](self, self._paramsEval)
        return self.__dict__[name]

    def evaluate(self) -> None:
        """Match the detections of every image, category and area range.

        Warns where pycocotools' numbers are known to be wrong: annotations with id 0, crowd flags
        that are text, a file of LVIS.
        """
        begin = time.time()
        print("Running per image evaluation...")
        p = self.params
        if p.useSegm is not None:
            p.iouType = "segm" if p.useSegm == 1 else "bbox"
            print(f"useSegm (deprecated) is not None. Running {p.iouType} evaluation")
        print(f"Evaluate annotation type *{p.iouType}*")
        p.imgIds = list(np.unique(p.imgIds))
        if p.useCats:
            p.catIds = list(np.unique(p.catIds))
        p.maxDets = sorted(p.maxDets)
        if not self._evaluate_at_once():
            self._evaluate_one_by_one()
        file = unread_file(self.cocoGt)
        marks = file.lvis_marks if isinstance(file, TruthFile) else None
        warn_of_lvis(None if file else getattr(self.cocoGt, "dataset", None), marks)
        self._paramsEval = copy.deepcopy(self.params)
        print(f"DONE (t={time.time() - begin:0.2f}s).")

    def _evaluate_at_once(self) -> bool:
        """Match everything natively; False where this data or this subclass does not allow it."""
        p = self.params
        replaced = any(
            name in self.__dict__ or getattr(type(self), name) is not getattr(COCOeval, name)
            for name in _STEPS
        )
        caps_count = bool(p.maxDets) and all(
            isinstance(m, int | np.integer) and m > 0 for m in p.maxDets
        )
        known = p.iouType in ("bbox", "segm") or (p.iouType == "keypoints" and p.useCats)
        if replaced or not caps_count or not known or len(p.areaRng) > MAX_MASK_AREAS:
            return False
        places = Places(p.imgIds, p.catIds)
        detections = self._detections(p, places) if places.unique else None
        objects = None if detections is None else self._objects(p, places)
        if detections is None or objects is None:
            return False
        overlaps = None
        if p.iouType == "segm":
            overlaps = mask_overlaps(detections, objects, self.cocoDt, self.cocoGt)
        elif p.iouType == "keypoints":
            overlaps = keypoint_overlaps(detections, objects, p.kpt_oks_sigmas)
            if overlaps is None:
                return False
        settings = Settings(
            num_images=len(p.imgIds),
            num_classes=len(p.catIds) if p.useCats else 1,
            use_classes=bool(p.useCats),
            iou_thresholds=np.asarray(p.iouThrs, np.float64),
            area_ranges=np.array(p.areaRng, np.float64).reshape(-1, 2),
            max_detections=int(p.maxDets[-1]),
        )
        self._matched = Matched(detections, objects, settings, overlaps)
        self.eval = {}
        for name in _LATE:
            self.__dict__.pop(name, None)
        void = objects.flat.void
        warn_of_object_ids(0 if void is None else int(void.sum()), len(objects.ids))
        warn_of_text_flags(objects.records or ())
        return True

    def _evaluate_one_by_one(self) -> None:
        self._prepare()
        self._matched = None
        p = self.params
        categories = p.catIds if p.useCats else [-1]
        overlap = self.computeOks if p.iouType == "keypoints" else self.computeIoU
        self.ious = {(i, c): overlap(i, c) for i in p.imgIds for c in categories}
        self.evalImgs = [
            self.evaluateImg(image, category, area_range, p.maxDets[-1])
            for category in categories
            for area_range in p.areaRng
            for image in p.imgIds
        ]
        truth, found = ([r for g in side.values() for r in g] for side in (self._gts, self._dts))
        warn_of_object_ids(sum(1 for g in truth if g["id"] == 0), len(truth))
        warn_of_detection_ids([d["id"] for d in found])
        warn_of_text_flags(truth)

    def _detections(self, p: Params, places: Places) -> Detections | None:
        file = unread_file(self.cocoDt)
        if p.iouType == "bbox" and isinstance(file, ResultsFile):
            found = detections_of_file(file, places)
            if found is not None:
                return found
        return detections_of_records(_load_records(self.cocoDt, p), places, p.iouType)

    def _objects(self, p: Params, places: Places) -> Objects | None:
        file = unread_file(self.cocoGt)
        if p.iouType == "bbox" and isinstance(file, TruthFile):
            truth = objects_of_file(file, places)
            if truth is not None:
                return truth
        return objects_of_records(_load_records(self.cocoGt, p), places, p.iouType)

    def _prepare(self) -> None:
        """Group annotations by image and category, in `_gts` and `_dts`."""
        self._group_records(self.params)
        self.evalImgs, self.eval = defaultdict(list), {}

    def _group_records(self, p: Params) -> None:
        truth, found = _load_records(self.cocoGt, p), _load_records(self.cocoDt, p)
        if p.iouType == "segm":
            for coco, records in ((self.cocoGt, truth), (self.cocoDt, found)):
                for record in records:
                    record["segmentation"] = coco.annToRLE(record)
        for record in truth:
            # `iscrowd` overrides an `ignore` in the file
            record["ignore"] = record.get("iscrowd", False)
            if p.iouType == "keypoints":
                record["ignore"] = record["num_keypoints"] == 0 or record["ignore"]
        self._gts, self._dts = defaultdict(list), defaultdict(list)
        for groups, records in ((self._gts, truth), (self._dts, found)):
            for record in records:
                groups[record["image_id"], record["category_id"]].append(record)

    def _group(self, imgId: Any, catId: Any) -> tuple[list[Record], list[Record]]:
        """Objects and detections of an image and category, or of all categories."""
        p = self.params
        categories = [catId] if p.useCats else p.catIds
        return (
            [g for c in categories for g in self._gts[imgId, c]],
            [d for c in categories for d in self._dts[imgId, c]],
        )

    def computeIoU(self, imgId: Any, catId: Any) -> Any:
        """Overlaps [D, G] of an image and category, best detection first; [] where one is empty."""
        truth, found = self._group(imgId, catId)
        if not truth and not found:
            return []
        found = _best_first(found)[: self.params.maxDets[-1]]
        crowd = [int(g["iscrowd"]) for g in truth]
        key = {"segm": "segmentation", "bbox": "bbox"}.get(self.params.iouType)
        if key is None:
            raise Exception("unknown iouType for iou computation")
        return mask.iou([d[key] for d in found], [g[key] for g in truth], crowd)

    def computeOks(self, imgId: Any, catId: Any) -> Any:
        """Similarities [D, G] of the keypoints of an image and category; [] where one is empty."""
        truth, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not truth or not found:
            return []
        found = _best_first(found)[: self.params.maxDets[-1]]
        return keypoint_similarities(found, truth, self.params.kpt_oks_sigmas)

    def evaluateImg(self, imgId: Any, catId: Any, aRng: Any, maxDet: int) -> Record | None:
        """Match one image and category for one area range."""
        truth, found = self._group(imgId, catId)
        if not truth and not found:
            return None

        def outside(record: Record) -> bool:
            return record["area"] < aRng[0] or record["area"] > aRng[1]

        for record in truth:
            record["_ignore"] = int(bool(record["ignore"] or outside(record)))
        order = np.argsort([g["_ignore"] for g in truth], kind="stable")
        truth = [truth[i] for i in order]
        found = _best_first(found)[:maxDet]
        gt_ignore = np.array([g["_ignore"] for g in truth])
        gt_ids, dt_ids = [g["id"] for g in truth], [d["id"] for d in found]
        thresholds = self.params.iouThrs
        gt_matches = np.zeros((len(thresholds), len(truth)))
        dt_matches = np.zeros((len(thresholds), len(found)))
        dt_ignore = np.zeros((len(thresholds), len(found)))
        overlaps = self.ious[imgId, catId]
        if len(overlaps):
            overlaps = overlaps[: len(found), order]
            crowd = [bool(int(g["iscrowd"])) for g in truth]
            ignored = [g["_ignore"] == 1 for g in truth]
            takes = [i > 0 for i in dt_ids]  # 0 stands for "not matched"
            for t, threshold in enumerate(thresholds):
                for d, g in enumerate(_take(overlaps, ignored, crowd, takes, threshold)):
                    if g >= 0:
                        dt_ignore[t, d] = gt_ignore[g]
                        dt_matches[t, d] = gt_ids[g]
                        gt_matches[t, g] = dt_ids[d]
        dt_outside = np.array([outside(d) for d in found], bool)
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": dt_ids,
            "gtIds": gt_ids,
            "dtMatches": dt_matches,
            "gtMatches": gt_matches,
            "dtScores": [d["score"] for d in found],
            "gtIgnore": gt_ignore,
            "dtIgnore": np.logical_or(dt_ignore, (dt_matches == 0) & dt_outside),
        }

    def accumulate(self, p: Params | None = None) -> None:
        """Compute precision and recall from the matches with the settings `p`, into `eval`."""
        print("Accumulating evaluation results...")
        begin = time.time()
        matched = None if "evalImgs" in self.__dict__ else self._matched
        if not (self.evalImgs if matched is None else matched.settings.num_entries):
            print("Please run evaluate() first")
        p = self.params if p is None else p
        p.catIds = p.catIds if p.useCats == 1 else [-1]
        chosen = select(p, self._paramsEval)
        arrays = None if matched is None else chosen.from_matched(matched)
        if arrays is None:
            arrays = accumulate_lists(self.evalImgs, chosen)
        precision, recall, scores = arrays
        self.eval = {
            "params": p,
            "counts": list(precision.shape),
            "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            "precision": precision,
            "recall": recall,
            "scores": scores,
        }
        print(f"DONE (t={time.time() - begin:0.2f}s).")

    def summarize(self) -> None:
        """Print the twelve numbers (ten for keypoints) and store them in `stats`."""
        if not self.eval:
            raise Exception("Please run accumulate() first")
        caps = self.params.maxDets
        if self.params.iouType == "keypoints":
            lines = [(ap, iou, area, 20) for ap in (1, 0) for iou, area in KEYPOINT_CUTS]
        else:
            lines = [
                (1, None, "all", 100),  # whatever `maxDets` holds
                (1, 0.5, "all", caps[2]),
                (1, 0.75, "all", caps[2]),
                *((1, None, area, caps[2]) for area in ("small", "medium", "large")),
                *((0, None, "all", cap) for cap in caps[:3]),
                *((0, None, area, caps[2]) for area in ("small", "medium", "large")),
            ]
        self.stats = np.array([self._summarize(*line) for line in lines], np.float64)

    def _summarize(self, ap: int, iouThr: float | None, areaRng: str, maxDets: int) -> Any:
        p = self.params
        areas = [i for i, label in enumerate(p.areaRngLbl) if label == areaRng]
        caps = [i for i, cap in enumerate(p.maxDets) if cap == maxDets]
        values = self.eval["precision" if ap == 1 else "recall"]
        if iouThr is not None:
            values = values[np.where(iouThr == p.iouThrs)[0]]
        values = values[..., areas, caps]
        values = values[values > -1]
        mean = np.mean(values) if len(values) else -1
        name = "Average Precision  (AP)" if ap == 1 else "Average Recall     (AR)"
        ious = f"{p.iouThrs[0]:0.2f}:{p.iouThrs[-1]:0.2f}" if iouThr is None else f"{iouThr:0.2f}"
        print(
            f" {name} @[ IoU={ious:<9} | area={areaRng:>6s} | maxDets={maxDets:>3d} ] = {mean:0.3f}"
        )
        return mean

    def __str__(self) -> str:
        self.summarize()
        return ""

    def _make_eval_images(self, p: Params) -> None:
        assert self._matched is not None
        with paused_collector():
            categories = p.catIds if p.useCats else [-1]
            self.evalImgs = self._matched.eval_images(p.imgIds, categories, p.areaRng)

    def _make_ious(self, p: Params) -> None:
        assert self._matched is not None
        with paused_collector():
            categories = p.catIds if p.useCats else [-1]
            order: Literal["C", "F"] = "C" if p.iouType == "keypoints" else "F"
            self.ious = self._matched.ious(p.imgIds, categories, order)


def _load_records(coco: Any, p: Params) -> list[Record]:
    """Annotations of the images and categories of the settings."""
    chosen = {"imgIds": p.imgIds, **({"catIds": p.catIds} if p.useCats else {})}
    return coco.loadAnns(coco.getAnnIds(**chosen))


def _best_first(found: list[Record]) -> list[Record]:
    """Sorted by score; equal scores keep their order, NaN comes last."""
    return [found[i] for i in np.argsort([-d["score"] for d in found], kind="stable")]


def _take(
    overlaps: np.ndarray,  # [D, G], best detection first; objects that count before the others
    ignored: Sequence[bool],  # [G]
    crowd: Sequence[bool],  # [G]
    takes: Sequence[bool],  # [D], whether the detection's object is matched for the others
    threshold: float,
) -> list[int]:
    """Index of the object that each detection matches, -1 for none.

    That is the free object with the largest overlap among those that count, the last one among
    equals; where none reaches the threshold, the same among ignored objects. Crowds are free.
    """
    free = [True] * len(ignored)
    found = []
    for row, keeps in zip(overlaps.tolist(), takes):
        best, least = -1, min(threshold, _HIGHEST_THRESHOLD)
        for g, overlap in enumerate(row):
            if best >= 0 and ignored[g] and not ignored[best]:
                break
            # a NaN is not less and so passes, as in pycocotools
            if (free[g] or crowd[g]) and not overlap < least:
                best, least = g, overlap
        if best >= 0 and keeps:
            free[best] = False
        found.append(best)
    return found


# Attributes that are created when they are first read after `evaluate`.
_LATE: dict[str, Callable[[COCOeval, Params], None]] = {
    "evalImgs": COCOeval._make_eval_images,
    "ious": COCOeval._make_ious,
    "_gts": COCOeval._group_records,
    "_dts": COCOeval._group_records,
}
