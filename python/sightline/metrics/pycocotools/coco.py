"""`COCO`: a data set or results in COCO's form, as pycocotools' class of that name."""

import copy
import json
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.request import urlretrieve

import numpy as np

Record = dict[str, Any]


class COCO:
    """Annotations of a data set, and the index that finds them.

    The interface, the printed lines and the answers are those of pycocotools 2.0.11.

    Attributes:
        dataset: the file as loaded: `info`, `images`, `categories`, `annotations`.
        anns, cats, imgs: record by id.
        imgToAnns: annotations by image id.
        catToImgs: image ids by category id, one for each annotation.
    """

    dataset: Record
    anns: dict[Any, Record]
    cats: dict[Any, Record]
    imgs: dict[Any, Record]
    imgToAnns: dict[Any, list[Record]]
    catToImgs: dict[Any, list[Any]]

    def __init__(self, annotation_file: str | os.PathLike[str] | None = None) -> None:
        self.dataset, self.anns, self.cats, self.imgs = {}, {}, {}, {}
        self.imgToAnns, self.catToImgs = defaultdict(list), defaultdict(list)
        if annotation_file is None:
            return
        print("loading annotations into memory...")
        begin = time.time()
        dataset = _read(annotation_file)
        if not isinstance(dataset, dict):
            raise AssertionError(f"annotation file format {type(dataset)} not supported")
        print(f"Done (t={time.time() - begin:0.2f}s)")
        self.dataset = dataset
        self.createIndex()

    def createIndex(self) -> None:
        """Index `dataset`; call it after the data set was replaced."""
        print("creating index...")
        annotations = self.dataset.get("annotations", [])
        self.anns = {a["id"]: a for a in annotations}
        self.imgs = {image["id"]: image for image in self.dataset.get("images", [])}
        self.cats = {category["id"]: category for category in self.dataset.get("categories", [])}
        self.imgToAnns, self.catToImgs = defaultdict(list), defaultdict(list)
        for annotation in annotations:
            self.imgToAnns[annotation["image_id"]].append(annotation)
        if "categories" in self.dataset:
            for annotation in annotations:
                self.catToImgs[annotation["category_id"]].append(annotation["image_id"])
        print("index created!")

    def info(self) -> None:
        """Print what the file says of itself."""
        for key, value in self.dataset["info"].items():
            print(f"{key}: {value}")

    def getAnnIds(
        self, imgIds: Any = (), catIds: Any = (), areaRng: Any = (), iscrowd: Any = None
    ) -> list[Any]:
        """Ids of the annotations in these images and categories, with areas inside the range.

        An empty filter passes everything; the ends of `areaRng` lie outside.
        """
        images, categories = _as_collection(imgIds), _as_collection(catIds)
        if len(images):
            found = [a for i in images if i in self.imgToAnns for a in self.imgToAnns[i]]
        else:
            found = self.dataset["annotations"]
        if len(categories):
            wanted = categories if isinstance(categories, str) else set(categories)
            found = [a for a in found if a["category_id"] in wanted]
        if len(areaRng):
            found = [a for a in found if areaRng[0] < a["area"] < areaRng[1]]
        if iscrowd is not None:
            found = [a for a in found if a["iscrowd"] == iscrowd]
        return [a["id"] for a in found]

    def getCatIds(self, catNms: Any = (), supNms: Any = (), catIds: Any = ()) -> list[Any]:
        """Ids of the categories with these names, of these supercategories, among these ids."""
        found = self.dataset["categories"]
        for key, values in (("name", catNms), ("supercategory", supNms), ("id", catIds)):
            wanted = _as_collection(values)
            if len(wanted):
                found = [category for category in found if category[key] in wanted]
        return [category["id"] for category in found]

    def getImgIds(self, imgIds: Any = (), catIds: Any = ()) -> list[Any]:
        """Ids of the images among these that have every one of these categories."""
        images, categories = _as_collection(imgIds), _as_collection(catIds)
        if not len(images) and not len(categories):
            return list(self.imgs)
        found = set(images)
        for i, category in enumerate(categories):
            of_category = set(self.catToImgs[category])
            found = of_category if i == 0 and not found else found & of_category
        return list(found)

    def loadAnns(self, ids: Any = ()) -> Any:
        """The annotations of these ids."""
        return _load(self.anns, ids)

    def loadCats(self, ids: Any = ()) -> Any:
        """The categories of these ids."""
        return _load(self.cats, ids)

    def loadImgs(self, ids: Any = ()) -> Any:
        """The images of these ids."""
        return _load(self.imgs, ids)

    def loadRes(self, resFile: Any) -> "COCO":
        """Detections on these images: the path of a results file, its list, or an array [N, 7].

        The dicts of a list get `id`, `area`, `iscrowd`, and `bbox` or `segmentation` where one of
        them is missing, in place.
        """
        result = COCO()
        result.dataset["info"] = copy.deepcopy(self.dataset.get("info", {}))
        result.dataset["images"] = list(self.dataset["images"])
        print("Loading and preparing results...")
        begin = time.time()
        if isinstance(resFile, str | os.PathLike):
            found = _read(resFile)
        elif isinstance(resFile, np.ndarray):
            found = self.loadNumpyAnnotations(resFile)
        else:
            found = resFile
        if not isinstance(found, list):
            raise AssertionError("results in not an array of objects")
        if not {a["image_id"] for a in found} <= set(self.getImgIds()):
            raise AssertionError("Results do not correspond to current coco set")
        first = found[0]
        if "caption" in first:
            images = {a["image_id"] for a in found}
            result.dataset["images"] = [i for i in result.dataset["images"] if i["id"] in images]
            for n, annotation in enumerate(found):
                annotation["id"] = n + 1
        else:
            for key, complete in _COMPLETE.items():
                if key in first and (key != "bbox" or len(first["bbox"])):
                    result.dataset["categories"] = copy.deepcopy(self.dataset["categories"])
                    for n, annotation in enumerate(found):
                        complete(annotation, n + 1)
                    break
        print(f"DONE (t={time.time() - begin:0.2f}s)")
        result.dataset["annotations"] = found
        result.createIndex()
        return result

    def loadNumpyAnnotations(self, data: np.ndarray) -> list[Record]:
        """Detections from rows of image id, x, y, w, h, score, category id."""
        print("Converting ndarray to lists...")
        assert isinstance(data, np.ndarray)
        print(data.shape)
        assert data.shape[1] == 7
        found = []
        for n, row in enumerate(data):
            if n % 1_000_000 == 0:
                print(f"{n}/{len(data)}")
            image, *box, score, category = row
            found.append(
                {
                    "image_id": int(image),
                    "bbox": box,
                    "score": score,
                    "category_id": int(category),
                }
            )
        return found

    def annToRLE(self, ann: Mapping[str, Any]) -> Record:
        """The mask of an annotation, from polygons or run lengths, as compressed run lengths."""
        from sightline.metrics.pycocotools import mask

        image, segmentation = self.imgs[ann["image_id"]], ann["segmentation"]
        height, width = image["height"], image["width"]
        if isinstance(segmentation, list):  # an object may have several parts
            return mask.merge(mask.frPyObjects(segmentation, height, width))
        if isinstance(segmentation["counts"], list):
            return mask.frPyObjects(segmentation, height, width)
        return segmentation

    def annToMask(self, ann: Mapping[str, Any]) -> np.ndarray:
        """The mask of an annotation, uint8 [height, width]."""
        from sightline.metrics.pycocotools import mask

        return mask.decode(self.annToRLE(ann))

    def showAnns(self, anns: list[Record], draw_bbox: bool = False) -> Any:
        """Draw annotations over the current axes of matplotlib, or print captions."""
        from sightline.metrics.pycocotools._draw import draw_annotations

        if not len(anns):
            return 0
        if "segmentation" in anns[0] or "keypoints" in anns[0]:
            return draw_annotations(self, anns, draw_bbox)
        if "caption" not in anns[0]:
            raise Exception("datasetType not supported")
        for annotation in anns:
            print(annotation["caption"])

    def download(self, tarDir: str | None = None, imgIds: Collection[Any] = ()) -> Any:
        """Download images from their `coco_url` into a folder, those that are not there yet."""
        if tarDir is None:
            print("Please specify target directory")
            return -1
        images = self.loadImgs(imgIds) if len(imgIds) else self.imgs.values()
        os.makedirs(tarDir, exist_ok=True)
        for n, image in enumerate(images):
            begin = time.time()
            path = os.path.join(tarDir, image["file_name"])
            if not os.path.exists(path):
                urlretrieve(image["coco_url"], path)
            print(f"downloaded {n}/{len(images)} images (t={time.time() - begin:0.1f}s)")


