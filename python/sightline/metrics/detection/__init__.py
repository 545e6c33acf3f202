"""Detection evaluation: from boxes, labels and scores of all images to AP and its analyses.

The evaluator (or `coco`, for files) lays out, matches and accumulates rows. The result keeps them
as evidence, from which curves, errors, calibration and confidence intervals are computed on
demand. The public names are in `sightline.metrics`.
"""
