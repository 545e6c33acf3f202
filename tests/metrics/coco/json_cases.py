"""COCO records as text, and segmentations of columns as COCO writes them."""

from sightline.metrics.shapes.segmentations import (
    KIND_NONE,
    KIND_POLYGONS,
    KIND_RLE_COUNTS,
    KIND_RLE_STRING,
)

RESULT = ("image_id", "category_id", "bbox", "score")


def result(image_id="1", category_id="2", bbox="[1, 2, 3, 4]", score="0.5", more=""):
    return (
        f'{{"image_id": {image_id}, "category_id": {category_id}, "bbox": {bbox}, '
        f'"score": {score}{more}}}'
    )


def segmentation_of(columns, row):
    first, last = columns.first[row], columns.first[row] + columns.count[row]
    match columns.kind[row]:
        case kind if kind == KIND_POLYGONS:
            ends = columns.ring_offsets
            return [columns.coordinates[ends[p] : ends[p + 1]].tolist() for p in range(first, last)]
        case kind if kind == KIND_RLE_STRING:
            counts = bytes(columns.strings[first:last]).decode()
            return {"counts": counts, "size": columns.size[row].tolist()}
        case kind if kind == KIND_RLE_COUNTS:
            return {
                "counts": columns.counts[first:last].tolist(),
                "size": columns.size[row].tolist(),
            }
        case kind:
            assert kind == KIND_NONE
            return None
