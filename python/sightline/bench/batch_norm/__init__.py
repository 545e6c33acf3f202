"""How fast batch norm with its activation is here, against eager torch and torch.compile.

`work.py` says what is timed and how many bytes that must move, `goals.py` what ours is held to,
`contenders.py` who takes part. `run.py` holds all of them to eager torch before it times anything.
`resnet50.py` times a whole training step, before and after `convert_batch_norm`.
"""
