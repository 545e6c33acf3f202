"""`COCO`: a data set or results in COCO's format, like the class of pycocotools."""

import copy
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from sightline.metrics._warn import warn
from sightline.metrics.coco.reader import rows_of
from sightline.metrics.pycocotools import mask
from sightline.metrics.pycocotools._download import fetch_missing
from sightline.metrics.pycocotools._files import (
    ResultsFile,
    TruthFile,
    load_json,
    paused_collector,
    read_text,
)

Record = dict[str, Any]
_TABLES = ("dataset", "anns", "cats", "imgs", "imgToAnns", "catToImgs")


class COCO:
    """Annotations of a data set, with an index.

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
    # the source of the dicts for `__getattr__`, and the data set that results belong to
    _file: TruthFile | ResultsFile | None = None
    _of: Any = None

    def __init__(self, annotation_file: str | os.PathLike[str] | None = None) -> None:
        if annotation_file is None:
            self.dataset, self.anns, self.cats, self.imgs = {}, {}, {}, {}
            self.imgToAnns, self.catToImgs = defaultdict(list), defaultdict(list)
            return
        print("loading annotations into memory...")
        begin = time.time()
        text = read_text(annotation_file)
        self._file = TruthFile.read(text)
        if self._file is None:
            dataset = load_json(text)
            if not isinstance(dataset, dict):
                raise AssertionError(f"annotation file format {type(dataset)} not supported")
            self.dataset = dataset
        print(f"Done (t={time.time() - begin:0.2f}s)")
        self.createIndex()

    def __getattr__(self, name: str) -> Any:
        # reached for tables of a file that have not been created yet
        file = self.__dict__.get("_file")
        if file is None or name not in _TABLES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with paused_collector():
            found = load_json(file.text)
            if self._of is not None:
                found = _data_set_of(found, self._of)
            for table, value in {"dataset": found, **_index(found)}.items():
                self.__dict__.setdefault(table, value)
        self._file = self._of = None
        return self.__dict__[name]

    def createIndex(self) -> None:
        """Index `dataset`; call it after replacing the data set."""
        print("creating index...")
        if self._file is None or "dataset" in self.__dict__:
            with paused_collector():
                self.__dict__.update(_index(self.dataset))
            self._file = None
        print("index created!")

    def info(self) -> None:
        """Print the `info` section of the file."""
        for key, value in self.dataset["info"].items():
            print(f"{key}: {value}")

    def getAnnIds(
        self, imgIds: Any = (), catIds: Any = (), areaRng: Any = (), iscrowd: Any = None
    ) -> list[Any]:
        """Ids of the annotations in these images and categories, with areas inside the range.

        An empty filter passes everything; the ends of `areaRng` are excluded.
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
        wanted = {
            key: _as_collection(values)
            for key, values in (("name", catNms), ("supercategory", supNms), ("id", catIds))
        }
        file = unread_file(self)
        if isinstance(file, TruthFile) and not any(map(len, wanted.values())):
            return file.category_ids.tolist()
        found = self.dataset["categories"]
        for key, values in wanted.items():
            if len(values):
                found = [category for category in found if category[key] in values]
        return [category["id"] for category in found]

    def getImgIds(self, imgIds: Any = (), catIds: Any = ()) -> list[Any]:
        """Ids of those of these images that have all of these categories."""
        images, categories = _as_collection(imgIds), _as_collection(catIds)
        if not len(images) and not len(categories):
            file = unread_file(self)
            if isinstance(file, TruthFile):
                return list(dict.fromkeys(file.image_ids.tolist()))
            return list(self.imgs)
        found = set(images)
        for i, category in enumerate(categories):
            of_category = set(self.catToImgs[category])
            found = of_category if i == 0 and not found else found & of_category
        return list(found)

    def loadAnns(self, ids: Any = ()) -> Any:
        """The annotations with these ids."""
        return _load(self.anns, ids)

    def loadCats(self, ids: Any = ()) -> Any:
        """The categories with these ids."""
        return _load(self.cats, ids)

    def loadImgs(self, ids: Any = ()) -> Any:
        """The images with these ids."""
        return _load(self.imgs, ids)

    def loadRes(self, resFile: Any) -> "COCO":
        """Detections on these images: from the path of a results file, a list, or an array [N, 7].

        The dicts of a list are completed in place: with `id`, `area`, `iscrowd`, and `bbox` or
        `segmentation` where one of these is missing.
        """
        print("Loading and preparing results...")
        begin = time.time()
        result = COCO()
        if isinstance(resFile, str | os.PathLike):
            text = read_text(resFile)
            file = ResultsFile.read(text)
            if file is not None and _has_images(self, file):
                result = COCO.__new__(COCO)
                result._file, result._of = file, self
                print(f"DONE (t={time.time() - begin:0.2f}s)")
                result.createIndex()
                return result
            found = load_json(text)
        elif isinstance(resFile, np.ndarray):
            found = self.loadNumpyAnnotations(resFile)
        else:
            found = resFile
        if not isinstance(found, list):
            raise AssertionError("results in not an array of objects")
        if not {a["image_id"] for a in found} <= set(self.getImgIds()):
            raise AssertionError("Results do not correspond to current coco set")
        with paused_collector():
            result.dataset = _data_set_of(found, self)
        print(f"DONE (t={time.time() - begin:0.2f}s)")
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
        image, segmentation = self.imgs[ann["image_id"]], ann["segmentation"]
        height, width = image["height"], image["width"]
        if isinstance(segmentation, list):  # an object may have several parts
            return mask.merge(mask.frPyObjects(segmentation, height, width))
        if isinstance(segmentation["counts"], list):
            return mask.frPyObjects(segmentation, height, width)
        return segmentation

    def annToMask(self, ann: Mapping[str, Any]) -> np.ndarray:
        """The mask of an annotation, uint8 [height, width]."""
        return mask.decode(self.annToRLE(ann))

    def showAnns(self, anns: list[Record], draw_bbox: bool = False) -> Any:
        """Draw annotations over the current axes of matplotlib, or print captions."""
        from sightline.metrics.pycocotools._draw import draw_annotations

        if not len(anns):
            return 0
        if "segmentation" in anns[0] or "keypoints" in anns[0]:
            return draw_annotations(
                anns,
                draw_boxes=draw_bbox,
                mask_of=self.annToMask,
                skeleton_of=lambda ann: self.loadCats(ann["category_id"])[0]["skeleton"],
            )
        if "caption" not in anns[0]:
            raise Exception("datasetType not supported")
        for annotation in anns:
            print(annotation["caption"])

    def download(self, tarDir: str | None = None, imgIds: Collection[Any] = ()) -> Any:
        """Download images from their `coco_url` into a folder, those that are not there yet.

        Raises:
            ValueError: a `file_name` that leads out of the folder, or a `coco_url` that begins with
                neither http:// nor https://; nothing is downloaded then. pycocotools accepts both.
        """
        if tarDir is None:
            print("Please specify target directory")
            return -1
        images = self.loadImgs(imgIds) if len(imgIds) else self.imgs.values()
        os.makedirs(tarDir, exist_ok=True)
        begin = time.time()
        for n, _ in enumerate(fetch_missing(images, tarDir)):
            print(f"downloaded {n}/{len(images)} images (t={time.time() - begin:0.1f}s)")
            begin = time.time()


