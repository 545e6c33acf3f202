"""SIGHTLINE_ISA: a missing level is refused by the first use."""

import json

from ..fresh import run

SAYS = "SIGHTLINE_ISA must be baseline, avx2 or avx512, got 'AVX2'"
_FIRST_USE = """
import numpy as np, torch
from sightline import ops
for kind in (np.asarray, torch.tensor):
    boxes = kind([[0.0, 0, 5, 5], [0, 0, 5, 4]])
    try:
        ops.box_iou_max(boxes, boxes)
    except ValueError as error:
        print(error)
"""
_INFO = "import sys; from sightline.cli import main; sys.exit(main(['info', '--json']))"


def test_an_unknown_word_is_refused_on_first_use_by_arrays_and_tensors():
    assert run(_FIRST_USE, env={"SIGHTLINE_ISA": "AVX2"}).stdout.splitlines() == [SAYS, SAYS]


def test_info_tells_what_is_wrong_with_it():
    ended = run(_INFO, env={"SIGHTLINE_ISA": "AVX2"})
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["instructions"] == f"no: {SAYS}"


def test_an_empty_value_is_none():
    ended = run(_FIRST_USE, env={"SIGHTLINE_ISA": ""})
    assert (ended.returncode, ended.stdout) == (0, "")
