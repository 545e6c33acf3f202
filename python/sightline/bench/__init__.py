"""How fast things are here, against the machine's own limits and against what people use now.

A benchmark (`outcome.py`) is what is timed, under a name of its own: those of the ops are in
`ops/`, of COCO evaluation in `coco/`, of batch norm in `batch_norm/`. Each of these has a function
`prepare` (`contest.py`) that makes contenders ready, ours and others, and checks that they agree.
`run.py` then times them in turns, together with their limit: a pass over memory, or a sort, that
none can do without. `text.py` and `report.py` print what came out, `compare.py` holds it to an
earlier run.

Contenders that need an environment of their own run in a worker (`worker.py`, `process.py`) of that
environment's Python, which has no sightline: nothing that the worker loads may import sightline.
"""
