"""Speed of the ops, beside plain torch and torchvision.

`boxes.py` and `growth.py` list the benchmarks, whose inputs (`inputs.py`) come from fixed seeds.
Each file of `contenders/` implements their programs with one library, one function per program.
`contest.py` checks that the results agree. Libraries that need another environment run in a worker
there (`peers.py`).
"""
