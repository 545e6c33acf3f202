import errno
import json
import resource
import signal
import subprocess
import sys

import pytest

from sightline import _files as files
from sightline._files import (
    append_line,
    atomic_write,
    copy_file,
    read_json,
    remove_temporary,
    write_json,
)


class FullDisk:
    """A file that takes the first bytes and then finds the disk full."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def full_disk_open(*arguments):
    return FullDisk(open(*arguments))


def test_a_full_disk_keeps_the_old_file_and_leaves_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "state"
    atomic_write(path, b"old")
    monkeypatch.setattr(files, "open", full_disk_open, raising=False)
    with pytest.raises(OSError, match=r"could not write .*state: No space left.*is unchanged") as e:
        atomic_write(path, b"new" * 1000)
    assert e.value.errno == errno.ENOSPC and "free some space" in str(e.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_a_real_write_that_runs_out_of_room_keeps_the_old_file(tmp_path):
    # A limit on the size of files is a full disk that needs no privileges to make.
    path = tmp_path / "state"
    atomic_write(path, b"old")
    program = (
        "import sys; from sightline._files import atomic_write\n"
        "try: atomic_write(sys.argv[1], b'x' * 100_000)\n"
        "except OSError as error: print(error); sys.exit(7)"
    )

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "could not write" in done.stdout and "100,000 bytes" in done.stdout
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"could not write .*nowhere/a"):
        atomic_write(tmp_path / "nowhere" / "a", "text")


def test_json_has_null_for_what_is_not_finite(tmp_path):
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": [1.5, float("inf")], 3: (1,)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [1.5, None], "3": [1]}


def test_json_that_is_none_is_named(tmp_path):
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b\.json is not valid JSON"):
        read_json(tmp_path / "b.json")


def test_a_log_that_cannot_grow_is_named(tmp_path):
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    with pytest.raises(OSError, match=r"could not append to /dev/full: No space left on device"):
        append_line("/dev/full", "three")


def test_an_error_promises_nothing_of_a_file_that_was_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "open", full_disk_open, raising=False)
    with pytest.raises(OSError, match="free some space and try again") as error:
        atomic_write(tmp_path / "state", b"new", keeps="go on with resume; ")
    assert "resume" not in str(error.value) and "unchanged" not in str(error.value)
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="is unchanged; go on with resume; free some space"):
        atomic_write(tmp_path / "state", b"new", keeps="go on with resume; ")


def test_temporary_files_of_processes_that_are_gone_are_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    others = [".state.1.tmp", ".state.mine.tmp", f".mine.{gone.pid}.tmp", "state"]
    names = [f".state.{gone.pid}.tmp", *others]
    for name in names:
        (tmp_path / name).touch()
    remove_temporary(tmp_path / "state")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[1:])


@pytest.mark.parametrize("links", [True, False])
def test_a_copy_keeps_what_the_file_was_with_and_without_hard_links(tmp_path, monkeypatch, links):
    if not links:

        def no_links(*arguments):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(files.os, "link", no_links)
    source, target = tmp_path / "last", tmp_path / "previous"
    for content in (b"one", b"two"):
        atomic_write(source, content)
        copy_file(source, target)
        copy_file(source, target)  # of the same file: nothing is left over
        atomic_write(source, b"next")
        assert target.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "previous"]
