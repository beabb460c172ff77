"""Requests to stop a run: whose they are."""

from __future__ import annotations

import os
import signal
import warnings

import pytest

from pytest_kiro.run.stops import Stops


def test_a_fork_of_the_run_ends_by_a_signal_as_it_would_without_us() -> None:
    # What multiprocessing's pool does with its workers, whose first steps drop what is raised in them.
    def end(number: signal.Signals) -> None:
        raise KeyboardInterrupt(number.name)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    undo = Stops().listen(end)
    read, write = os.pipe()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
            fork = os.fork()
        if fork == 0:
            try:
                os.write(write, b"!")
                signal.pause()
            finally:
                os._exit(3)
        os.read(read, 1)
        os.kill(fork, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == -signal.SIGTERM
    finally:
        undo()
        signal.signal(signal.SIGTERM, before)
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("worker", [False, True])
def test_a_worker_that_ends_already_is_not_told_twice_by_execnet(worker: bool) -> None:
    """Else it would leave its sandbox behind, when it takes more than five seconds to clear away."""
    stops, ended = Stops(), list[signal.Signals]()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    undo = stops.listen(ended.append, worker=worker)
    try:
        signal.raise_signal(signal.SIGHUP)
        if worker:
            signal.raise_signal(signal.SIGINT)
        else:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        undo()
        signal.signal(signal.SIGHUP, before)
    assert ended == [signal.SIGHUP]
    assert stops.leaving is not worker
