"""Names of classes and files, which data sets choose, as people are shown them."""

__all__ = ["printable", "shorten"]


def printable(text: str) -> str:
    r"""`text` with its control characters and halves of characters written as escapes.

    A name may hold a line break, an escape sequence of terminals, or, from JSON, half a surrogate
    pair, which no file can be written with.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or _is_space(c) else _escape(c) for c in text)


def shorten(text: str, length: int = 24) -> str:
    """A printable name of at most `length` characters; the middle gives way.

    Long names often differ in their ends alone.

    >>> shorten("red blood cell, stage 12 of 14", 20)
    'red blood...12 of 14'
    """
    text = printable(text)
    if len(text) <= length:
        return text
    end = (length - 3) // 2
    return f"{text[: length - 3 - end].rstrip()}...{text[-end:].lstrip()}"


def _is_space(character: str) -> bool:
    """Spaces of other scripts, which Python does not count as printable; not line separators."""
    return character.isspace() and character not in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
