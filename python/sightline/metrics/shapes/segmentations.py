"""Segmentations as columns: the output of the JSON reader and the input of the mask kernels."""

from dataclasses import dataclass

import numpy as np

KIND_NONE = 0
KIND_POLYGONS = 1
KIND_RLE_STRING = 2  # COCO's compressed counts
KIND_RLE_COUNTS = 3  # a list of run lengths, the first of them background


@dataclass(frozen=True)
class Segmentations:
    """Columns [N], and the tables that they point into.

    Row i consists of `count[i]` entries of the table of its kind, from entry `first[i]`: rings of
    polygons, bytes of `strings`, or run lengths of `counts`. Because rows point into the tables,
    `take` copies no table.
    """

    size: np.ndarray  # [N, 2] int64, height and width: of the run lengths, or of the image
    kind: np.ndarray  # [N] uint8, one of KIND_*
    first: np.ndarray  # [N] int64
    count: np.ndarray  # [N] int64, 0 for KIND_NONE
    ring_offsets: np.ndarray  # [P + 1] int64: ring p is coordinates[ring_offsets[p] : ... [p + 1]]
    coordinates: np.ndarray  # float64, x and y in turn, in pixels
    strings: np.ndarray  # uint8
    counts: np.ndarray  # uint32

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: np.ndarray | slice) -> "Segmentations":
        """The rows selected by an index or a mask; the tables are shared."""
        return Segmentations(
            self.size[rows],
            self.kind[rows],
            self.first[rows],
            self.count[rows],
            self.ring_offsets,
            self.coordinates,
            self.strings,
            self.counts,
        )

    @classmethod
    def none(cls, rows: int) -> "Segmentations":
        """`rows` rows without a segmentation."""
        return cls(
            np.zeros((rows, 2), np.int64),
            np.zeros(rows, np.uint8),
            np.zeros(rows, np.int64),
            np.zeros(rows, np.int64),
            np.zeros(1, np.int64),
            np.zeros(0, np.float64),
            np.zeros(0, np.uint8),
            np.zeros(0, np.uint32),
        )
