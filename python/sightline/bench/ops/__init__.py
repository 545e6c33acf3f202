"""How fast the ops are here, against plain torch and torchvision.

`boxes.py` and `growth.py` list the benchmarks, with inputs (`inputs.py`) from fixed seeds. A
contender is a file of `contenders/`, one function per program. `contest.py` checks that contenders
agree; those that need an environment of their own run in a worker there (`peers.py`).
"""
