"""How fast COCO evaluation is here, against every evaluator that people use now.

`generate.py` draws a data set of COCO's kind from a seed, `files.py` writes it. A contender is a
file of `contenders/`; each runs in a process of its own, ours in this Python and the others in that
of --peers, so nothing that `worker.py` loads may import sightline except our own contender.
`run.py` holds our arrays to pycocotools' before it times anything.
"""
