"""Commands for one network: cost, show, presets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ressearch import signals
from ressearch.cli.options import require_free, with_classes, with_force, with_input, with_json, with_plugins
from ressearch.cli.output import console, make_table, print_json, say
from ressearch.errors import RessearchError
from ressearch.limits import LARGEST_BATCH
from ressearch.shapes import Shape
from ressearch.units import format_count

if TYPE_CHECKING:
    from ressearch.networks.architecture import Architecture


@click.command("cost")
@click.argument("network")
@with_input
@with_classes
@with_plugins
@click.option(
    "--batch-size", type=click.IntRange(1, LARGEST_BATCH), default=64, show_default=True, help="For training memory."
)
@with_json
def cost_command(network: str, input_shape: Shape | None, classes: int | None, batch_size: int, as_json: bool) -> None:
    """Say what a network costs: a preset, a name, or a JSON file of Architecture fields."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.networks.cost import cost
        from ressearch.networks.named import read_network
        from ressearch.networks.presets import PRESETS, published_input

    architecture = read_network(network)
    shape = input_shape or (published_input(network) if network in PRESETS else (3, 32, 32))
    price = cost(architecture, shape, classes)
    memory = price.training_memory(batch_size)
    num_classes = classes or architecture.default_classes
    if as_json:
        print_json(
            {
                "name": network if network in PRESETS else architecture.name,
                "input": list(shape),
                "num_classes": num_classes,
                "depth": architecture.depth,
                **price._asdict(),
                "training_memory": {"batch_size": batch_size, "least_bytes": memory},
                "architecture": architecture.to_dict(),
            }
        )
        return
    say(f"{network if network in PRESETS else architecture.name}")
    say(f"input        {'x'.join(map(str, shape))}, {num_classes} classes")
    say(f"depth        {architecture.depth}")
    say(f"params       {price.params:,}")
    say(f"macs         {price.macs:,} (FLOPs = 2 x MACs)")
    say(f"activations  {price.activations:,}")
    say(f"memory       at least {memory / 2**20:,.0f} MiB to train (batches of {batch_size}, SGD, float32)")


@click.command()
@click.argument("network")
@with_input
@with_classes
@with_plugins
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the network into a PNG file.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the network into an SVG file.")
@with_force
@with_json
def show(
    network: str,
    input_shape: Shape | None,
    classes: int | None,
    png: Path | None,
    svg: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show a network part by part: a preset, a name, or a JSON file of Architecture fields."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.networks.cost import breakdown, cost
        from ressearch.networks.named import read_network
        from ressearch.networks.presets import PRESETS, published_input

    architecture = read_network(network)
    shape = input_shape or (published_input(network) if network in PRESETS else (3, 32, 32))
    rows = breakdown(architecture, shape, classes)
    title = network if network in PRESETS else architecture.name
    for file in (png, svg):
        if file is not None:
            require_free(file, force)
            _draw(architecture, shape, classes, title, file)
    if as_json:
        print_json(
            {
                "name": title,
                "depth": architecture.depth,
                "input": list(shape),
                "parts": [
                    {"stage": row.stage, "part": row.part, "output": list(row.output_shape), **row.cost._asdict()}
                    for row in rows
                ],
                **cost(architecture, shape, classes)._asdict(),
            }
        )
        return
    say(title)
    say(_style_line(architecture))
    table = make_table("part", "block", "output", "params", "MACs", numbers=("output", "params", "MACs"))
    previous = ""
    for row in rows:
        stage = row.stage if row.stage != previous else ""
        previous = row.stage
        output = "x".join(map(str, row.output_shape))
        table.add_row(stage, row.part, output, f"{row.cost.params:,}", f"{row.cost.macs:,}")
    total = cost(architecture, shape, classes)
    table.add_row("total", f"depth {architecture.depth}", "", f"{total.params:,}", f"{total.macs:,}", style="bold")
    console().print(table)
    for file in (png, svg):
        if file is not None:
            say(f"drawn in {file}")


def _style_line(architecture: Architecture) -> str:
    """Say how the blocks are made."""
    from ressearch.networks.skips import SKIPS

    formula = SKIPS[architecture.skip].formula
    options = "".join(f", {name} {value:g}" for name, value in architecture.skip_options)
    shortcut = f"shortcut {architecture.shortcut}; " if SKIPS[architecture.skip].has_shortcut else ""
    return (
        f"skip {architecture.skip}: {formula}{options}\n"
        f"{shortcut}norm {architecture.norm}, {architecture.norm_order}; {architecture.activation}"
    )


def _draw(architecture: Architecture, shape: Shape, classes: int | None, title: str, file: Path) -> None:
    with signals.ending_at_once():  # imports take seconds
        from ressearch.reporting.diagram import draw

    figure = draw(architecture, shape, classes, title)
    try:
        figure.savefig(file, format=file.suffix.lstrip(".") or None, dpi=150)
    except (OSError, ValueError) as error:
        raise RessearchError(f"{file}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


@click.command("presets")
@with_json
def presets_command(as_json: bool) -> None:
    """List the published networks with what they cost on their own data."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.networks.cost import cost
        from ressearch.networks.presets import PRESETS, published_input

    rows = []
    for name, architecture in PRESETS.items():
        shape = published_input(name)
        price = cost(architecture, shape)
        rows.append({"name": name, "depth": architecture.depth, "input": list(shape), **price._asdict()})
    if as_json:
        print_json(rows)
        return
    numbers = ("depth", "input", "params", "MACs", "activations")
    table = make_table("preset", *numbers, numbers=numbers)
    for row in rows:
        shape_text = "x".join(map(str, row["input"]))
        counts = [format_count(row[key]) for key in ("params", "macs", "activations")]
        table.add_row(row["name"], str(row["depth"]), shape_text, *counts)
    console().print(table)


__all__ = ["cost_command", "presets_command", "show"]
