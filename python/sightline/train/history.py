"""The numbers of a run: one row per epoch."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline._files import atomic_write
from sightline._text import from_cell, to_cell

__all__ = ["TIMING_COLUMNS", "History", "read_results"]

# Columns in which two runs with the same bits still differ.
TIMING_COLUMNS = ("seconds", "images_per_second", "data_fraction")

_SHOWN_COLUMNS = 8  # in the one-line text of a history


@dataclass(repr=False)
class History:
    """The numbers of a training run, returned by `fit`.

    Attributes:
        rows: one dict per epoch: "epoch" (from 1), the rates of the step ("lr"), "train/loss" with
            its terms and logs, the same for validation with the metric's numbers, and the timing
            columns.
        monitor: the column by which the best epoch is chosen.
        best_epoch: epoch (from 1) of the best monitored value; None before the first.
        best_value: that value.
        stopped: why training ended before the last epoch ("early stopping", "interrupted"), or "".
    """

    monitor: str
    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    stopped: str = ""

    def __repr__(self) -> str:
        """One line: `rows` has the numbers."""
        if not self.rows:
            return f"History(no finished epoch{', ' + self.stopped if self.stopped else ''})"
        parts = [f"{len(self.rows)} epoch{'s' if len(self.rows) > 1 else ''}"]
        if self.best_value is not None:
            parts.append(f"best {self.monitor} {self.best_value:.4g} in epoch {self.best_epoch}")
        if self.monitor in self.rows[-1]:
            parts.append(f"last {self.rows[-1][self.monitor]:.4g}")
        if self.stopped:
            parts.append(self.stopped)
        shown, hidden = list(self.rows[-1])[:_SHOWN_COLUMNS], len(self.rows[-1]) - _SHOWN_COLUMNS
        more = f" and {hidden} more" if hidden > 0 else ""
        return f"History({', '.join(parts)}; columns {', '.join(shown)}{more})"

    def column(self, name: str) -> list[float]:
        """One column over the epochs; NaN where an epoch lacks it."""
        return [row.get(name, float("nan")) for row in self.rows]

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as CSV, columns in the order in which they first appear.

        Args:
            path: a file to write it to as well; one that exists is replaced.
        """
        text = rows_to_csv(self.rows)
        if path is not None:
            atomic_write(path, text)
        return text

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            "stopped": self.stopped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state["rows"]]
        self.best_epoch, self.best_value = state["best_epoch"], state["best_value"]
        self.stopped = state["stopped"]


def rows_to_csv(rows: list[dict[str, float]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writerow({name: to_cell(name) for name in columns})
    writer.writerows(rows)
    return text.getvalue()


def read_results(path: str | Path) -> list[dict[str, float]]:
    """The rows of a `results.csv`, without its empty cells."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [
            {from_cell(name): float(cell) for name, cell in row.items() if cell not in ("", None)}
            for row in csv.DictReader(file)
        ]
    for row in rows:
        row["epoch"] = int(row["epoch"])
    return rows
