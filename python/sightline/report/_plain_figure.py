"""The matplotlib figure in which text is what it says."""

import warnings
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

__all__ = ["PlainFigure"]


class PlainFigure(Figure):
    """A figure in which no text is a formula.

    Class names come from data: two dollar signs in one would make it TeX, which sets it in italics
    without its spaces, or ends the drawing with an error.
    """

    def draw(self, renderer: Any) -> None:
        for text in self.findobj(Text):
            text.set_parse_math(False)
        with warnings.catch_warnings():
            # a line for each character that the font lacks: the tables of a report have the names
            warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
            super().draw(renderer)
