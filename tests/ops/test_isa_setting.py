"""SIGHTLINE_ISA: a missing level is refused by the first use."""

import json
import os
import subprocess
import sys

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


def run(*words: str, isa: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "SIGHTLINE_ISA": isa},
        capture_output=True,
        text=True,
    )


def test_an_unknown_word_is_refused_on_first_use_by_arrays_and_tensors():
    assert run("-c", _FIRST_USE, isa="AVX2").stdout.splitlines() == [SAYS, SAYS]


def test_info_tells_what_is_wrong_with_it():
    ended = run("-m", "sightline", "info", "--json", isa="AVX2")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["instructions"] == f"no: {SAYS}"


def test_an_empty_value_is_none():
    assert run("-c", _FIRST_USE, isa="").stdout == ""
