import multiprocessing
import os
import signal
import socket
import time

import pytest

from sightline.train import fit
from sightline.train.lock import FolderLock

from .toy import toy_run


def test_a_held_folder_is_refused_with_the_holder_and_free_after_release(tmp_path):
    with FolderLock(tmp_path):
        who = f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(BlockingIOError, match=f"{tmp_path.name} is in use by {who} since"):
            FolderLock(tmp_path)
    assert not list(tmp_path.iterdir())
    FolderLock(tmp_path).release()


def hold_with_a_child(folder, ready):
    """Hold the folder and start a process that outlives this one, as a loader's workers do."""
    lock = FolderLock(folder)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    ready.send(child)
    time.sleep(60)
    lock.release()


def test_a_killed_holder_leaves_the_folder_free_though_its_child_lives(tmp_path):
    here, there = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(
        target=hold_with_a_child, args=(tmp_path, there)
    )
    holder.start()
    child = here.recv()
    try:
        with pytest.raises(BlockingIOError, match=f"process {holder.pid} on"):
            FolderLock(tmp_path)
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
        os.kill(child, 0)  # it does live
        FolderLock(tmp_path).release()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_removed_between_opening_and_locking_is_taken_anew(tmp_path, monkeypatch):
    from sightline.train import lock

    flock, calls = lock.fcntl.flock, []

    def removing(file, operation):
        if not calls:
            (tmp_path / ".lock").unlink()
        calls.append(operation)
        flock(file, operation)

    monkeypatch.setattr(lock.fcntl, "flock", removing)
    with FolderLock(tmp_path):
        assert len(calls) == 2 and (tmp_path / ".lock").exists()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    from sightline.train import lock

    def unsupported(*arguments):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with pytest.warns(RuntimeWarning, match="has no locks"):
        FolderLock(tmp_path).release()


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_another_trains_is_left_alone(tmp_path, resume):
    def second(row, model):
        if row["epoch"] == 2:
            with pytest.raises(BlockingIOError, match="is in use by process"):
                fit(**toy_run(4), out=tmp_path, resume=resume)

    history = fit(**toy_run(3), out=tmp_path, on_epoch_end=[second])
    assert len(history.rows) == 3