def _read(path: str | os.PathLike[str]) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _as_collection(values: Any) -> Any:
    """Anything with a length as it is, a single value as a list of one."""
    return values if hasattr(values, "__iter__") and hasattr(values, "__len__") else [values]


def _load(table: Mapping[Any, Record], ids: Iterable[Any]) -> list[Record] | None:
    if hasattr(ids, "__iter__") and hasattr(ids, "__len__"):
        return [table[i] for i in ids]
    return [table[ids]] if type(ids) is int else None


def _complete_box(found: Record, number: int) -> None:
    x, y, w, h = found["bbox"][:4]
    if "segmentation" not in found:
        found["segmentation"] = [[x, y, x, y + h, x + w, y + h, x + w, y]]
    found.update(area=w * h, id=number, iscrowd=0)


def _complete_mask(found: Record, number: int) -> None:
    from sightline.metrics.pycocotools import mask

    found["area"] = mask.area(found["segmentation"])
    if "bbox" not in found:
        found["bbox"] = mask.toBbox(found["segmentation"])
    found.update(id=number, iscrowd=0)


def _complete_keypoints(found: Record, number: int) -> None:
    x, y = found["keypoints"][0::3], found["keypoints"][1::3]
    left, right, top, bottom = np.min(x), np.max(x), np.min(y), np.max(y)
    found.update(area=(right - left) * (bottom - top), id=number)
    found["bbox"] = [left, top, right - left, bottom - top]


# By the key that says what the first detection, and so every one, holds; tried in this order.
_COMPLETE = {
    "bbox": _complete_box,
    "segmentation": _complete_mask,
    "keypoints": _complete_keypoints,
}
