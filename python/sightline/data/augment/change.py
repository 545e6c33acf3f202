"""One random change of an image, which maps its pixels and all that is known of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sightline.data.augment.clip import clip_boxes
from sightline.data.augment.elastic import undisplaced
from sightline.data.augment.geometry import (
    Matrix,
    flip_matrix,
    is_aligned,
    map_points,
    scaling,
)
from sightline.data.augment.outlines import Outlines, outlines_of
from sightline.data.augment.pixels import render, render_masks
from sightline.formats.shapes import (
    Polygons,
    RunLengths,
    Shape,
    corners_of_rotated,
    runs_to_mask,
    shape_to_mask,
)

__all__ = ["Change"]


@dataclass(frozen=True, eq=False)
class Change:
    """One change of an image of `size_in` to the network's input of `size`, both (height, width).

    What it maps is in continuous pixels of the decoded image, and becomes pixels of the network's
    input; the image is sampled once. `draw_change` draws one at random.

    Attributes:
        matrix: float64 [3, 3], from pixels of the image to pixels of the input, before
            `displacements`: resizing, mirroring, rotation, perspective and cropping in one.
        fill: colour outside the image, one value per channel in 0 to 255.
        displacements: float32 [h, w, 2], see `elastic`; None for none.
        colors: float32 [3, 4], affine map of the channels in 0 to 255; None for none.
        blur: standard deviation of a Gaussian blur in pixels of the input.
        noise: standard deviation of Gaussian noise as a share of the range of values.
        noise_seed: the seed of that noise.
        cutout: xyxy rectangles in whole pixels of the input that are filled.
        min_visibility: share of a box's area that must remain visible for its object to be kept.
    """

    size_in: tuple[int, int]
    size: tuple[int, int]
    matrix: Matrix
    fill: tuple[float, ...] = (0.0, 0.0, 0.0)
    displacements: NDArray[np.float32] | None = None
    colors: NDArray[np.float32] | None = None
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0
    cutout: tuple[tuple[int, int, int, int], ...] = ()
    min_visibility: float = 0.0

    @property
    def mirrors(self) -> bool:
        """Whether left and right are exchanged, such as by one flip and not by two."""
        return bool(np.linalg.det(self.matrix) < 0)

    def mirrored(self) -> Change:
        """Return this change followed by a horizontal flip."""
        width = self.size[1]
        grid = self.displacements
        if grid is not None:
            grid = np.ascontiguousarray(grid[:, ::-1] * np.array([-1, 1], np.float32))
        return replace(
            self,
            matrix=flip_matrix(self.size, horizontal=True, vertical=False) @ self.matrix,
            displacements=grid,
            cutout=tuple((width - x2, y1, width - x1, y2) for x1, y1, x2, y2 in self.cutout),
        )

    def image(
        self,
        picture: NDArray[np.uint8],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        *,
        reduction: int = 1,
    ) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return the changed pixels: float32 [C, h, w], (v / 255 - mean) / std; or uint8 [h, w, C].

        Args:
            picture: uint8 [H, W, 1 | 3] of `size_in`.
            mean, std: one per channel, for values in 0 to 1; None for uint8.
            reduction: `picture` is smaller by this factor, as `load_record_image` returns it.

        Raises:
            ValueError: `picture` has another size.
        """
        wanted = tuple(-(-side // reduction) for side in self.size_in)
        if picture.shape[:2] != wanted:
            raise ValueError(
                f"`picture` must have shape {[*wanted, 'C']} as the change was drawn, "
                f"got {list(picture.shape)}"
            )
        matrix = self.matrix if reduction == 1 else self.matrix @ scaling(reduction, reduction)
        return render(
            picture,
            matrix,
            self.size,
            mean=mean,
            std=std,
            displacements=self.displacements,
            colors=self.colors,
            fill=self.fill,
            blur=self.blur,
            noise=self.noise,
            noise_seed=self.noise_seed,
            cutout=self.cutout,
        )

    def map_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points [..., 2] (x, y), wherever they come to lie."""
        points = np.asarray(points, np.float64)
        mapped = map_points(self.matrix, points)
        if self.displacements is None:
            return mapped
        return undisplaced(mapped.reshape(-1, 2), self.displacements, *self.size).reshape(
            points.shape
        )

    def boxes(
        self,
        boxes: NDArray[np.float64],
        shapes: Sequence[Shape | None] | None = None,
        rotated: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Map xyxy boxes [N, 4], and clip them to the input.

        Where a box does not stay a box, its hull is taken, of the object's outline if there is one.

        Args:
            boxes: float64 [N, 4].
            shapes: the outline of each object, or None where there is none.
            rotated: rotated boxes [N, 5], NaN where there is none; an outline takes precedence.

        Returns:
            boxes float64 [K, 4] inside the input, and their rows int64 [K]: those of which
            `min_visibility` of the area and one pixel of each side remain.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        if self.displacements is None and is_aligned(self.matrix):
            scale, shift = self.matrix[[0, 1], [0, 1]], self.matrix[:2, 2]
            ends = boxes.reshape(-1, 2, 2) * scale + shift
            hulls = visible = np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)
        else:
            hulls, visible = self._hulls(boxes, shapes, rotated)
        clipped, rows = clip_boxes(visible, *self.size)
        area = (hulls[rows, 2:] - hulls[rows, :2]).prod(axis=1)
        kept = _visible_area(clipped, self.cutout) >= self.min_visibility * area
        return clipped[kept], rows[kept]

    def _hulls(
        self,
        boxes: NDArray[np.float64],
        shapes: Sequence[Shape | None] | None,
        rotated: NDArray[np.float64] | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the boxes around the mapped objects, and around what of each lies in the input."""
        if len(boxes) == 0:
            return boxes, boxes
        return self._mapped(outlines_of(boxes, shapes, rotated)).hulls(*self.size)

    def _mapped(self, outlines: Outlines) -> Outlines:
        if self.displacements is not None:
            outlines = outlines.fine(self.matrix)
        return replace(outlines, points=self.map_points(outlines.points))

    def polygons(self, polygons: Polygons) -> Polygons:
        """Map the outline of an object; it is not clipped. `elastic` adds points to its edges."""
        if not sum(map(len, polygons.rings)):
            return polygons
        outlines = outlines_of(np.zeros((1, 4)), [polygons])
        return Polygons(tuple(self._mapped(outlines).split()))

    def points(
        self, points: NDArray[np.float64], *, mirror: Sequence[int] = ()
    ) -> NDArray[np.float64]:
        """Map keypoints [N, K, 3] (x, y, visibility).

        Points outside the input, or not labelled, become 0, 0, 0; of what `cutout` covers, the
        visibility becomes 1, hidden. `mirror`, integers [K], names the point that each becomes in a
        mirrored image, such as the right eye for the left one.

        Raises:
            ValueError: `mirror` has another length than K.
        """
        points = np.asarray(points, np.float64)
        if len(mirror) not in (0, points.shape[-2]):
            raise ValueError(
                f"`mirror` must name one of {points.shape[-2]} keypoints for each, "
                f"got {list(mirror)}"
            )
        seen = np.where(np.isfinite(points).all(axis=-1), points[..., 2], 0.0)
        xy = self.map_points(np.where(seen[..., None] > 0, points[..., :2], 0.0))
        for x1, y1, x2, y2 in self.cutout:
            covered = ((xy >= (x1, y1)) & (xy < (x2, y2))).all(axis=-1)
            seen[covered] = np.minimum(seen[covered], 1)
        inside = ((xy >= 0) & (xy <= self.size[::-1])).all(axis=-1) & (seen > 0)
        mapped = np.where(inside[..., None], np.concatenate([xy, seen[..., None]], axis=-1), 0.0)
        if len(mirror) and self.mirrors:
            exchanged = np.empty_like(mapped)
            exchanged[..., list(mirror), :] = mapped
            return exchanged
        return mapped

    def boxes_rotated(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map rotated boxes [N, 5] (centre x, y, w, h, degrees) to the smallest ones around theirs.

        They are not clipped. w stays along the side that it was, as far as a change leaves it
        straight. NaN, where an object has none, stays NaN.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 5)
        known = np.isfinite(boxes).all(axis=1)
        mapped = np.full_like(boxes, np.nan)
        mapped[known] = _smallest_around(self.map_points(corners_of_rotated(boxes[known])))
        return mapped

    def masks(self, shapes: Sequence[Shape]) -> NDArray[np.bool_]:
        """Draw the outlines of N objects into the input: bool [N, h, w]."""
        masks = np.zeros((len(shapes), *self.size), bool)
        runs = [row for row, shape in enumerate(shapes) if isinstance(shape, RunLengths)]
        if runs:
            decoded = np.stack([runs_to_mask(shapes[row]) for row in runs])  # type: ignore[arg-type]
            masks[runs] = self.mask(decoded.view(np.uint8)).view(bool)
        for row, shape in enumerate(shapes):
            if isinstance(shape, Polygons):
                masks[row] = shape_to_mask(self.polygons(shape), self.size)
        return masks

    def mask(self, mask: NDArray[np.integer], *, fill: int = 0) -> NDArray[np.integer]:
        """Map masks of whole numbers [H, W] or [N, H, W] by their nearest pixel, in their dtype.

        `fill` is the value outside the image. Colour, blur, noise and `cutout` leave masks alone.

        Raises:
            TypeError, ValueError: not integers, or not of `size_in`.
        """
        mask = np.asarray(mask)
        if mask.dtype.kind not in "iu":
            raise TypeError(f"`mask` must hold integers, got {mask.dtype}")
        if mask.ndim not in (2, 3) or mask.shape[-2:] != self.size_in:
            raise ValueError(
                f"`mask` must have shape {list(self.size_in)} or [N, ...], got {list(mask.shape)}"
            )
        drawn = render_masks(
            mask.reshape(-1, *self.size_in),
            self.matrix,
            self.size,
            displacements=self.displacements,
            fill=fill,
        )
        return drawn.reshape(*mask.shape[:-2], *self.size)


def _visible_area(
    boxes: NDArray[np.float64], covers: Sequence[tuple[int, int, int, int]]
) -> NDArray[np.float64]:
    """Return the area of boxes [N, 4] without that under the rectangles, which do not overlap."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for x1, y1, x2, y2 in covers:
        low, high = np.maximum(boxes[:, :2], (x1, y1)), np.minimum(boxes[:, 2:], (x2, y2))
        area = area - np.clip(high - low, 0, None).prod(axis=1)
    return area


def _smallest_around(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rotated boxes [N, 5] around quadrilaterals [N, 4, 2], along a pair of their sides."""
    along = corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3]
    across = corners[:, 3] - corners[:, 0] + corners[:, 2] - corners[:, 1]
    one = _around(corners, along, turned=False)
    other = _around(corners, across, turned=True)
    smaller = one[:, 2] * one[:, 3] <= other[:, 2] * other[:, 3]
    return np.where(smaller[:, None], one, other)


def _around(
    corners: NDArray[np.float64], direction: NDArray[np.float64], *, turned: bool
) -> NDArray[np.float64]:
    """Return the rectangles [N, 5] around corners [N, 4, 2], with one pair of sides in a direction.

    The direction is that of w, or of h with `turned`.
    """
    along = direction / np.maximum(np.hypot(*direction.T), 1e-12)[:, None]
    if turned:  # h points down where w points right
        along = np.stack([along[:, 1], -along[:, 0]], axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    at = np.stack([(corners * axis[:, None]).sum(axis=2) for axis in (along, across)], axis=2)
    low, high = at.min(axis=1), at.max(axis=1)
    middle = (low + high) / 2
    centre = along * middle[:, :1] + across * middle[:, 1:]
    angle = np.degrees(np.arctan2(-along[:, 1], along[:, 0])) + 0.0
    return np.concatenate([centre, high - low, angle[:, None]], axis=1)
