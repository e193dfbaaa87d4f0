"""The group of all commands, and `main`, which runs one. Wrong input ends in one line per mistake, exit code 2."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from ressearch import defects, signals
from ressearch.cli import output
from ressearch.cli.endings import Ended, one_line_errors
from ressearch.cli.lazy import LazyGroup, Stated
from ressearch.errors import nearest
from ressearch.limits import short
from ressearch.version import __version__

COMMANDS = {
    "check": Stated("ressearch.cli.studies:check", "Validate a study file and say what it would do; trains nothing."),
    "compare": Stated(
        "ressearch.cli.results:compare", "Write the report of several studies side by side, on the networks they share."
    ),
    "cost": Stated(
        "ressearch.cli.networks:cost_command",
        "Say what a network costs: a preset, a name, or a JSON file of Architecture fields.",
    ),
    "data": Stated("ressearch.cli.data:data_group", "List, describe and fetch data sets."),
    "export": Stated(
        "ressearch.cli.export:export", "Write a network of a study, trained, to a file, with a model card beside it."
    ),
    "latency": Stated(
        "ressearch.cli.latency:latency_command",
        "Measure how long a network takes here: a preset, a name, or a JSON file.",
    ),
    "list": Stated("ressearch.cli.listing:list_command", "List what a study may name: blocks, skips, samplers, ..."),
    "pick": Stated(
        "ressearch.cli.results:pick",
        "Choose the best network within limits, from one study or several.",
    ),
    "presets": Stated(
        "ressearch.cli.networks:presets_command",
        "List the published networks with what they cost on their own data.",
    ),
    "report": Stated(
        "ressearch.cli.results:report", "Write the report of a study, or of a table of results (CSV, TSV, Parquet)."
    ),
    "resume": Stated("ressearch.cli.studies:resume", "Go on with a study that ended early, whatever ended it."),
    "run": Stated("ressearch.cli.studies:run", "Run a study."),
    "schema": Stated("ressearch.cli.studies:schema", "Print the JSON Schema of study files, for editors."),
    "show": Stated(
        "ressearch.cli.networks:show",
        "Show a network part by part: a preset, a name, or a JSON file of Architecture fields.",
    ),
    "status": Stated("ressearch.cli.studies:status", "Say how far a study is, running or not."),
    "train": Stated(
        "ressearch.cli.train:train",
        "Train one network: a preset, a name, a JSON file, or a study's trial; goes on if it was ended.",
    ),
}
"""Every command: where it is, and its help."""


class Commands(LazyGroup):
    """Names the nearest command for an unknown one, and says what ended one early."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a signal that ends it becomes `Ended`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupted:
            raise Ended(interrupted) from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that the arguments name."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(f"no command '{args[0]}'; {nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    stated=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, prog_name="ressearch")
def cli() -> None:
    """Search, compare and choose residual networks, with error bars.

    A study file asks the question; `run` trains the networks, `report` shows what came out, `pick` chooses one for a
    budget.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: the process's own arguments, or those that are given."""
    if not sys.warnoptions:  # a library's warning would stand beside the line that says what is wrong
        warnings.simplefilter("ignore")
    given = sys.argv[1:] if arguments is None else list(arguments)
    output.settle()
    with one_line_errors(), signals.raising():
        if arguments is None:
            signals.watch()
        for argument in given:
            if (char := defects.unspeakable(argument)) is not None:
                raise click.UsageError(f"{short(argument)}: the character U+{ord(char):04X} is not text")
        cli.main(
            args=given,
            prog_name="ressearch",
            standalone_mode=False,
        )


__all__ = ["COMMANDS", "cli", "main"]
