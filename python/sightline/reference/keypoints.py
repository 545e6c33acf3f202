"""Object keypoint similarity in plain NumPy, step by step as pycocotools computes it.

This file is the specification of `sightline.metrics.keypoint_similarity`. It checks nothing and is
never optimised.
"""

import numpy as np

# Deviation of annotators for COCO's 17 keypoints, as a share of the object's size.
COCO_SIGMAS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 100 / 10
)


def keypoint_similarity(detections, objects, area, boxes_xywh, sigmas):
    """See `sightline.metrics.keypoint_similarity`."""
    out = np.zeros((len(detections), len(objects)))
    variances = (np.asarray(sigmas) * 2) ** 2
    for g, keypoints in enumerate(objects):
        x, y, visible = keypoints.T
        seen = visible > 0
        left, top, width, height = boxes_xywh[g]
        for d, found in enumerate(detections):
            found_x, found_y, _ = found.T
            if seen.any():
                dx, dy = found_x - x, found_y - y
            else:  # how far outside the box at three times its size
                dx = _outside(left - width, found_x, left + width * 2)
                dy = _outside(top - height, found_y, top + height * 2)
            e = (dx**2 + dy**2) / variances / (area[g] + np.spacing(1)) / 2
            if seen.any():
                e = e[seen]
            out[d, g] = np.sum(np.exp(-e)) / len(e)
    return out


def _outside(low, values, high):
    return np.maximum(0, low - values) + np.maximum(0, values - high)
