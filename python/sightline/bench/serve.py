"""Answers requests from standard input, a line of JSON each, until it ends."""

import json
import os
import sys


def serve(worker: object) -> None:
    """A request names a method of `worker` and its arguments; the answer is what that gives."""
    # Libraries may print: only answers go to what was standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
