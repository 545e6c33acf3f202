"""How fast the ops are here, against the machine's own limits and against what people use now.

A work (`work.py`) is named inputs from fixed seeds and the name of a program. A contender is a file
of `contenders/` that holds such programs: ours, plain torch, torchvision. The contenders of a work
take turns in one run, together with its limit: a pass over memory, or a sort, that the op cannot do
without. `run.py` checks that contenders agree before it times them.

Peers that need an environment of their own run in a worker (`worker.py`) of that environment's
Python, which has no sightline: nothing that the worker loads may import sightline.
"""
