"""Ours."""

from typing import Any

import numpy as np

from sightline import _numpy
from sightline.metrics import DetectionEvaluator, evaluate_coco
from sightline.metrics.coco.evaluate import evaluate_columns
from sightline.metrics.coco.reader import read_ground_truth, read_results
from sightline.metrics.detection.compute import compute_results
from sightline.metrics.detection.evaluate import lay_out
from sightline.metrics.detection.kernels import accumulate_masks
from sightline.metrics.detection.rows import FlatDetections, FlatTargets
from sightline.metrics.detection.settings import resolve_settings

from ..programs import Arrays, Programs, in_batches


class Sightline(Programs):
    def set_threads(self, threads: int) -> None:
        _numpy.set_num_threads(threads)

    def files(self, gt: str, dt: str, kind: str) -> Any:
        results = evaluate_coco(gt, dt, iou_type=kind)
        results.stats  # noqa: B018 - computed on first access
        return results

    def load(self, gt: str, dt: str, columns: str, kind: str) -> Any:
        """The columns of the files as `evaluate` takes them, with rows in place of ids."""
        if kind == "segm":
            read = read_ground_truth(gt, iou_type=kind)
            return read, read_results(dt, read, iou_type=kind)
        if kind != "bbox":
            raise NotImplementedError
        with np.load(columns) as data:
            row = np.argsort(np.argsort(data["image_ids"]))  # by id, as ties are broken
            categories = data["category_ids"]

            def rows(side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
                label = np.searchsorted(categories, data[f"{side}_category"])
                return row[data[f"{side}_image"]], label, data[f"{side}_boxes"]

            found = FlatDetections(*rows("dt"), data["dt_scores"])
            none = np.zeros(len(data["gt_id"]), bool)
            truth = FlatTargets(*rows("gt"), data["gt_area"], data["gt_crowd"], none)
        return found, truth, len(row), tuple(categories.tolist())

    def evaluate(self, loaded: Any, kind: str) -> Any:
        if kind == "segm":
            read, found = loaded
            results = evaluate_columns(read, found, resolve_settings("coco", iou_type=kind))
            results.stats  # noqa: B018
            return results
        found, truth, images, categories = loaded
        results = compute_results(
            resolve_settings("coco"),
            found,
            truth,
            num_images=images,
            class_ids=categories,
            class_names=tuple(map(str, categories)),
        )
        results.stats  # noqa: B018
        return results

    def batches(self, columns: str, size: int, images: int) -> Any:
        with np.load(columns) as data:
            categories = data["category_ids"]

        def forms(dt: dict, gt: dict) -> tuple[dict, dict]:
            labels = [np.searchsorted(categories, side["category"]) for side in (dt, gt)]
            found = {"boxes_xywh": dt["boxes"], "scores": dt["scores"], "labels": labels[0]}
            truth = {"boxes_xywh": gt["boxes"], "labels": labels[1]}
            return found, {**truth, "area": gt["area"], "iscrowd": gt["crowd"]}

        return list(map(str, categories.tolist())), in_batches(columns, size, images, forms)

    def stream(self, batches: Any) -> Any:
        names, parts = batches
        evaluator = DetectionEvaluator("coco", class_names=names)
        for part in parts:
            evaluator.update(*part)
        results = evaluator.compute()
        results.stats  # noqa: B018
        return results

    def accumulate(self, evaluated: Any) -> None:
        matched = evaluated.evidence().matched
        self._accumulate(matched, matched.layout)

    def sort_and_accumulate(self, evaluated: Any) -> None:
        """Including the layout, which sorts by class and groups by image."""
        matched = evaluated.evidence().matched
        layout = lay_out(
            matched.dt,
            matched.gt,
            matched.layout.num_classes,
            num_images=matched.num_images,
            max_detections=max(matched.caps),
        )
        self._accumulate(matched, layout)

    def _accumulate(self, matched: Any, layout: Any) -> None:
        rules, classes = matched.rules, layout.num_classes
        counts = [np.bincount(matched.gt.label[c], minlength=classes) for c in matched.gt_counted]
        (outcome,) = matched.outcome
        recalls, thresholds = rules.recall_thresholds, len(rules.iou_thresholds)
        accumulate_masks(outcome, layout, np.stack(counts), matched.caps, recalls, thresholds)

    def bootstrap(self, evaluated: Any, replicates: int) -> Any:
        return evaluated.confidence_interval(replicates=replicates)

    def stats(self, evaluated: Any) -> list[float]:
        return evaluated.stats.tolist()

    def arrays(self, evaluated: Any) -> Arrays:
        return evaluated.precision, evaluated.recall, evaluated.scores


PROGRAMS = Sightline()
