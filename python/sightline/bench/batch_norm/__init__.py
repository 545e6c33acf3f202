"""How fast batch norm with its activation is here, against eager torch and torch.compile.

`benchmark.py` says what is timed and how many bytes that must move, `goals.py` what ours is held
to, `contenders.py` who takes part. `contest.py` holds all of them to eager torch before they are
timed. `resnet50.py` has a whole training step, before and after `convert_batch_norm`.
"""
