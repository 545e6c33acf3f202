"""A matplotlib figure in which text is never a formula."""

import warnings
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

__all__ = ["PlainFigure"]


class PlainFigure(Figure):
    """A figure in which no text is a formula.

    Class names come from data: two dollar signs would make one TeX, which sets it in italics
    without spaces, or raises an error.
    """

    def draw(self, renderer: Any) -> None:
        for text in self.findobj(Text):
            text.set_parse_math(False)
        with warnings.catch_warnings():
            # one warning per character that the font lacks; the report's tables have the names
            warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
            super().draw(renderer)
