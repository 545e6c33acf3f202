"""Readers of label files: small sets of every format with a damaged file are read or refused.

Any other error than DataError, and any warning of NumPy, is a defect.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data import DataError, read_dataset
from tests.formats.test_image_sets import (
    LS_BOX,
    RECT,
    VOTT_REGION,
    cvat,
    cvat_image,
    task,
    via_image,
    vott_asset,
)
from tests.pictures import save_picture

CASES = 30_000
SHORT = 150

_POLYGON = [[1, 2, 9, 2, 1, 8]]
_COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [1, 2, 8, 6],
            "area": 48,
            "iscrowd": 0,
            "segmentation": _POLYGON,
            "keypoints": [1, 2, 2],
            "num_keypoints": 1,
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "bbox": [0, 0, 2, 2],
            "iscrowd": 1,
            "segmentation": {"size": [48, 64], "counts": [0, 2, 3070]},
        },
    ],
    "categories": [{"id": 1, "name": "cat", "keypoints": ["nose"], "supercategory": "none"}],
}
_LABELME = {
    "imagePath": "a.jpg",
    "imageWidth": 64,
    "imageHeight": 48,
    "shapes": [
        {"label": "cat", "shape_type": "rectangle", "points": [[1, 2], [9, 8]], "group_id": 1},
        {"label": "cat", "shape_type": "circle", "points": [[9, 9], [9, 4]]},
        {"label": "nose", "shape_type": "point", "points": [[9, 9]], "group_id": 1},
    ],
}
_VOC = """<?xml version="1.0"?><annotation><filename>a.jpg</filename><size><width>64</width>
<height>48</height></size><object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin>
<ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox><polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>2</y2>
<x3>1</x3><y3>8</y3></polygon></object><object><name>dog</name><robndbox><cx>9</cx><cy>9</cy>
<w>4</w><h>2</h><angle>0.5</angle></robndbox></object></annotation>"""
# The path of the label file -> its content; the images are a.jpg and b.jpg at its side.
_SETS: dict[str, tuple[str, str, Any]] = {
    "voc": ("Annotations/a.xml", "JPEGImages/a.jpg", _VOC),
    "voc list": ("ImageSets/Main/train.txt", "JPEGImages/a.jpg", "a 1\n"),
    "coco": ("annotations.json", "images/a.jpg", _COCO),
    "yolo": ("labels/a.txt", "images/a.jpg", "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.5 0.1 0.1 0.5\n"),
    "yolo yaml": (
        "data.yaml",
        "images/train/a.jpg",
        "path: .\ntrain: images/train\nval: [images/train]\nnc: 2\nnames:\n  0: cat\n"
        "  1: dog\nkpt_shape: [1, 3]\nflip_idx: [0]\n",
    ),
    "darknet": ("obj.data", "images/a.jpg", "classes = 1\ntrain = train.txt\nnames = obj.names\n"),
    "labelme": ("a.json", "a.jpg", _LABELME),
    "kitti": (
        "label_2/a.txt",
        "image_2/a.jpg",
        "Car 0 0 -1.5 1 2 9 8 1.5 1.6 3.9 1 2 3 0.1\nDontCare -1 -1 -10 1 2 9 8 -1 -1 -1 -1 "
        "-1 -1 -1\n",
    ),
    "csv": (
        "a.csv",
        "a.jpg",
        "filename,width,height,class,xmin,ymin,xmax,ymax,score2\na.jpg,64,48,cat,1,2,9,8,1\n",
    ),
    "via": (
        "via.json",
        "a.jpg",
        {
            "_via_img_metadata": {"a": via_image("a.jpg", (RECT, {"k": "c"}))},
            "_via_attributes": {"region": {"k": {"type": "radio", "options": {"c": ""}}}},
        },
    ),
    "via csv": (
        "via.csv",
        "a.jpg",
        "filename,file_size,file_attributes,region_count,region_id,"
        'region_shape_attributes,region_attributes\na.jpg,1,"{}",1,0,"{""name"":""rect"",'
        '""x"":1,""y"":2,""width"":3,""height"":4}","{""k"":""c""}"\n',
    ),
    "vott": (
        "x-export.json",
        "a.jpg",
        {"assets": {"1": vott_asset("a.jpg", VOTT_REGION)}, "tags": [{"name": "cat"}]},
    ),
    "label_studio": ("p.json", "a.jpg", [task("a.jpg", LS_BOX)]),
    "label_studio minimal": (
        "p.json",
        "a.jpg",
        [
            {
                "image": "a.jpg",
                "id": 1,
                "annotator": 1,
                "annotation_id": 1,
                "label": [{**LS_BOX["value"], "original_width": 64, "original_height": 48}],
            }
        ],
    ),
    "cvat": (
        "annotations.xml",
        "a.jpg",
        cvat(
            cvat_image(
                "a.jpg",
                '<box label="cat" xtl="1" ytl="2" xbr="9" ybr="8" rotation="0"/>'
                '<polygon label="ant" points="1,2;9,2;1,8"/>'
                '<mask label="cat" rle="1, 2, 1" left="4" top="6" width="2" height="2"/>'
                '<skeleton label="ant"><points label="head" points="5,6"/>'
                '<points label="t" points="9,9"/>'
                "</skeleton>",
            )
        ),
    ),
}
_ELSE = {  # the other files that some sets need
    "voc list": {"Annotations/a.xml": _VOC},
    "yolo yaml": {"labels/train/a.txt": "0 0.5 0.5 0.2 0.2 0.5 0.5 2\n"},
    "darknet": {
        "train.txt": "images/a.jpg\n",
        "obj.names": "cat\n",
        "images/a.txt": "0 0.5 0.5 0.2 0.2\n",
    },
}
_VALUES = [
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "",
    " ",
    "x",
    "../a.jpg",
    "/etc/passwd",
    "\x00",
    "\ud800",
    "nan",
    "1e999",
    "-1",
    0,
    -1,
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    2**31,
    2**63,
    2**64,
    10**400,
    -(10**30),
    "9" * 5000,
    "a" * 300,
    ["a", 1],
    [1, 2],
    [[1, 2]] * 3,
]


def _write_set(root: Path, name: str) -> Path:
    """Write a valid set; returns its label file."""
    file, image, content = _SETS[name]
    save_picture(root / image)
    for other, text in _ELSE.get(name, {}).items():
        (root / other).parent.mkdir(parents=True, exist_ok=True)
        (root / other).write_text(text)
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _damaged(content: Any, rng: np.random.Generator) -> bytes:
    """The content of a label file with a fault or two."""
    if not isinstance(content, str) and rng.random() < 0.7:
        value = json.loads(json.dumps(content))
        for _ in range(rng.integers(1, 3)):
            value = _replaced(value, rng)
        return json.dumps(value).encode("utf-8", "replace")
    text = content if isinstance(content, str) else json.dumps(content)
    how = rng.integers(6)
    if how == 0:
        return text.encode()[: rng.integers(len(text))]
    if how == 1:
        data = np.frombuffer(text.encode(), np.uint8).copy()
        data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
        return data.tobytes()
    if how == 2:
        return text.encode("utf-16") if rng.random() < 0.5 else b"\xff\xfe" + text.encode()
    words = _words(text)
    place = words[rng.integers(len(words))]
    value = _VALUES[rng.integers(len(_VALUES))]
    new = value if isinstance(value, str) else repr(value)
    if how == 3:
        new = text[place[0] : place[1]] * 2 + " "
    return (text[: place[0]] + new + text[place[1] :]).encode("utf-8", "replace")


def _words(text: str) -> list[tuple[int, int]]:
    places, start = [], None
    for place, letter in enumerate(text + "\n"):
        inside = letter.isalnum() or letter in ".-_/"
        if inside and start is None:
            start = place
        if not inside and start is not None:
            places.append((start, place))
            start = None
    return places


def _replaced(value: Any, rng: np.random.Generator) -> Any:
    """The same value with a random one somewhere in it, or a key or element left out."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = [*value] if isinstance(value, dict) else [*range(len(value))]
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.1:
            del value[key]
        else:
            value[key] = _replaced(value[key], rng)
        return value
    return deepcopy(_VALUES[rng.integers(len(_VALUES))])


def check(rng: np.random.Generator) -> None:
    name = [*_SETS][rng.integers(len(_SETS))]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        root = Path(folder)
        path = _write_set(root, name)
        path.write_bytes(_damaged(_SETS[name][2], rng))
        for policy in ("drop-box", "error"):
            try:
                found = read_dataset(root, on_bad_label=policy)
            except DataError:
                continue
            for record in found.records:
                assert record.shapes is None or len([*record.shapes]) == len(record.boxes)
            assert repr(found)
            assert all(map(str, found.issues))
