"""Pascal VOC XML: one file per image."""

from sightline.formats.voc.layout import LOOKED_FOR, has_nested_xml, has_xml
from sightline.formats.voc.read import open_voc
from sightline.formats.voc.write import write_voc

__all__ = ["LOOKED_FOR", "has_nested_xml", "has_xml", "open_voc", "write_voc"]
