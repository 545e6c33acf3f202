"""Runs the command line up to where the actual work would begin."""

import pytest

from sightline.cli import arguments, demo, train
from sightline.settings.read import resolve


class Taken(Exception):
    """The arguments were understood, and the actual work would begin."""


def stop_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let verbs raise `Taken` once they know what to do, and pass errors through."""
    finish = arguments.Arguments.finish

    def stop(*words, **options):
        raise Taken

    def finish_and_stop(self, known):
        finish(self, known)
        raise Taken

    def settle_and_stop(layers, **options):
        resolve(layers)
        raise Taken

    monkeypatch.setattr(arguments.Arguments, "finish", finish_and_stop)
    monkeypatch.setattr(train, "resume_run", stop)
    monkeypatch.setattr(train, "config_layer", lambda path: ("config", {}))
    for verb in (train, demo):
        monkeypatch.setattr(verb, "train_from_settings", settle_and_stop)
    monkeypatch.setenv("SIGHTLINE_DEBUG", "1")
