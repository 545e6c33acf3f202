"""sightline data <command> ...

Works on data sets. The commands:

{commands}

sightline data <command> --help shows the options of a command.
"""

from collections.abc import Sequence

from sightline._suggest import unknown
from sightline.cli.arguments import UsageError

# Name of each command, in data_<name>.py, and what it does.
SUBCOMMANDS = {
    "check": "find what is wrong in a data set: sightline data check <source>",
    "convert": "write a data set in another format: sightline data convert <source> <folder>",
    "split": "divide a data set into splits: sightline data split <source> <folder> shares=8:1:1",
    "stats": "show a data set in numbers and a picture: sightline data stats <source> out=x.png",
    "view": "draw images with their labels: sightline data view <source> out=x.png [--augment]",
}

__doc__ = str(__doc__).format(
    commands="\n".join(f"  {name:<8} {meaning}" for name, meaning in SUBCOMMANDS.items())
)


def run(words: Sequence[str]) -> int:
    """Refuse what is no command; the command line runs each command from its own file."""
    if not words:
        raise UsageError(f"give a command: {', '.join(SUBCOMMANDS)}")
    raise UsageError(unknown("command", words[0], SUBCOMMANDS))
