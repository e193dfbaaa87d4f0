"""Options that several commands take, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ressearch.errors import RessearchError
from ressearch.limits import LARGEST_SIDE, short
from ressearch.shapes import Shape
from ressearch.units import parse_count


class Count(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click alone
    """A count such as ``300k``."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the count, or fail with what is expected."""
        try:
            return parse_count(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class InputShape(click.ParamType):  # type: ignore[type-arg]
    """Images ``3x32x32``, sequences ``64x16``, vectors ``30``."""

    name = "SHAPE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shape:
        """Return the shape, or fail with what is expected."""
        try:
            shape = tuple(int(part) for part in str(value).lower().split("x", 4))
        except ValueError:
            shape = ()
        if not 1 <= len(shape) <= 3 or min(shape) < 1 or max(shape) > LARGEST_SIDE:
            self.fail(
                f"{short(value)} is not channels x height x width, such as 3x32x32 (tokens x features for sequences, "
                "features for vectors)",
                param,
                ctx,
            )
        return shape


def _load_plugins(context: click.Context, option: click.Parameter, names: tuple[str, ...]) -> None:
    if names:
        from ressearch.plugins import load_plugin

        for name in names:
            load_plugin(name)


with_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
with_force = click.option("--force", is_flag=True, help="Replace what is there.")
with_address = click.option("--address", help="Join a running Ray cluster: auto, or HOST:PORT [this machine alone].")
with_overrides = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, such as recipe.epochs=5."
)
with_allowed_plugins = click.option(
    "--allow-plugins", is_flag=True, help="Run the plugins that came with the study: they are code."
)
with_plugins = click.option(
    "--plugin",
    multiple=True,
    metavar="FILE",
    expose_value=False,
    callback=_load_plugins,
    help="Python file or module with blocks, skips, ... of your own.",
)
with_input = click.option(
    "--input", "input_shape", type=InputShape(), help="Input shape [the preset's data, else 3x32x32]."
)
with_classes = click.option(
    "--classes", type=click.IntRange(1, LARGEST_SIDE), help="Classes [those of the stem's data: 10 or 1000]."
)


def with_budget(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the bounds on what a network may cost."""
    for option in (
        click.option("--max-latency", metavar="TIME", help="Longest forward pass, measured here, such as 2ms."),
        click.option("--max-train-time", metavar="TIME", help="Longest training of one seed, such as 30m."),
        click.option("--max-training-memory", metavar="SIZE", help="Least memory to train in, such as 2G."),
        click.option("--max-size", metavar="SIZE", help="Most bytes of weights, such as 1MB."),
        click.option("--max-activations", type=Count(), help="Most activations an input."),
        click.option("--max-macs", type=Count(), help="Most multiply-accumulates an input, such as 4M."),
        click.option("--max-params", type=Count(), help="Most parameters, such as 300k."),
    ):
        command = option(command)
    return command


def require_free(file: Path, force: bool) -> None:
    """Raise RessearchError for a file that is there already."""
    if not force and (file.exists() or file.is_symlink()):
        raise RessearchError(f"{file}: is there already; --force replaces it")


__all__ = [
    "Count",
    "InputShape",
    "require_free",
    "with_address",
    "with_allowed_plugins",
    "with_budget",
    "with_classes",
    "with_force",
    "with_input",
    "with_json",
    "with_overrides",
    "with_plugins",
]
