"""Programs as people write them for pycocotools, run under it or under ours in its place.

    python -m tests.metrics.pycocotools.programs pycocotools|sightline OUT DATA

writes to OUT, by name of the program, what it returned and what it printed.
"""

import contextlib
import copy
import hashlib
import io
import json
import pickle
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.metrics.coco.cases import draw_case, draw_settings

# Enough of the real categories where a program evaluates again and again.
FEW = [1, 2, 3, 17, 18, 44, 62, 67]


def files(data):
    folder = data / "coco100"
    return (
        folder / "instances_val2014_100.json",
        folder / "instances_val2014_fakebbox100_results.json",
    )


def load(data):
    from pycocotools.coco import COCO

    truth, found = files(data)
    gt = COCO(str(truth))
    return gt, gt.loadRes(str(found))


def evaluate(gt, dt, **params):
    from pycocotools.cocoeval import COCOeval

    evaluation = COCOeval(gt, dt, params.pop("iou_type", "bbox"))
    for name, value in params.items():
        setattr(evaluation.params, name, value)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def digest(array):
    """An array's shape, type and a hash of its bits in the order of its axes."""
    return array.shape, array.dtype.str, hashlib.sha1(np.ascontiguousarray(array)).hexdigest()


def everything(evaluation):
    return {
        "params": vars(evaluation.eval["params"]),
        "counts": evaluation.eval["counts"],
        **{k: digest(evaluation.eval[k]) for k in ("precision", "recall", "scores")},
        "stats": evaluation.stats,
        "evalImgs": list(evaluation.evalImgs),
        "ious": dict(evaluation.ious),
        # on which the last bit of a program's own sums depends
        "fortran": [o.flags.f_contiguous for o in evaluation.ious.values() if len(o)],
    }


def real_images(data):
    return everything(evaluate(*load(data)))


def real_images_without_categories(data):
    return everything(evaluate(*load(data), useCats=0))


def read_before_accumulating(data):
    from pycocotools.cocoeval import COCOeval

    evaluation = COCOeval(*load(data), iouType="bbox")
    evaluation.evaluate()
    matched = sum(int((e["dtMatches"] > 0).sum()) for e in evaluation.evalImgs if e is not None)
    evaluation.evalImgs[3] = None
    for entry in evaluation.evalImgs[:60]:
        if entry is not None:
            entry["dtIgnore"][:] = True
    evaluation.accumulate()
    evaluation.summarize()
    return matched, everything(evaluation)


def lists_and_arrays(data):
    from pycocotools.coco import COCO

    truth, found = files(data)
    gt = COCO(truth)
    found = json.loads(found.read_text())
    array = np.array([[d["image_id"], *d["bbox"], d["score"], d["category_id"]] for d in found])
    by_list, by_array = gt.loadRes(found), gt.loadRes(array)
    return (
        found,  # completed in place
        by_array.dataset["annotations"],
        evaluate(gt, by_list, catIds=FEW).stats,
        evaluate(gt, by_array, catIds=FEW).stats,
    )


def index(data):
    gt, dt = load(data)
    images, categories = gt.getImgIds(), gt.getCatIds()
    return {
        "images": images,
        "categories": categories,
        "dataset": (list(gt.dataset), list(dt.dataset), dt.dataset["annotations"][:50]),
        "tables": (gt.imgs, gt.cats, list(gt.anns), dict(gt.imgToAnns), dict(gt.catToImgs)),
        "loaded": (gt.loadAnns(gt.getAnnIds()[:3]), gt.loadCats(1), gt.loadImgs(images[:2])),
        "numpy id": gt.loadImgs(np.int64(images[0])),
        "by name": (gt.getCatIds(catNms=["person", "dog"]), gt.getCatIds(catNms="person")),
        "by supercategory": gt.getCatIds(supNms=["animal"], catIds=categories[:30]),
        "images of categories": gt.getImgIds(catIds=[1, 3]),
        "images among": gt.getImgIds(imgIds=images[:20], catIds=1),
        "annotations": [
            gt.getAnnIds(imgIds=images[0]),
            gt.getAnnIds(imgIds=images[:9], catIds=[1, 18]),
            gt.getAnnIds(catIds=np.array([1])),
            gt.getAnnIds(areaRng=[1000, 5000]),
            gt.getAnnIds(imgIds=images, iscrowd=True),
            gt.getAnnIds(imgIds=[-5]),
        ],
    }


