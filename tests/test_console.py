"""Lines reach a console that speaks another encoding, and a reader that has gone ends nothing."""

import io
import os
import sys
import warnings

import pytest

from sightline._console import forgiving_streams, say, warnings_as_lines


def ascii_stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)


def test_what_the_encoding_lacks_is_written_as_an_escape():
    stream = ascii_stream()
    say("猫 sat", file=stream)
    assert stream.buffer.getvalue() == b"\\u732b sat\n"


def test_streams_forgive_inside_the_context_alone(monkeypatch):
    out, err = ascii_stream(), ascii_stream()
    err.reconfigure(errors="replace")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with forgiving_streams():
        print("猫")
        print("猫", file=sys.stderr)
    assert out.buffer.getvalue() == b"\\u732b\n"
    assert err.buffer.getvalue() == b"?\n", "what somebody chose stays"
    assert out.errors == "strict"


def test_lines_stay_and_controls_do_not(capsys):
    say("one\ntwo \x1b[31mred\u202e")
    assert capsys.readouterr().out == "one\ntwo \\x1b[31mred\\u202e\n"


def test_a_reader_that_has_gone_ends_nothing():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stream:
        say("a", file=stream)
        say("b" * 100_000, file=stream)


def test_there_may_be_no_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    say("a")
    with forgiving_streams():
        say("b")


def test_a_disk_that_is_full_is_an_error():
    with open("/dev/full", "w") as stream:
        with pytest.raises(OSError, match="No space left"):
            say("a", file=stream)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def test_a_warning_is_one_line_without_its_source(capsys):
    with warnings_as_lines("sightline eval: "):
        warnings.simplefilter("always")
        warnings.warn("a name\n  of \x1b[31m", UserWarning, stacklevel=1)
    captured = capsys.readouterr()
    assert captured.err == "sightline eval: warning: a name of \\x1b[31m\n"
    assert not captured.out
