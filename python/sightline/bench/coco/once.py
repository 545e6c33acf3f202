"""One evaluation as a whole process: arguments are the contender, threads, kind and two files."""

import json
import os
import sys

from ..silent import silent
from .worker import contender


def main() -> None:
    name, threads, kind, gt, dt = sys.argv[3:]
    answer = os.dup(1)
    with silent():
        programs = contender(name)
        programs.set_threads(int(threads))
        stats = programs.stats(programs.files(gt, dt, kind))
    os.write(answer, json.dumps(stats).encode() + b"\n")
