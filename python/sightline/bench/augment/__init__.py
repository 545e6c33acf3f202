"""Speed of augmentation of images with boxes, beside the libraries that people use.

`benchmark.py` says what is timed, `programs.py` draws the images, `contenders/` has one file per
library. `contest.py` compares a fixed change by each of them with ours before they are timed.
"""
