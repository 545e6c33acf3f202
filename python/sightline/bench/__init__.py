"""Speed on this machine, beside the machine's own limits and the libraries that people use now.

A benchmark (`outcome.py`) has a unique name and says what is timed. The benchmarks of the ops are
in `ops/`, those of COCO evaluation in `coco/`, those of batch norm in `batch_norm/`. The function
`prepare` of each of these packages (`contest.py`) sets up the contenders, ours and others, and
checks that their results agree. `run.py` then times them alternately, together with their limit: a
pass over memory or a sort that no implementation can avoid. `text.py` and `report.py` print the
outcomes, `compare.py` compares them with those of an earlier run.

Contenders that need another environment run in a worker (`worker.py`, `process.py`) under that
environment's Python, which has no sightline: no module that the worker loads may import sightline.
"""