def unread_file(coco: Any) -> TruthFile | ResultsFile | None:
    """The file behind `coco` where the program cannot have changed anything; otherwise None."""
    if not isinstance(coco, COCO) or any(table in coco.__dict__ for table in _TABLES):
        return None
    asked = (type(coco).getAnnIds, type(coco).loadAnns)
    return coco._file if asked == (COCO.getAnnIds, COCO.loadAnns) else None


def _has_images(coco: Any, file: ResultsFile) -> bool:
    """Whether all images of these results are certain to be in the data set."""
    known = np.unique(coco.getImgIds())
    return known.dtype.kind == "i" and bool((rows_of(file.columns["image_id"], known) >= 0).all())


def _data_set_of(found: list[Record], coco: Any) -> Record:
    """Detections as a data set with the same images; they are completed in place."""
    dataset = {
        "info": copy.deepcopy(coco.dataset.get("info", {})),
        "images": list(coco.dataset["images"]),
    }
    first = found[0]
    if "caption" in first:
        images = {a["image_id"] for a in found}
        dataset["images"] = [i for i in dataset["images"] if i["id"] in images]
        for n, annotation in enumerate(found):
            annotation["id"] = n + 1
    else:
        for key, complete in _COMPLETE.items():
            if key in first and (key != "bbox" or len(first["bbox"])):
                dataset["categories"] = copy.deepcopy(coco.dataset["categories"])
                for n, annotation in enumerate(found):
                    complete(annotation, n + 1)
                break
    dataset["annotations"] = found
    return dataset


def _index(dataset: Record) -> dict[str, Any]:
    """The tables of a data set."""
    annotations = dataset.get("annotations", [])
    images_of: dict[Any, list[Any]] = defaultdict(list)
    annotations_of: dict[Any, list[Record]] = defaultdict(list)
    for annotation in annotations:
        annotations_of[annotation["image_id"]].append(annotation)
    if "categories" in dataset:
        for annotation in annotations:
            images_of[annotation["category_id"]].append(annotation["image_id"])
    by_id = {annotation["id"]: annotation for annotation in annotations}
    if len(by_id) < len(annotations):
        warn(
            f"annotations whose id a later one has too: {len(annotations) - len(by_id)} of "
            f"{len(annotations)}. The last one replaces all of them, as in pycocotools: give "
            "each its own id"
        )
    return {
        "anns": by_id,
        "imgToAnns": annotations_of,
        "catToImgs": images_of,
        "imgs": {image["id"]: image for image in dataset.get("images", [])},
        "cats": {category["id"]: category for category in dataset.get("categories", [])},
    }


def _as_collection(values: Any) -> Any:
    """Anything with a length unchanged, a single value as a list of one."""
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
    found["area"] = mask.area(found["segmentation"])
    if "bbox" not in found:
        found["bbox"] = mask.toBbox(found["segmentation"])
    found.update(id=number, iscrowd=0)


def _complete_keypoints(found: Record, number: int) -> None:
    x, y = found["keypoints"][0::3], found["keypoints"][1::3]
    left, right, top, bottom = np.min(x), np.max(x), np.min(y), np.max(y)
    found.update(area=(right - left) * (bottom - top), id=number)
    found["bbox"] = [left, top, right - left, bottom - top]


# The first of these keys that the first detection has decides the kind of all.
_COMPLETE = {
    "bbox": _complete_box,
    "segmentation": _complete_mask,
    "keypoints": _complete_keypoints,
}
