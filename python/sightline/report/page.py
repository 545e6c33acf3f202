"""One self-contained HTML page: text, tables and embedded images."""

import base64
import html
import math
from collections.abc import Sequence
from typing import Any

from sightline._text import printable

__all__ = ["Page"]

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; color: #24292f;
       max-width: 1080px; margin: 2.5rem auto; padding: 0 1.2rem; background: #fff; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.3rem; margin: 2.6rem 0 .4rem;
     border-bottom: 1px solid #d8dee4; padding-bottom: .3rem; }
h3 { font-size: 1.02rem; margin: 1.7rem 0 .3rem; } p { margin: .4rem 0 .8rem; }
.note { color: #57606a; } img { max-width: 100%; height: auto; margin: .3rem 0; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { padding: .28rem .8rem; text-align: right; border-bottom: 1px solid #eaeef2;
         font-variant-numeric: tabular-nums; }
.text { text-align: left; } th { color: #57606a; font-weight: 600; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: .9rem 0; }
.card { border: 1px solid #d8dee4; border-radius: 8px; padding: .5rem 1rem; min-width: 6.5rem; }
.card b { display: block; font-size: 1.45rem; } .card span { color: #57606a; font-size: .85rem; }
code { background: #f2f4f6; padding: .1rem .3rem; border-radius: 4px; font-size: .9em; }
"""


class Page:
    """A page that is built top to bottom; all text is escaped."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts = [f"<h1>{_escape(title)}</h1>"]

    def heading(self, text: str, *, level: int = 2) -> None:
        self._parts.append(f"<h{level}>{_escape(text)}</h{level}>")

    def text(self, text: str, *, note: bool = False) -> None:
        style = ' class="note"' if note else ""
        self._parts.append(f"<p{style}>{_escape(text)}</p>")

    def cards(self, values: Sequence[tuple[str, Any]]) -> None:
        """Large numbers with their names."""
        cards = "".join(
            f'<div class="card"><b>{_escape(_cell(value))}</b><span>{_escape(name)}</span></div>'
            for name, value in values
        )
        self._parts.append(f'<div class="cards">{cards}</div>')

    def table(self, rows: Sequence[dict[str, Any]]) -> None:
        """One row per dict, columns by their keys."""
        if not rows:
            return
        head = "".join(_tag("th", name, value) for name, value in rows[0].items())
        body = "".join(
            "<tr>" + "".join(_tag("td", _cell(v), v) for v in row.values()) + "</tr>"
            for row in rows
        )
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def picture(self, data: bytes, description: str, *, kind: str = "png") -> None:
        """Embed an image file; `description` is its alternative text."""
        source = base64.b64encode(data).decode()
        alt = _escape(description)
        self._parts.append(f'<img alt="{alt}" src="data:image/{kind};base64,{source}">')

    def render(self) -> str:
        body = "\n".join(self._parts)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_escape(self.title)}</title>\n<style>{_STYLE}</style></head>\n"
            f"<body>\n{body}\n</body></html>\n"
        )


def _escape(text: str) -> str:
    """Text for the page: without markup and without characters that cannot be encoded."""
    return html.escape(printable(text), quote=True)


def _tag(tag: str, content: str, value: Any) -> str:
    """A cell of a table; columns of words are aligned left, columns of numbers right."""
    kind = ' class="text"' if isinstance(value, str) else ""
    return f"<{tag}{kind}>{_escape(str(content))}</{tag}>"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)
