"""The ops under the names and signatures of other packages: torchvision, mmcv, detectron2.

None of these packages is needed; only `sightline.compat.torchvision.install` imports its own.
"""