def parts_of_the_data(data):
    gt, dt = load(data)
    images, categories = gt.getImgIds(), gt.getCatIds()
    some = evaluate(gt, dt, imgIds=images[5:40], catIds=[18, 1, 1, 3])
    one = evaluate(gt, dt, imgIds=images[0], catIds=categories[0])
    none = evaluate(gt, dt, imgIds=[])
    return everything(some), everything(one), everything(none)


def many_area_ranges(data):
    gt, dt = load(data)
    areas = [[0, 500.0 * n] for n in range(1, 21)]
    names = ["all", "small", "medium", "large", *map(str, range(16))]
    return everything(evaluate(gt, dt, catIds=FEW, areaRng=areas, areaRngLbl=names))


def other_settings_when_accumulating(data):
    evaluation = evaluate(*load(data), catIds=FEW)
    results = []
    for change in (
        {"catIds": [3, 18]},
        {"catIds": [1, 1000, 3]},
        {"maxDets": [100]},
        {"maxDets": [10, 1, 50]},
        {"areaRng": [[0, 1024], [1024, 9216]]},
        {"areaRng": [[0, 1e10], [5, 6]]},
        {"imgIds": evaluation.params.imgIds[::3]},
        {"imgIds": [7, *evaluation.params.imgIds[30:60]]},
        {"recThrs": np.array([0.9, 0.1, 0.5])},
        {"recThrs": np.linspace(0, 1, 11)},
        {"iouThrs": np.linspace(0.5, 0.95, 12)},
        {"useCats": 0},
    ):
        params = copy.deepcopy(evaluation.params)
        for name, value in change.items():
            setattr(params, name, value)
        evaluation.accumulate(params)
        results.append(evaluation.eval["counts"])
        results.append([digest(evaluation.eval[k]) for k in ("precision", "recall", "scores")])
    params = copy.deepcopy(evaluation.params)
    params.iouThrs = params.iouThrs[:3]
    try:
        evaluation.accumulate(params)
    except IndexError:
        results.append("IndexError")
    evaluation.evalImgs = list(evaluation.evalImgs)
    evaluation.params.catIds = evaluation.params.catIds[:5]
    evaluation.params.recThrs = np.array([0.9, 0.1, 0.5])
    evaluation.accumulate()
    return results, everything(evaluation)


