"""Speed of batch norm with its activation, beside eager torch and torch.compile.

`benchmark.py` says what is timed and how many bytes it must move, `goals.py` what ours should
reach, `contenders.py` which implementations there are. `contest.py` compares all of them with eager
torch before they are timed. `resnet50.py` has a whole training step, before and after
`convert_batch_norm`.
"""
