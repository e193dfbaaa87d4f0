"""Shuts out what the machine holds: tests see an empty home, no cache, no data directory and no network, and so do the
processes that they start (the network apart, which only the tests' own process is kept from)."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

SCRUBBED = ("RESSEARCH_", "RAY_", "TUNE_", "HF_", "HUGGINGFACE_", "TORCH_", "OPTUNA_", "MLFLOW_", "WANDB_", "XDG_")
"""Beginnings of the variables that a user may have set and that would change what the tests see."""


def environment(home: str) -> dict[str, str]:
    """Return the variables that point every place where something could lie into `home`, an empty directory."""
    return {
        "HOME": home,
        "XDG_CACHE_HOME": f"{home}/.cache",
        "XDG_CONFIG_HOME": f"{home}/.config",
        "XDG_DATA_HOME": f"{home}/.local/share",
        "RESSEARCH_CACHE": f"{home}/.cache/ressearch",
        "RESSEARCH_DATA": f"{home}/.cache/ressearch/data",
        "RESSEARCH_DATA_PATH": "",
        "HF_HOME": f"{home}/.cache/huggingface",
        "TORCH_HOME": f"{home}/.cache/torch",
        "MPLCONFIGDIR": f"{home}/.config/matplotlib",
        "MPLBACKEND": "agg",
    }


def enter() -> tuple[str, dict[str, str]]:
    """Make this process hermetic for good. Returns the empty home and the variables as they were."""
    before = dict(os.environ)
    home = tempfile.mkdtemp(prefix="ressearch-tests-")
    for name in before:
        if name.startswith(SCRUBBED):
            del os.environ[name]
    os.environ.update(environment(home))
    # Processes of tests side by side that each take all cores wait for each other most of the time.
    beside = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // beside)))
    _hear_signals()
    _close_network()
    return home, before


def _hear_signals() -> None:
    """Have signals do what they usually do.

    Under `nohup`, or in a script's background, some are ignored, and so they would be in processes that tests start.
    """
    for name, usual in (
        ("SIGINT", signal.default_int_handler),
        ("SIGTERM", signal.SIG_DFL),
        ("SIGHUP", signal.SIG_DFL),
    ):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def leave(home: str) -> None:
    """Remove what the tests left in their home."""
    shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Have `values` as this process's whole environment for a while."""
    kept = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(values)
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _is_here(host: object) -> bool:
    """Whether a host is this machine: the loopback address, or one that a socket can be bound to."""
    if host in (None, "", b"", "localhost", socket.gethostname()):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            socket.inet_pton(family, text)
            probe.bind((text, 0))
    except OSError:
        return False
    return True


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail as on a machine without a network, wherever Python code looks up or connects to another machine."""
    if event == "socket.getaddrinfo" and not _is_here(arguments[0]):
        raise socket.gaierror(socket.EAI_NONAME, f"tests reach no network: {arguments[0]!r}")
    if event == "socket.connect":
        connecting, address = arguments
        is_stream = connecting.type == socket.SOCK_STREAM  # a datagram socket sends nothing when it connects
        if is_stream and isinstance(address, tuple) and not _is_here(address[0]):
            raise OSError(errno.ENETUNREACH, f"tests reach no network: {address}")


def _close_network() -> None:
    sys.addaudithook(_refuse)
