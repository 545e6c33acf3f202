"""Detection evaluation: boxes, labels and scores of all images in, AP and its analyses out.

The evaluator (or `coco`, for files) lays rows out, matches and accumulates them; the result keeps
them as evidence, from which curves, errors, calibration and confidence intervals are made on
demand. Public names are those of `sightline.metrics`.
"""
