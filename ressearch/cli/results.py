"""Commands for what studies found: report, compare, pick, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ressearch import signals
from ressearch.cli.options import InputShape, require_free, with_allowed_plugins, with_budget, with_force, with_json
from ressearch.cli.output import print_json, say
from ressearch.errors import RessearchError
from ressearch.shapes import Shape

_with_renaming = click.option(
    "--map",
    "renamed",
    multiple=True,
    metavar="COLUMN=NAME",
    help="Of a table: take COLUMN as NAME (top1=val_accuracy).",
)
_with_input = click.option(
    "--input", "input_shape", type=InputShape(), help="Of a table: input that costs are counted for [3x32x32]."
)


@click.command()
@click.argument("directory", metavar="DIRECTORY|TABLE")
@click.option("--out", type=click.Path(path_type=Path), help="Directory to write [DIRECTORY/report, TABLE-report].")
@_with_renaming
@_with_input
@click.option("--examples", type=click.IntRange(min=1), help="Of a table: how many examples val_accuracy counts.")
@click.option("--question", help="Of a table: the question that the report answers.")
@with_force
@with_allowed_plugins
def report(
    directory: str,
    out: Path | None,
    renamed: tuple[str, ...],
    input_shape: Shape | None,
    examples: int | None,
    question: str | None,
    force: bool,
    allow_plugins: bool,
) -> None:
    """Write the report of a study, or of a table of results (CSV, TSV, Parquet)."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.reporting import report as write_report

    told = _told(renamed, examples=examples, question=question, input_shape=input_shape)
    say(str(write_report(directory, out, force, allow_plugins, **told)))


@click.command()
@click.argument("sources", metavar="DIRECTORY|TABLE...", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("comparison"), show_default=True, help="Directory."
)
@_with_renaming
@_with_input
@with_force
@with_allowed_plugins
def compare(
    sources: tuple[str, ...],
    out: Path,
    renamed: tuple[str, ...],
    input_shape: Shape | None,
    force: bool,
    allow_plugins: bool,
) -> None:
    """Write the report of several studies side by side, on the networks they share."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.reporting import compare as write_comparison

    told = _told(renamed, input_shape=input_shape)
    say(str(write_comparison(sources, out, force, allow_plugins, **told)))


def _told(renamed: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Return what the command line says of tables."""
    table = {key: value for key, value in options.items() if value is not None}
    return {**table, "renamed": dict(_renaming(one) for one in renamed)} if renamed else table


def _renaming(text: str) -> tuple[str, str]:
    column, equals, name = text.partition("=")
    if not (column and equals and name):
        raise RessearchError(f"--map {text}: expected COLUMN=NAME, such as top1=val_accuracy")
    return column, name


@click.command()
@click.argument("directory")
@with_budget
@with_allowed_plugins
@with_json
def pick(
    directory: str,
    max_params: int | None,
    max_macs: int | None,
    max_activations: int | None,
    allow_plugins: bool,
    as_json: bool,
) -> None:
    """Choose the best network of a study within a budget."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.results.picking import pick as pick_network

    chosen = pick_network(directory, max_params, max_macs, max_activations, allow_plugins)
    if as_json:
        print_json(chosen.to_dict())
        return
    say(f"picked from {chosen.candidates} fully trained networks, trial {chosen.trial}:")
    say(str(chosen))
    if chosen.cheaper is not None:
        say("within one standard error of it, for fewer MACs:")
        say(str(chosen.cheaper))


@click.command()
@click.argument("directory")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="File: .pt, .safetensors, .py, .pt2 or .onnx."
)
@click.option("--trial", type=click.IntRange(min=0), help="Trial [the one that `pick` takes].")
@with_budget
@with_force
@with_allowed_plugins
def export(
    directory: str,
    out: Path,
    trial: int | None,
    max_params: int | None,
    max_macs: int | None,
    max_activations: int | None,
    force: bool,
    allow_plugins: bool,
) -> None:
    """Train the picked network once more and write it to a file."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch import export as exporting
        from ressearch.results.picking import pick as pick_network

    exporting.require_format(out)
    if not out.parent.is_dir():
        raise RessearchError(f"{out}: no directory {out.parent}")
    require_free(out, force)
    if out.suffix == ".py":
        require_free(exporting.weights_beside(out), force)
    exporting.require_writable(out)
    if trial is None:
        trial = pick_network(directory, max_params, max_macs, max_activations, allow_plugins).trial
    classifier, accuracy = exporting.train(directory, trial, allow_plugins)
    exporting.save(classifier, out)
    inputs = (
        f"{str(classifier.input_dtype).removeprefix('torch.')} (batch, {', '.join(map(str, classifier.input_shape))})"
    )
    say(f"trial {trial}, {classifier.network.architecture.name}, trained on a fresh seed: val_accuracy {accuracy:.4f}")
    say(f"written to {out}: {exporting.FORMATS[out.suffix]}; takes {inputs}")


__all__ = ["compare", "export", "pick", "report"]
