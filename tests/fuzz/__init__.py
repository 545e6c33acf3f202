"""Random cases of every op against its reference.

Each `fuzz_<op>.py` holds `CASES`, how many the long run takes, and `check(rng)`, which draws one
case and asserts that the op equals the reference; `SHORT`, where it is there, is how many cases the
tests take. Case `i` of seed `k` draws from a generator of its own, so that one command repeats it.
"""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np

SHORT = 100


def modules() -> dict[str, ModuleType]:
    """Op name -> its module, in order of names."""
    stems = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))
    return {s.removeprefix("fuzz_"): importlib.import_module(f"{__name__}.{s}") for s in stems}


def run_case(module: ModuleType, seed: int, case: int) -> None:
    module.check(np.random.default_rng((seed, case)))
