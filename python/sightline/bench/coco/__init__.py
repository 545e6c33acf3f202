"""How fast COCO evaluation is here, against every evaluator that people use now.

`generate.py` draws a data set of COCO's kind from a seed, `files.py` writes it, `benchmark.py` says
what is timed on it. A contender is a file of `contenders/`, which has the programs that
`programs.py` lists; each runs in a process of its own, ours in this Python and the others in that
of --peers. `contest.py` holds our arrays to pycocotools' before anything is timed.
"""
