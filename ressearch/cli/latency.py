"""The command that measures a network on the device at hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from ressearch import signals
from ressearch.cli.options import with_classes, with_input, with_json, with_plugins
from ressearch.cli.output import print_json, say
from ressearch.errors import RessearchError
from ressearch.limits import LARGEST_BATCH
from ressearch.shapes import Shape
from ressearch.units import counted, format_milliseconds


@click.command("latency")
@click.argument("network")
@with_input
@with_classes
@with_plugins
@click.option(
    "--batch-size", type=click.IntRange(1, LARGEST_BATCH), default=1, show_default=True, help="Inputs at once."
)
@click.option("--device", default="cpu", show_default=True, help="Where, such as cuda or cuda:1.")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads [as many as torch takes].")
@click.option("--exported", is_flag=True, help="Run the torch.export'ed program, as export --to pt2 writes it.")
@click.option(
    "--memory",
    type=click.IntRange(2, LARGEST_BATCH),
    metavar="BATCH",
    help="Measure the peak memory of training with such batches too.",
)
@click.option(
    "--predict", "study", metavar="STUDY", help="Compare with what a model fitted to a study's space predicts."
)
@with_json
def latency_command(
    network: str,
    input_shape: Shape | None,
    classes: int | None,
    batch_size: int,
    device: str,
    threads: int | None,
    exported: bool,
    memory: int | None,
    study: str | None,
    as_json: bool,
) -> None:
    """Measure how long a network takes here: a preset, a name, or a JSON file."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.networks.cost import cost
        from ressearch.networks.latency import measure_latency
        from ressearch.networks.named import read_network
        from ressearch.networks.presets import PRESETS, published_input

    if study is not None and exported:
        raise RessearchError("--predict: a model is of modules; leave --exported out")
    architecture = read_network(network)
    space = None if study is None else _space(study)
    shape = input_shape or (published_input(network) if network in PRESETS else (3, 32, 32))
    if space is not None:
        shape, classes = input_shape or space.input_shape, classes or space.num_classes
    cost(architecture, shape, classes)  # refuses in words before anything is measured
    found: dict[str, Any] = {
        "name": network if network in PRESETS else architecture.name,
        "input": list(shape),
        "num_classes": classes or architecture.default_classes,
    }
    model = None
    if space is not None:
        from ressearch.networks.latency_model import latency_model

        if not as_json:
            say("fitting a model to the space, two minutes where this machine has none of it yet ...")
        model = latency_model(space, device=device, threads=threads, batch_size=batch_size)
        found |= {"predicted": model.predict(architecture, shape, classes), "held_out": model.error._asdict()}
    took = measure_latency(
        architecture, shape, classes, batch_size=batch_size, device=device, threads=threads, exported=exported
    )
    found |= dataclasses.asdict(took)
    if memory is not None:
        from ressearch.networks.memory import measure_memory

        found["training_memory"] = measure_memory(architecture, shape, classes, batch_size=memory, device=device)
    if as_json:
        print_json(found)
        return
    say(found["name"])
    say(f"input      {'x'.join(map(str, shape))}, batch {batch_size}, {found['num_classes']} classes")
    threads_text = f", {counted(took.threads, 'thread')}" if took.threads else ""
    say(f"device     {took.device}{threads_text}{', exported' if exported else ''}")
    middle = f"half of {took.runs} runs from {format_milliseconds(took.low)} to {format_milliseconds(took.high)}"
    say(f"latency    {format_milliseconds(took.median)} (median; {middle})")
    if model is not None:
        say(f"predicted  {format_milliseconds(found['predicted'])}; {model.error}")
    if memory is not None:
        say(f"memory     {found['training_memory'] / 1e6:.1f} MB at the peak of training with batches of {memory}")


def _space(study: str) -> Any:
    """Return the space of a study file, with the shape and classes of its data."""
    from ressearch.search.study import Study

    return Study.from_file(study).search_space


__all__ = ["latency_command"]
