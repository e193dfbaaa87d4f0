"""How a command ends: done, in one line for each mistake, by a signal, or by a defect whose details are in a file."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from ressearch import defects, signals
from ressearch.errors import RessearchError


class Ended(Exception):
    """A signal ended a command: what click has no message of its own for."""

    def __init__(self, interrupted: KeyboardInterrupt) -> None:
        super().__init__()
        self.interrupted = interrupted if isinstance(interrupted, signals.Interrupted) else signals.Interrupted()


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a user did wrong into one line and exit code 2."""
    try:
        yield
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.exceptions.NoArgsIsHelpError as asked:  # a group's name alone: its help is the answer
        click.echo(asked.ctx.get_help() if asked.ctx is not None else asked.format_message(), err=True)
        sys.exit(asked.exit_code)
    except (click.ClickException, RessearchError) as error:
        fail(*(error.lines if isinstance(error, RessearchError) else [error.format_message()]))
    except BrokenPipeError:  # `| head` has read enough
        defects.leave_quietly()
        sys.exit(128 + signal.SIGPIPE)
    except (Ended, KeyboardInterrupt, click.Abort) as error:
        ended = error if isinstance(error, Ended) else Ended(KeyboardInterrupt())
        _complain(str(ended.interrupted))
        sys.exit(ended.interrupted.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and (problem := defects.file_problem(error)) is not None:
            fail(problem)
        fail(defects.keep(error), code=defects.EXIT_CODE)


def fail(*lines: str, code: int = 2) -> NoReturn:
    """End with one line on stderr for each mistake."""
    for line in lines:
        _complain(f"ressearch: error: {defects.readable(line)}")
    sys.exit(code)


def _complain(line: str) -> None:
    """Write a line to stderr, if it can still be written to."""
    try:
        click.echo(line, err=True)
    except OSError:
        signals.leave_terminal()


__all__ = ["Ended", "fail", "one_line_errors"]