def merged_batches(data):
    """Images evaluated batch by batch, entries joined, as torchvision's references do it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    gt, whole = load(data)
    gt = copy.deepcopy(gt)
    found = json.loads(files(data)[1].read_text())
    evaluation = COCOeval(gt, iouType="bbox")
    evaluation.params.catIds = FEW
    ids, entries = [], []
    images = [*gt.getImgIds(), -1]
    for first in range(0, len(images), 17):
        batch = images[first : first + 17]
        results = [d for d in found if d["image_id"] in batch]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.cocoDt = COCO.loadRes(gt, results) if results else COCO()
            evaluation.params.imgIds = list(batch)
            evaluation.evaluate()
        shape = (-1, len(evaluation.params.areaRng), len(evaluation.params.imgIds))
        ids.append(evaluation.params.imgIds)
        entries.append(np.asarray(evaluation.evalImgs).reshape(shape))
    ids, order = np.unique(np.concatenate(ids), return_index=True)
    entries = np.concatenate(entries, 2)[..., order]
    evaluation.evalImgs = list(entries.flatten())
    evaluation.params.imgIds = list(ids)
    evaluation._paramsEval = copy.deepcopy(evaluation.params)
    evaluation.accumulate()
    evaluation.summarize()
    assert (evaluation.stats == evaluate(gt, whole, catIds=FEW).stats).all()
    return evaluation.stats, digest(evaluation.eval["precision"])


def segmentations(data):
    """Boxes of the results as masks of polygons, and masks as compressed run lengths."""
    gt, dt = load(data)
    whole = everything(evaluate(gt, dt, iou_type="segm", catIds=FEW))
    gt, dt = load(data)
    found = [
        {
            "image_id": d["image_id"],
            "category_id": d["category_id"],
            "score": d["score"],
            "segmentation": dt.annToRLE(d),
        }
        for d in dt.dataset["annotations"][::2]
    ]
    masks = gt.loadRes(found)
    of_masks = evaluate(gt, masks, iou_type="segm", useCats=0)
    stats = of_masks.stats, pickle.loads(pickle.dumps(of_masks)).evalImgs
    return whole, found, stats, evaluate(gt, masks, catIds=FEW).stats


def masks(data):
    from pycocotools import mask

    gt, dt = load(data)
    objects = [gt.annToRLE(a) for a in gt.loadAnns(gt.getAnnIds(imgIds=gt.getImgIds()[3]))]
    found = [dt.annToRLE(a) for a in dt.loadAnns(dt.getAnnIds(imgIds=gt.getImgIds()[3]))]
    pictures = mask.decode(objects)
    one = gt.dataset["annotations"][5]
    return {
        "objects": objects,
        "pictures": (pictures, pictures.flags.f_contiguous, mask.decode(objects[0])),
        "encoded": (mask.encode(pictures), mask.encode(np.asfortranarray(pictures[:, :, 0]))),
        "area": (mask.area(objects), mask.area(objects[0])),
        "boxes": (mask.toBbox(objects), mask.toBbox(objects[0])),
        "merged": (mask.merge(objects), mask.merge(objects, intersect=1), mask.merge([])),
        "overlap": mask.iou(found, objects, [i % 2 for i in range(len(objects))]),
        "boxes overlap": mask.iou(mask.toBbox(found), mask.toBbox(objects), [0] * len(objects)),
        "lists overlap": mask.iou([[0, 0, 5, 5]], [[1, 1, 5, 5], [0, 0, 9, 9]], [0, 1]),
        "nothing overlaps": (mask.iou([], [[1, 1, 5, 5]], [0]), mask.iou([], [], [])),
        "from polygons": mask.frPyObjects([[1, 1, 5, 1, 5, 5], [2, 2, 9, 2, 9, 9, 2, 9]], 10, 12),
        "from boxes": mask.frPyObjects(np.array([[1, 1, 5, 4.5]]), 10, 12),
        "from lengths": (
            mask.frPyObjects({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3),
            mask.frPyObjects([{"size": [2, 3], "counts": [0, 2, 4]}], 2, 3),
        ),
        "annotation": (gt.annToRLE(one), gt.annToMask(one)),
    }


def draw_keypoints(rng):
    """Poses of 17 keypoints, some of objects that show none, and detections near some of them."""
    annotations, found = [], []
    for n in range(60):
        shown = int(rng.integers(0, 18))
        xy = rng.uniform(0, 300, 2) + rng.uniform(0, 120, (17, 2))
        visible = np.zeros(17)
        visible[rng.permutation(17)[:shown]] = rng.integers(1, 3, shown)
        box = [*xy.min(0), *(xy.max(0) - xy.min(0))]
        annotations.append(
            {
                "id": n + 1,
                "image_id": int(rng.integers(1, 9)),
                "category_id": 1,
                "bbox": box,
                "area": float(rng.choice([500.0, 1024.0, 4000.0, box[2] * box[3]])),
                "iscrowd": int(rng.random() < 0.1),
                "num_keypoints": shown,
                "keypoints": np.column_stack([xy, visible]).round(1).ravel().tolist(),
            }
        )
        for _ in range(int(rng.integers(0, 5))):
            near = xy + rng.normal(0, 1, (17, 2)) * rng.choice([1, 5, 20])
            found.append(
                {
                    "image_id": annotations[-1]["image_id"],
                    "category_id": 1,
                    "score": round(float(rng.random()), 1),
                    "keypoints": np.column_stack([near, np.ones(17)]).round(1).ravel().tolist(),
                }
            )
    truth = {
        "images": [{"id": i, "width": 640, "height": 480} for i in range(1, 10)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    return truth, found


def keypoints(data):
    from pycocotools.coco import COCO

    results = []
    for seed in range(3):
        truth, found = draw_keypoints(np.random.default_rng(seed))
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        dt = gt.loadRes(found)
        whole = evaluate(gt, dt, iou_type="keypoints")
        pair = (1, 1)
        results += [
            found,
            everything(whole),
            whole.computeOks(*pair),
            everything(pickle.loads(pickle.dumps(whole))),
            evaluate(gt, dt, iou_type="keypoints", useCats=0).stats,
            evaluate(gt, dt, iou_type="keypoints", maxDets=[2, 20]).stats,
        ]
    return results


def step_by_step(data):
    """The loop of `evaluate` written out, as DETR's and older references do it."""
    from pycocotools.cocoeval import COCOeval

    evaluation = COCOeval(*load(data), iouType="bbox")
    p = evaluation.params
    p.imgIds = list(np.unique(p.imgIds))[:30]
    p.catIds = FEW
    p.maxDets = sorted(p.maxDets)
    evaluation._prepare()
    evaluation.ious = {(i, c): evaluation.computeIoU(i, c) for i in p.imgIds for c in p.catIds}
    evaluation.evalImgs = [
        evaluation.evaluateImg(i, c, area, p.maxDets[-1])
        for c in p.catIds
        for area in p.areaRng
        for i in p.imgIds
    ]
    evaluation._paramsEval = copy.deepcopy(p)
    evaluation.accumulate()
    evaluation.summarize()
    groups = {key: [g["id"] for g in group] for key, group in evaluation._gts.items() if group}
    return groups, everything(evaluation)


