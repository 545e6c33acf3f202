"""A data set like COCO and the results of a detector on it, as columns, drawn from a seed.

The shares are those of COCO val2017: the frequencies of classes fall from person's .3 to one object
in some thousands, ids have gaps, .41 of objects are small and .25 large, 1 % are crowds, an image
holds about three classes. Detections are like those of a detector after NMS: the objects that it
found, moved a little; more boxes around them, some of a wrong class; and background of low score.
"""

from dataclasses import dataclass

import numpy as np

# COCO's 80 ids are those of 1 ... 90 without these.
_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = np.setdiff1d(np.arange(1, 91), _GAPS)
_PERSON_SHARE = 0.30
_DECAY = 0.945  # of the other classes' shares: 3.9 % to .05 %
_NEW_CLASS = 2.6  # parameter of Polya's urn: the 6.4 objects of an image have about 2.9 classes
_BACKGROUND_CLASSES = 16  # among which the false boxes of one image are
_CROWD_SHARE = 0.01
# ln(area) is normal with .41 below 32^2 and .75 below 96^2.
_LN_AREA, _LN_AREA_DEVIATION = 7.486, 2.437
KEYPOINTS = 17
_NO_KEYPOINTS = 0.4  # of people in COCO


@dataclass(frozen=True)
class Recipe:
    """What the data set holds. `most` is the largest number of detections of an image."""

    images: int = 5_000
    objects: int = 32_000
    detections: int = 378_000
    most: int = 100
    score_decimals: int | None = None  # None: all digits of a float32, as detectors write them
    box_decimals: int = 3  # 1: and the IoUs of many boxes lie exactly on COCO's thresholds
    kind: str = "bbox"  # what is evaluated: "bbox", "segm" or "keypoints"
    seed: int = 0

    @property
    def name(self) -> str:
        digits = "" if self.score_decimals is None else f"-scores{self.score_decimals}"
        boxes = "" if self.box_decimals == 3 else f"-boxes{self.box_decimals}"
        return f"{self.kind}-{self.images}x{self.detections}{digits}{boxes}-seed{self.seed}"

    def times(self, factor: float) -> "Recipe":
        """The same recipe with a multiple of the images, objects and detections."""
        counts = (round(n * factor) for n in (self.images, self.objects, self.detections))
        names = ("images", "objects", "detections")
        return Recipe(**{**vars(self), **dict(zip(names, counts))})


@dataclass(frozen=True)
class Objects:
    image: np.ndarray  # [G] row of the image
    category: np.ndarray  # [G] id
    boxes: np.ndarray  # [G, 4] xywh
    area: np.ndarray  # [G]
    crowd: np.ndarray  # [G] bool
    id: np.ndarray  # [G]
    keypoints: np.ndarray  # [G, 17, 3], or [G, 0, 3]


@dataclass(frozen=True)
class Detections:
    """By image, best first, as detectors write them."""

    image: np.ndarray  # [D] row of the image
    category: np.ndarray  # [D] id
    boxes: np.ndarray  # [D, 4] xywh
    scores: np.ndarray  # [D]
    keypoints: np.ndarray  # [D, 17, 3], or [D, 0, 3]


@dataclass(frozen=True)
class CocoSet:
    image_ids: np.ndarray  # [I], in no order
    sizes: np.ndarray  # [I, 2] width, height
    category_ids: np.ndarray  # [K]
    objects: Objects
    detections: Detections


def generate(recipe: Recipe) -> CocoSet:
    """The data set of a recipe."""
    rng = np.random.default_rng([recipe.seed, recipe.images, recipe.detections])
    sizes = _image_sizes(rng, recipe.images)
    image_ids = rng.permutation(120 * recipe.images)[: recipe.images] + 1
    objects = _objects(rng, recipe, sizes)
    detections = _detections(rng, recipe, sizes, objects)
    order = rng.permutation(recipe.objects)
    shuffled = Objects(*(column[order] for column in vars(objects).values()))
    people = recipe.kind == "keypoints"
    return CocoSet(image_ids, sizes, CATEGORY_IDS[: 1 if people else 80], shuffled, detections)


def _image_sizes(rng: np.random.Generator, count: int) -> np.ndarray:
    side = rng.integers(360, 641, count)
    usual = rng.choice(3, count, p=[0.55, 0.25, 0.2])
    width = np.select([usual == 0, usual == 1], [640, 480], 640)
    height = np.select([usual == 0, usual == 1], [480, 640], side)
    return np.stack([width, height], 1)


