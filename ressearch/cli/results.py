"""Commands for what studies found: report, compare, pick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ressearch import signals
from ressearch.cli.options import (
    Count,
    InputShape,
    with_allowed_plugins,
    with_budget,
    with_force,
    with_json,
)
from ressearch.cli.output import console, make_table, print_json, say
from ressearch.errors import RessearchError
from ressearch.shapes import Shape
from ressearch.units import counted

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
@click.argument("directories", metavar="DIRECTORY...", nargs=-1, required=True)
@with_budget
@click.option("--dtype", default="float32", show_default=True, help="Of the weights, for --max-size: or float16.")
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Inputs, for latency.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads, for latency [as torch takes].")
@click.option("-n", "count", type=click.IntRange(min=1), default=1, show_default=True, help="How many networks.")
@click.option(
    "--predict/--no-predict",
    "predicted",
    default=None,
    help="Networks of the whole space too, by what is predicted of them [where 30 trials of a search say enough].",
)
@click.option("--by", default="expected", show_default=True, help="Rank what is predicted by this, or lower: its end.")
@click.option("--candidates", type=Count(), help="Networks of the space to look at [200k].")
@click.option("--verify", is_flag=True, help="Train the predicted picks on fresh seeds; kept in the directory.")
@click.option("--every", metavar="COST", help="Every budget at once, of params, macs, activations or train_time.")
@click.option("--presets", metavar="NAMES", help="With --every: train these published networks beside the picks.")
@with_allowed_plugins
@with_json
def pick(
    directories: tuple[str, ...],
    dtype: str,
    batch_size: int,
    threads: int | None,
    count: int,
    predicted: bool | None,
    by: str,
    candidates: int | None,
    verify: bool,
    every: str | None,
    presets: str | None,
    allow_plugins: bool,
    as_json: bool,
    **bounds: Any,
) -> None:
    """Choose the best network within limits, from one study or several."""
    if every is not None:
        given = [f"--{key.replace('_', '-')}" for key, bound in bounds.items() if bound is not None]
        if given:
            raise RessearchError(f"--every is every budget at once: it takes no {given[0]}")
        _train_presets(directories, presets, allow_plugins, as_json)
        _say_every(directories, every, as_json)
        return
    if presets is not None:
        raise RessearchError("--presets are trained to stand beside the picks of every budget: it takes --every COST")
    with signals.ending_at_once():  # imports take seconds
        from ressearch.picking.pick import picks

    found = picks(
        directories,
        count,
        dtype=dtype,
        batch_size=batch_size,
        threads=threads,
        allow_plugins=allow_plugins,
        **bounds,
    )
    beyond = None
    if (predicted or verify) and len(directories) > 1:
        raise RessearchError("--predict and --verify take one study: its recipe and its space")
    if len(directories) == 1 and (predicted or (predicted is None and _can_predict(found.studies[0], bounds))):
        with signals.ending_at_once():
            from ressearch.picking.prediction import CANDIDATES, predict
        beyond = predict(
            directories[0],
            count,
            by=by,
            candidates=candidates or CANDIDATES,
            dtype=dtype,
            batch_size=batch_size,
            threads=threads,
            allow_plugins=allow_plugins,
            **bounds,
        )
    elif verify:
        raise RessearchError("--verify trains networks that are predicted: it takes --predict too")
    if as_json:
        told = found.to_dict()
        told = told if count > 1 else {**told["picks"][0], "unfinished": told["unfinished"]}
        checked = _verified(directories[0], beyond, verify, allow_plugins, lambda one: None)
        print_json(told if beyond is None else {**told, "predicted": {**beyond.to_dict(), "verified": checked}})
        return
    first = found.picks[0]
    for number, one in enumerate(found.picks, start=1):
        place = f"{number}. " if count > 1 else ""
        of_study = f" of {one.directory}" if len(directories) > 1 else ""
        networks = f"from {counted(first.candidates, 'fully trained network')}, " if number == 1 else ""
        say(f"{place}picked {networks}trial {one.trial}{of_study}:")
        say(str(one))
    _say_alike(first)
    _say_unfinished(found.unfinished)
    if beyond is not None:
        _say_predicted(beyond)
        _verified(directories[0], beyond, verify, allow_plugins, lambda one: say(str(one)))


def _can_predict(study: Any, bounds: dict[str, Any]) -> bool:
    """Return whether predicting takes no longer than seconds, and can be done."""
    from ressearch.picking.prediction import predicts

    return bounds.get("max_train_time") is bounds.get("max_latency") is None and predicts(study)


def _say_predicted(found: Any) -> None:
    say(f"\nof {counted(found.looked_at, 'network')} of the space within the limits, not trained to the end:")
    for one in found.picks:
        say(str(one))
    if found.beyond:
        say(f"{counted(found.beyond, 'network')} were left out, being unlike all that were trained")
    say(str(found.surrogate))


def _verified(directory: str, found: Any, is_asked: bool, allow_plugins: bool, told: Any) -> list[dict[str, Any]]:
    if not is_asked or found is None:
        return []
    from dataclasses import asdict

    from ressearch.picking.prediction import verify

    return [
        {**asdict(one), "holds": one.holds}
        for one in verify(directory, found.picks, allow_plugins=allow_plugins, told=told)
    ]


def _train_presets(directories: tuple[str, ...], presets: str | None, allow_plugins: bool, as_json: bool) -> None:
    if presets is None:
        return
    if len(directories) > 1:
        raise RessearchError("--presets takes one study: its recipe")
    names = list(dict.fromkeys(name for one in presets.split(",") if (name := one.strip())))
    with signals.ending_at_once():  # imports take seconds
        from ressearch.picking.presets import train_presets
    train_presets(
        directories[0], names, allow_plugins=allow_plugins, told=lambda one: None if as_json else say(f"trained {one}")
    )


def _say_every(directories: tuple[str, ...], axis: str, as_json: bool) -> None:
    with signals.ending_at_once():  # imports take seconds
        from ressearch.picking.frontier import every_budget

    found = every_budget(directories, axis)
    if as_json:
        print_json(found.to_dict())
        return
    from ressearch.picking.limits import written

    numbers = ("accuracy", "best", "tied")
    table = make_table(f"{axis} from", "pick", *numbers, numbers=numbers, wrapped=("pick",))
    last = None
    for one in found.picks:
        if (one.name, one.trial, one.directory) != last:
            accuracy = one.val_accuracy if one.estimate is None else one.estimate
            best = "" if one.probability is None else f"{one.probability:.0%}"
            tied = "" if one.probability is None else str(len(one.tied))
            table.add_row(written(axis, one.budget), one.name, f"{accuracy:.4f}", best, tied)
        last = one.name, one.trial, one.directory
    console().print(table)
    for standing in found.presets:
        reached = "" if standing.val_accuracy is None else f", {standing.val_accuracy:.4f}"
        say(f"{standing.preset} ({written(axis, standing.cost)}{reached}): {standing.verdict}")


def _say_alike(pick: Any) -> None:
    if len(pick.tied) > 1:
        say(f"these seeds cannot tell it from {counted(len(pick.tied) - 1, 'other network')} within the limits")
    if pick.cheaper is not None:
        say("within one standard error of it, for fewer MACs:")
        say(str(pick.cheaper))


def _say_unfinished(unfinished: Any, most: int = 3) -> None:
    if unfinished:
        were = "was" if len(unfinished) == 1 else "were"
        say(f"{counted(len(unfinished), 'more network')} within the limits {were} not trained to the end:")
        for one in unfinished[:most]:
            say(f"  {one}")
        if len(unfinished) > most:
            say(f"  and {counted(len(unfinished) - most, 'other')} (--json lists them)")


__all__ = ["compare", "pick", "report"]
