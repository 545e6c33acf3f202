"""The tasks classify and detect, one file each; no other module distinguishes tasks."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("sightline.tasks needs torch: pip install 'sightline[train]'") from error

from sightline.data import Annotations
from sightline.tasks.base import SCORE_THRESHOLD, Evaluation, Prediction, Scorer, Task
from sightline.tasks.classify import Classification, Classify
from sightline.tasks.detect import Detect, Detections

# Name -> task. Where several accept the same labels, the first of them is the default.
TASKS: dict[str, Task] = {task.name: task for task in (Classify(), Detect())}


def default_task(annotations: Annotations) -> Task:
    """The task for a data set's labels where the user names none.

    Raises:
        ValueError: no task accepts labels of that type.
    """
    for task in TASKS.values():
        if task.accepts(annotations):
            return task
    raise ValueError(
        f"no task can be trained on the labels of {annotations.source}, whose type is "
        f"{annotations.label_type}; the tasks are {', '.join(TASKS)}"
    )


__all__ = [
    "SCORE_THRESHOLD",
    "TASKS",
    "Classification",
    "Detections",
    "Evaluation",
    "Prediction",
    "Scorer",
    "Task",
    "default_task",
]
