"""What commands print: lines, tables and JSON on standard output. Rich is imported for tables and live views alone."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import json
import os
import sys
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any

import click

from ressearch import signals

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Output:
    """Standard output, as it is when it is written to. A terminal that is closed takes no more, and ends no study."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)

    def write(self, text: str) -> int:
        """Write text."""
        with self._closed_terminal_ignored():
            sys.stdout.write(text)
        return len(text)

    def flush(self) -> None:
        """Have it written out."""
        with self._closed_terminal_ignored():
            sys.stdout.flush()

    @staticmethod
    @contextlib.contextmanager
    def _closed_terminal_ignored() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            signals.leave_terminal()


def settle() -> None:
    """Have output that is closed (``>&-``) go nowhere, and characters that its encoding lacks be replaced."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")


@functools.cache
def console() -> Console:
    """Return the console that tables and live views are drawn on."""
    from rich.console import Console

    return Console(file=Output(), highlight=False)  # type: ignore[arg-type]


def say(text: str) -> None:
    """Print a line."""
    output = Output()
    output.write(f"{text}\n")
    output.flush()


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2))


def make_table(*columns: str, numbers: Container[str] = (), wrapped: Container[str] = ()) -> Table:
    """Return an empty table.

    Args:
        columns: their headings.
        numbers: columns that are aligned to the right.
        wrapped: columns whose text may take several lines.
    """
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=column not in wrapped)
    return table


def format_duration(seconds: float) -> str:
    """Write a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


__all__ = ["console", "format_duration", "make_table", "print_json", "say"]
