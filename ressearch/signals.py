"""What ends a command early: Ctrl-C (SIGINT), SIGTERM (SLURM, Kubernetes, systemd) and SIGHUP (a closed terminal).

The command line has a thread of its own wait for these signals. Nothing else in the process sees them: not the handlers
that Ray installs, in Python and in C++, while it starts. A command that only reads ends where it is. A study that runs
looks for them itself, where it can stop without losing anything; a third signal ends the process at once, and even then
what is on record is kept. Importing the package, or running a study from Python, changes no handler.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from ressearch.errors import ResourceError

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_WAKE = getattr(signal, "SIGUSR2", None)
_PATIENCE = 3
"""The signal of so many that ends a study's process at once."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the command.

    Attributes:
        directory: of the study that was running, if one was.
        number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT, directory: str | None = None) -> None:
        super().__init__()
        self.number, self.directory = int(number), directory

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        said = "interrupted" if self.number == signal.SIGINT else f"ended by {name}"
        if self.directory is None:
            return said
        return f"{said}; what was done is kept: `ressearch resume {self.directory}` goes on"

    @property
    def exit_code(self) -> int:
        """What the process exits with, as shells count: 130, 143, 129."""
        return 128 + self.number


class _State:
    """What the thread that waits for signals shares with the main one."""

    def __init__(self) -> None:
        self.is_watching = False
        self.ends_at_once = False
        self.holders = 0
        self.seen: list[int] = []
        self.directory: str | None = None
        self.terminals: tuple[int, ...] = ()


_state = _State()


def watch() -> None:
    """Have a thread wait for the signals that end a command, from now to the end of the process.

    Call it in the main thread, before any other is started. Signals that are ignored (`nohup`) stay so. Where there are
    no such signals to wait for, nothing is changed.
    """
    if _state.is_watching or _WAKE is None or not hasattr(signal, "sigwait"):
        return
    if threading.current_thread() is not threading.main_thread():
        return
    numbers = [getattr(signal, name) for name in _NAMES]
    waited = {number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}
    if not waited:
        return
    _state.is_watching = True
    _state.terminals = tuple(number for number in (1, 2) if os.isatty(number))  # one that is closed is none any longer
    signal.signal(_WAKE, _wake)
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    # Processes that are started here, Ray's above all, are to be ended by signals as any.
    os.register_at_fork(after_in_child=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, waited))
    threading.Thread(target=_wait, args=(waited,), name="signals", daemon=True).start()


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Have a signal end the process at once while modules are imported, or until `raising`.

    Imports take seconds, and code that is interrupted there may hide it.
    """
    _state.ends_at_once = True
    try:
        yield
    finally:
        _state.ends_at_once = False


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Have a signal raise Interrupted in the main thread, or be noted where a study is `held`: a command runs.

    Once it is done, there is nothing left to interrupt: what it says and how it exits is not changed by a signal more.
    """
    _state.ends_at_once = False
    try:
        yield
    finally:
        _state.holders += _state.is_watching


@contextlib.contextmanager
def held(directory: str) -> Iterator[None]:
    """Have signals noted alone, for `asked` to tell, while a study runs.

    Args:
        directory: of the study, to be named if the process has to end at once.

    Raises Interrupted in the place of a ResourceError once a signal asked for the end: Ray may not come up any more.
    """
    _state.holders += 1
    _state.directory = directory
    try:
        yield
    except ResourceError:
        stop_if_asked(directory)
        raise
    finally:
        _state.holders -= 1
        if _state.holders == 0:
            _state.directory = None
            _state.seen.clear()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Give the handlers of the process back as they were: Ray and Tune install some and leave them behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in (*_NAMES, "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Have Ctrl-C noted alone where nobody waits for signals: a study that is run from Python in the main thread."""
    if _state.is_watching or threading.current_thread() is not threading.main_thread():
        yield
        return
    with kept():
        signal.signal(signal.SIGINT, lambda number, frame: _state.seen.append(number))
        yield


def asked() -> int | None:
    """Return the first signal that asked a study that runs to end; None if none did."""
    return _state.seen[0] if _state.seen else None


def stop_if_asked(directory: str) -> None:
    """Raise Interrupted if a signal asked for it."""
    if (number := asked()) is not None:
        raise Interrupted(number, directory)


def _wait(waited: set[signal.Signals]) -> None:
    main = threading.main_thread().ident
    while True:
        number = signal.sigwait(waited)
        if number == signal.SIGHUP:
            leave_terminal()
        _state.seen.append(number)
        if _state.ends_at_once or len(_state.seen) >= _PATIENCE:
            _end_now(number)
        if main is not None and _WAKE is not None:
            signal.pthread_kill(main, _WAKE)


def _wake(number: int, frame: object) -> None:
    """Raise in the main thread, where it was woken, unless a study runs that looks for itself."""
    if _state.seen and _state.holders == 0 and len(_state.seen) == 1:
        raise Interrupted(_state.seen[0])


def _end_now(number: int) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{Interrupted(number, _state.directory)}\n".encode())
    os._exit(128 + number)


def leave_terminal() -> None:
    """Have what is still printed to a terminal go nowhere, because it is closed: writing to it would fail.

    What is printed already and not written yet goes there too: Python would exit with 120, because it cannot.
    """
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in _state.terminals:
            os.dup2(nowhere, number)
        os.close(nowhere)