def _objects(rng: np.random.Generator, recipe: Recipe, sizes: np.ndarray) -> Objects:
    n = recipe.objects
    empty = rng.random(recipe.images) < 0.01
    share = rng.gamma(1.0, size=recipe.images) * ~empty
    more = rng.multinomial(n - int((~empty).sum()), share / share.sum())
    image = np.repeat(np.arange(recipe.images), more + ~empty)
    place = _place_in_group(image)
    # Polya's urn: a class of its own, or that of an earlier object of the image.
    category = _draw_categories(rng, n, recipe.kind)
    new = rng.random(n) < _NEW_CLASS / (_NEW_CLASS + place)
    earlier = np.arange(n) - place + (rng.random(n) * place).astype(np.int64)
    source = np.where(new, np.arange(n), earlier)
    while (source != source[source]).any():
        source = source[source]
    category = category[source]

    crowd = rng.random(n) < _CROWD_SHARE
    fill = np.full(n, np.pi / 4) if recipe.kind == "segm" else rng.uniform(0.5, 0.9, n)
    boxes = _random_boxes(rng, sizes[image], np.where(crowd, 2.0, 0.0), fill)
    if recipe.box_decimals == 1:  # an even width times any threshold has one decimal
        boxes[:, 2] = np.maximum(2, np.floor(boxes[:, 2] / 2) * 2)
    boxes = np.round(boxes, min(recipe.box_decimals, 2))
    area = np.round(boxes[:, 2] * boxes[:, 3] * fill, 4)
    keypoints = _keypoints(rng, boxes) if recipe.kind == "keypoints" else np.zeros((n, 0, 3))
    ids = rng.permutation(60 * n)[:n] + 1
    return Objects(image, category, boxes, area, crowd, ids, keypoints)


def _draw_categories(rng: np.random.Generator, n: int, kind: str, flatten: float = 1) -> np.ndarray:
    if kind == "keypoints":
        return np.ones(n, np.int64)
    rest = _DECAY ** np.arange(79)
    share = np.append(_PERSON_SHARE, (1 - _PERSON_SHARE) * rest / rest.sum()) ** flatten
    # Which class is frequent has nothing to do with its id, but person is 1.
    ids = np.append(1, np.random.default_rng(80).permutation(CATEGORY_IDS[1:]))
    return ids[rng.choice(80, n, p=share / share.sum())]


def _random_boxes(
    rng: np.random.Generator,
    sizes: np.ndarray,
    larger: np.ndarray | float,
    fill: np.ndarray | float,
) -> np.ndarray:
    """Boxes [N, 4] xywh inside images [N, 2], whose `fill` of the area is distributed as COCO's."""
    n = len(sizes)
    area = np.exp(rng.normal(_LN_AREA + larger, _LN_AREA_DEVIATION, n)) / fill
    aspect = np.exp(rng.normal(0, 0.5, n))
    sides = np.sqrt(np.stack([area * aspect, area / aspect], 1))
    sides = np.clip(sides, 3, sizes - 2)
    return np.concatenate([rng.random((n, 2)) * (sizes - 1 - sides), sides], 1)


def _detections(
    rng: np.random.Generator, recipe: Recipe, sizes: np.ndarray, objects: Objects
) -> Detections:
    n = recipe.detections
    counts = _detections_by_image(rng, recipe)
    image = np.repeat(np.arange(recipe.images), counts)
    place = _place_in_group(image)
    own = np.bincount(objects.image, minlength=recipe.images)  # objects of each image
    first = np.append(0, own.cumsum())[:-1]
    with_objects = own[image] > 0

    # Each detection of an image finds an object, is another box around one, or is background.
    area = objects.area
    found_share = np.select([objects.crowd, area < 32**2, area < 96**2], [0.1, 0.6, 0.85], 0.95)
    found = np.append(rng.random(recipe.objects) < found_share, False)
    direct = place < own[image]
    source = np.where(direct, first[image] + place, recipe.objects)
    direct &= found[source]
    around = ~direct & with_objects & (rng.random(n) < 0.45)
    source = np.where(around, first[image] + (rng.random(n) * own[image]).astype(np.int64), source)
    of_object = direct | around

    low, high = np.where(around, 0.05, 0.01), np.where(around, 0.35, 0.12)
    looseness = np.exp(rng.uniform(np.log(low), np.log(high)))
    padded = np.concatenate([objects.boxes, np.ones((1, 4))])[np.where(of_object, source, -1)]
    moved = _jitter(rng, padded, looseness)
    if recipe.box_decimals == 1:
        exact = direct & (rng.random(n) < 0.3)
        share = 0.5 + 0.05 * rng.integers(0, 10, n)
        cut = padded * np.stack([np.ones(n), np.ones(n), share, np.ones(n)], 1)
        moved = np.where(exact[:, None], cut, moved)
    boxes = np.where(of_object[:, None], moved, _random_boxes(rng, sizes[image], 0, 0.7))
    boxes = np.round(np.maximum(boxes, [0, 0, 1, 1]), recipe.box_decimals)

    wrong = around & (rng.random(n) < 0.3)
    category = np.append(objects.category, 1)[np.where(of_object, source, -1)]
    pool = _draw_categories(rng, recipe.images * _BACKGROUND_CLASSES, recipe.kind, flatten=0.5)
    drawn = pool[image * _BACKGROUND_CLASSES + rng.integers(0, _BACKGROUND_CLASSES, n)]
    category = np.where(of_object & ~wrong, category, drawn)

    small = np.append(area < 32**2, False)[np.where(of_object, source, -1)]
    logit = np.where(around, -2.5, -4.0) - 0.7 * wrong
    logit = np.where(direct, 2.2 - 18 * looseness - 1.2 * small, logit) + rng.normal(0, 1.1, n)
    scores = (1 / (1 + np.exp(-logit))).astype(np.float32).astype(np.float64)
    if recipe.score_decimals is not None:
        scores = np.round(scores, recipe.score_decimals)
    keypoints = np.zeros((n, 0, 3))
    if recipe.kind == "keypoints":
        keypoints = _detected_keypoints(rng, boxes, objects, source, of_object, looseness)
    order = np.lexsort((-scores, image))
    columns = (image, category, boxes, scores, keypoints)
    return Detections(*(column[order] for column in columns))