def own_overlaps(data):
    """A subclass with another overlap."""
    from pycocotools.cocoeval import COCOeval

    class Shrunk(COCOeval):
        def computeIoU(self, imgId, catId):
            overlaps = super().computeIoU(imgId, catId)
            return overlaps * 0.8 if len(overlaps) else overlaps

    evaluation = Shrunk(*load(data), iouType="bbox")
    evaluation.params.catIds = FEW
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return everything(evaluation)


def changes_in_place(data):
    gt, dt = load(data)
    first = evaluate(gt, dt, catIds=FEW).stats
    for annotation in gt.dataset["annotations"][::5]:
        annotation["bbox"][2] *= 0.7
        annotation["area"] *= 0.7
    for i in list(dt.anns)[::7]:
        dt.anns[i]["score"] = 0.25
    second = evaluate(gt, dt, catIds=FEW)
    for i in gt.getAnnIds(catIds=1):
        gt.anns[i]["iscrowd"] = 1
    gt.dataset["annotations"] = gt.dataset["annotations"][:400]
    gt.createIndex()
    third = evaluate(gt, dt, catIds=FEW)
    second.params.maxDets = [1, 2, 100]
    second.evaluate()
    second.accumulate()
    return first, everything(third), second.stats, second.eval["recall"]


def tables_of_a_training_framework(data):
    evaluation = evaluate(*load(data))
    precision = evaluation.eval["precision"]
    by_class = [
        np.mean(of_class[of_class > -1]) if (of_class > -1).any() else float("nan")
        for of_class in (precision[:, :, k, 0, -1] for k in range(precision.shape[2]))
    ]
    curves = [np.mean(precision[0, :, :, 0, 2]), np.mean(evaluation.eval["recall"], axis=1)]
    return by_class, curves, np.nanmean(by_class), evaluation.stats.tolist()


def copies(data):
    evaluation = evaluate(*load(data), catIds=FEW)
    again = pickle.loads(pickle.dumps(evaluation))
    copied = copy.deepcopy(evaluation)
    copied.accumulate()
    return (
        pickle.loads(pickle.dumps(evaluation.evalImgs)),
        again.stats,
        again.evalImgs[500:600],
        digest(copied.eval["scores"]),
        len(copied.evalImgs),
    )


def handmade(data):
    """Data sets built in memory: ids of 0 and below, strings as image ids, areas of one's own."""
    from pycocotools.coco import COCO

    rng = np.random.default_rng(7)
    results = []
    for kind in range(6):
        truth, found = draw_case(rng)
        if kind == 3:
            for record in (*truth["images"], *truth["annotations"], *found):
                key = "image_id" if "image_id" in record else "id"
                record[key] = f"image {record[key]}"
        gt, dt = COCO(), COCO()
        gt.dataset = truth
        gt.createIndex()
        for n, d in enumerate(found):
            w, h = d["bbox"][2:]
            d.update(id=n - 2 * (kind == 1) + (kind > 1), area=w * h, iscrowd=0)
            if kind == 4:
                d["area"] = float(rng.choice([5.0, 1024.0, 5000.0]))
            if kind == 5 and n % 3 == 0:
                d["score"] = float("nan")
        dt.dataset = {**truth, "annotations": found}
        dt.createIndex()
        results.append(everything(evaluate(gt, dt)))
    return results


