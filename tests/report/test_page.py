import math
import re

from sightline.report.page import Page


def test_text_is_escaped():
    page = Page("a <b> & c")
    page.text("<script>")
    page.table([{"na<me": "x>y", "value": 0.5}])
    page.picture(b"png", 'a "quoted" picture')
    text = page.render()
    assert "<script>" not in text and "&lt;script&gt;" in text and "na&lt;me" in text
    assert "a &lt;b&gt; &amp; c" in text and 'alt="a &quot;quoted&quot; picture"' in text


def test_a_page_needs_no_other_file():
    page = Page("t")
    page.picture(b"\x89PNG", "p")
    assert not re.search(r'(src|href)="(?!data:)', page.render())


def test_numbers_that_do_not_exist_are_dashes():
    page = Page("t")
    page.table([{"a": math.nan, "b": None, "c": 0.25, "d": 3}])
    assert "<td>-</td><td>-</td><td>0.2500</td><td>3</td>" in page.render()


def test_names_that_no_file_can_be_written_with_are_escaped():
    page = Page("half \ud800")
    page.table([{"name": "\udcff \x1b[31m \u202eb", "value": 1}])
    text = page.render()
    assert text.encode() and r"half \ud800" in text and r"\udcff \x1b[31m \u202eb" in text
