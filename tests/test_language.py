"""Texts are plain English: phrases that were hard to read do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "cmake", "csrc", "docs", "examples", "python", "tests", "tools")
SUFFIXES = {".cmake", ".cpp", ".cu", ".cuh", ".h", ".md", ".py"}
_THINGS = (
    "bits?|box(?:es)?|bytes?|columns?|dicts?|entry|files?|folders?|images?|lines?|rows?|values?"
)
_EACH = (
    "anchor|batch|benchmark|bin|channel|character|class|detection|element|epoch|image|level|line|"
    "network|object|picture|pixel|process|row|segment|side|step|work"
)
# What is hard to read, and what to write in its place.
PHRASES = {
    rf"\b(?:an?|one|two|\d[\d,.]*) (?:{_THINGS}) an? (?:{_EACH})\b": "one line per epoch",
    r"\bimages a (?:step|batch)\b": "images per step",
    r"\bcan be had\b": "is available",
    r"\brooms\b": "folders",
    r"\bsplits that are drawn\b": "random splits",
    r"\bintervals? of confidence\b": "confidence interval",
    r"\ba work\b": "a benchmark",
    r"\bthat there is not\b": "that does not exist",
    # Texts name nothing outside the project.
    r"\.\./shared\b|/work/main\b": "where data come from",
    r"\bthe notes\b": "the reason itself",
}


def texts():
    """Path and text of every file that people read."""
    paths = [path for name in FOLDERS for path in (ROOT / name).rglob("*")]
    paths = [path for path in paths if path.suffix in SUFFIXES] + [*ROOT.glob("*.md")]
    paths += [ROOT / "CMakeLists.txt", ROOT / "Makefile", ROOT / "pyproject.toml"]
    return {path: path.read_text() for path in sorted(paths) if path != Path(__file__)}


TEXTS = texts()


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_text_has_a_phrase_that_is_hard_to_read(phrase):
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for path, text in TEXTS.items()
        for match in re.finditer(phrase, text)
    ]
    assert not found, f"write {PHRASES[phrase]!r}: {'; '.join(found)}"


@pytest.mark.parametrize(
    ("sentence", "phrase"),
    [
        ("Prints one line a benchmark.", 0),
        ("It takes 44 bytes a detection.", 0),
        ("images a step", 1),
        ("of splits that are drawn", 4),
    ],
)
def test_the_phrases_are_recognised(sentence, phrase):
    assert re.search(list(PHRASES)[phrase], sentence)


def test_the_texts_of_the_project_are_found():
    names = {str(path.relative_to(ROOT)) for path in TEXTS}
    assert {"README.md", "Makefile", "python/sightline/__init__.py"} <= names and len(names) > 400


def test_paragraphs_and_items_of_the_readme_have_five_lines_at_most():
    prose = re.sub(r"^```.*?^```$", "", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    items = re.sub(r"^- ", "\n- ", prose, flags=re.M)
    blocks = [block for block in re.split(r"\n{2,}", items) if block[:1] not in " |#"]
    assert len(blocks) > 20 and not [block for block in blocks if block.strip().count("\n") >= 5]


def test_the_readme_opens_with_what_the_package_is_and_a_picture():
    title, what, picture, *_ = (ROOT / "README.md").read_text().split("\n\n")
    assert title == "# Sightline" and what.startswith("Sightline is a Python package for ")
    assert len(re.findall(r"\.(?:\s|$)", what)) == 2
    path = re.fullmatch(r"!\[[^\]]+\]\(([^)]+)\)", picture)[1]
    assert (ROOT / path).stat().st_size < 200_000
