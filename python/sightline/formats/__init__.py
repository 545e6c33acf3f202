"""Label files, read and written: one module per format, in NumPy alone."""

from sightline.formats.records import Annotations, DataError, Issue, LabelType, Record, box_rule
from sightline.formats.shapes import Polygons, RunLengths, Shape
from sightline.formats.source import Source, split_name

__all__ = [
    "Annotations",
    "DataError",
    "Issue",
    "LabelType",
    "Polygons",
    "Record",
    "RunLengths",
    "Shape",
    "Source",
    "box_rule",
    "split_name",
]