def _detections_by_image(rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """[I] with the recipe's sum; a fifth of the images or more have the largest number."""
    spread = rng.normal(0, 0.45 * recipe.detections / recipe.images, recipe.images)

    def counts_around(middle: float) -> np.ndarray:
        return np.clip(np.rint(middle + spread), 1, recipe.most).astype(np.int64)

    low, high = 0.0, 3.0 * recipe.most
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if counts_around(middle).sum() < recipe.detections else (low, middle)
        )
    counts = counts_around(low)
    rows = rng.permutation(np.flatnonzero(counts < recipe.most))
    counts[rows[: recipe.detections - counts.sum()]] += 1
    return counts


def _jitter(rng: np.random.Generator, boxes: np.ndarray, looseness: np.ndarray) -> np.ndarray:
    shift = rng.normal(0, 1, (len(boxes), 2)) * looseness[:, None] * boxes[:, 2:]
    scale = np.exp(rng.normal(0, 1, (len(boxes), 2)) * looseness[:, None])
    return np.concatenate([boxes[:, :2] + shift, boxes[:, 2:] * scale], 1)


def _place_in_group(groups: np.ndarray) -> np.ndarray:
    """[N] how many rows of the same group come before, of sorted groups."""
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    lengths = np.diff(np.append(begins, len(groups)))
    return np.arange(len(groups)) - np.repeat(begins, lengths)


def _keypoints(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """[N, 17, 3] of x, y, visibility inside boxes; of some none is visible."""
    n = len(boxes)
    pose = np.random.default_rng(17).random((KEYPOINTS, 2))
    at = np.clip(pose + rng.normal(0, 0.08, (n, KEYPOINTS, 2)), 0, 1)
    xy = np.rint(boxes[:, None, :2] + at * boxes[:, None, 2:])
    visible = rng.choice(3, (n, KEYPOINTS), p=[0.3, 0.1, 0.6])
    visible = visible * (rng.random((n, 1)) > _NO_KEYPOINTS)
    return np.concatenate([xy, visible[..., None]], 2) * (visible[..., None] > 0)


def _detected_keypoints(
    rng: np.random.Generator,
    boxes: np.ndarray,
    objects: Objects,
    source: np.ndarray,
    of_object: np.ndarray,
    looseness: np.ndarray,
) -> np.ndarray:
    """[D, 17, 3]: those of the object, moved, or some in the box; the third number is a score."""
    drawn = _keypoints(rng, boxes)
    drawn[..., :2] += (drawn[..., 2:] == 0) * (boxes[:, None, :2] + boxes[:, None, 2:] / 2)
    theirs = np.append(objects.keypoints, drawn[:1], 0)[np.where(of_object, source, -1)]
    noise = rng.normal(0, 1, theirs[..., :2].shape) * (looseness[:, None] * boxes[:, 2:])[:, None]
    seen = of_object[:, None, None] & (theirs[..., 2:] > 0)
    xy = np.round(np.where(seen, theirs[..., :2] + noise, drawn[..., :2]), 2)
    return np.concatenate([xy, np.round(rng.random((len(boxes), KEYPOINTS, 1)), 3)], 2)
