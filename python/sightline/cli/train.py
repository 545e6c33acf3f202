"""sightline train data=<folder> [key=value ...]

Trains on the train split and evaluates on the val split after every epoch. Settings that are not
given are derived from the data (task, image size, anchors), taken from the preset of the task, or
left at their defaults.

  data=<path>          folder or file of the data set, or digits or digit-scenes
  config=<file|run>    settings of an earlier run; key=value arguments override them
  resume=<run>         continue a run that was stopped, to the same bits
  epochs= batch_size= lr= size=240x320 model= optimizer= schedule= seed= device= patience=
                       the settings used most often; config.yaml of any run lists all of them
  task=<name>          one of {tasks}; derived from the labels by default
  name=<word> out=<folder>
                       the run folder is <out>/<task>/<name>; runs/<task>/train by default
  train_split=trainval val_split=none
                       train on everything but the test split
  test_share=0.1       put a tenth of the images aside as the test split, where there is none
  --quiet              print only the last lines
"""

from collections.abc import Sequence
from pathlib import Path

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.report import write_report
from sightline.settings.read import Layer, config_layer, override_layer
from sightline.tasks import TASKS
from sightline.train.log import Log
from sightline.train.session import Run, resume_run, train_from_settings

__doc__ = str(__doc__).replace("{tasks}", ", ".join(TASKS))


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=("quiet",))
    log = Log(quiet="quiet" in arguments.flags)
    positional = arguments.positional
    if positional:
        raise UsageError(
            f"expected key=value, got {positional[0]!r}; did you mean data={positional[0]}?"
        )
    resume = arguments.take("resume")
    if resume is not None:
        if arguments.options:
            raise UsageError(
                "resume continues with the run's own settings, but "
                f"{', '.join(arguments.options)} was given too: start a new run with "
                f"config={Path(resume) / 'config.yaml'} to change them"
            )
        finished = resume_run(resume, log=log)
    else:
        layers: list[Layer] = []
        config = arguments.take("config")
        if config is not None:
            layers.append(config_layer(config))
        layers.append(override_layer(arguments.options))
        finished = train_from_settings(layers, log=log)
    return report(finished, log)


def report(finished: Run, log: Log) -> int:
    """Write the report of a finished run and print its path."""
    interrupted = finished.history.stopped == "interrupted"
    if finished.history.rows:
        page = write_report(finished.path, warn=log.warn)
        history = finished.history
        if finished.evaluation is not None and history.best_value is not None:
            say(
                f"best     {history.monitor} {history.best_value:.4f} in epoch {history.best_epoch}"
            )
        say(f"weights  {finished.path / 'weights'}")
        say(f"report   {page}")
    return 130 if interrupted else 0
