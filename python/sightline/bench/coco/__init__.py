"""Speed of COCO evaluation, beside the evaluators that people use now.

`generate.py` draws a data set like COCO from a seed, `files.py` writes it, `benchmark.py` says what
is timed on it. Each file of `contenders/` implements the programs that `programs.py` lists for one
evaluator. Each evaluator runs in its own process, ours under this Python and the others under that
of --peers. `contest.py` compares our arrays with those of pycocotools before anything is timed.
"""