def odd_boxes(data):
    """Boxes that are not finite, inverted, or so small that their area vanishes."""
    from pycocotools.coco import COCO

    results = []
    for odd in (float("nan"), float("inf"), -5.0, 1e-200, 1e200):
        truth, found = draw_case(np.random.default_rng(3))
        truth["annotations"][0]["bbox"][2:] = [odd, odd]
        found.append({**truth["annotations"][0], "score": 0.5})
        found[0]["bbox"][2] = odd
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        with np.errstate(all="ignore"):
            results.append(everything(evaluate(gt, gt.loadRes(found))))
    return results


def random_sets(data):
    from pycocotools.coco import COCO

    names = {
        "iou_thresholds": "iouThrs",
        "recall_thresholds": "recThrs",
        "max_detections": "maxDets",
        "use_classes": "useCats",
    }
    results = []
    for seed in range(100):
        rng = np.random.default_rng((41, seed))
        truth, found = draw_case(rng)
        settings = draw_settings(rng)
        areas = settings.pop("area_ranges", None)
        params = {names[name]: value for name, value in settings.items()}
        if areas is not None:
            params |= {"areaRng": [*map(list, areas.values())], "areaRngLbl": list(areas)}
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        results.append(everything(evaluate(gt, gt.loadRes(found) if found else COCO(), **params)))
    return results


def mistakes(data):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval, Params

    gt, dt = load(data)

    def loaded_from(content):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(content)
            file.flush()
            return COCO(file.name)

    def lacking(key, *, of_truth):
        truth, found = draw_case(np.random.default_rng(12))
        for record in truth["annotations"] if of_truth else found:
            del record[key]
        paths = []
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (("gt", truth), ("dt", found)):
                paths.append(Path(folder, name))
                paths[-1].write_text(json.dumps(content))
            gt = COCO(str(paths[0]))
            return evaluate(gt, gt.loadRes(str(paths[1]))).stats

    said = []
    for attempt in (
        lambda: lacking("iscrowd", of_truth=True),
        lambda: lacking("area", of_truth=True),
        lambda: lacking("bbox", of_truth=True),
        lambda: lacking("id", of_truth=True),
        lambda: lacking("score", of_truth=False),
        lambda: lacking("category_id", of_truth=False),
        lambda: gt.loadRes([]),
        lambda: gt.loadRes([{"image_id": -1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]),
        lambda: gt.loadRes({}),
        lambda: gt.loadAnns([-1]),
        lambda: gt.download(),
        lambda: loaded_from("[]"),
        lambda: loaded_from("{"),
        lambda: COCO("no such file"),
        lambda: Params("boxes"),
        lambda: COCOeval(gt, dt, "bbox").summarize(),
        lambda: COCOeval().params.imgIds,
        lambda: COCOeval(gt, dt, "bbox").missing,
        lambda: gt.missing,
    ):
        try:
            said.append(attempt())
        except Exception as error:
            said.append(
                [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
            )
    return said


PROGRAMS = {
    program.__name__: program
    for program in (
        real_images,
        real_images_without_categories,
        read_before_accumulating,
        lists_and_arrays,
        index,
        parts_of_the_data,
        many_area_ranges,
        other_settings_when_accumulating,
        merged_batches,
        segmentations,
        masks,
        keypoints,
        step_by_step,
        own_overlaps,
        changes_in_place,
        tables_of_a_training_framework,
        copies,
        handmade,
        odd_boxes,
        random_sets,
        mistakes,
    )
}


def main(library, out, data):
    if library == "sightline":
        from sightline.metrics.pycocotools import install_as_pycocotools

        install_as_pycocotools()
    import pycocotools.coco

    assert pycocotools.coco.COCO.__module__.startswith(library)
    results = {}
    for name, program in PROGRAMS.items():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                returned = program(Path(data))
            except Exception as error:
                error.add_note(f"in program {name}")
                raise
        results[name] = returned, re.sub(r"t=[\d.]+s", "t=s", printed.getvalue())
    Path(out).write_bytes(pickle.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
