"""The command train: one network into a directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ressearch import signals
from ressearch.cli.options import with_allowed_plugins, with_force, with_overrides, with_plugins
from ressearch.cli.output import console, format_duration, say
from ressearch.limits import LARGEST_SEED, MOST_EPOCHS

if TYPE_CHECKING:
    from ressearch.training import EpochResult, Recipe

Told = Callable[["EpochResult", "Recipe"], Any]


@click.command()
@click.argument("network", metavar="NETWORK|DIRECTORY/TRIAL")
@click.option("--data", help="Data set, such as digits [of a trial: its study's].")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to write, or to go on with.")
@click.option("--recipe", type=click.Path(path_type=Path), help="File of recipe keys, or a study file.")
@click.option("--epochs", type=click.IntRange(1, MOST_EPOCHS), help="In the place of the recipe's.")
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), help="[0; of a trial one its study has not used]")
@click.option("--all-data", is_flag=True, help="Train on the validation part too: no validation score exists then.")
@click.option("--test", is_flag=True, help="Score the test part after the last epoch, once.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads [as torch takes]; 1 on cores in use.")
@with_overrides
@with_force
@with_plugins
@with_allowed_plugins
def train(network: str, out: Path, overrides: tuple[str, ...], **options: Any) -> None:
    """Train one network: a preset, a name, a JSON file, or a study's trial; goes on if it was ended."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.export.single import train as train_network

    try:
        with _shown() as told:
            found = train_network(network, out, overrides=overrides, told=told, **options)
    except KeyboardInterrupt:
        say(f"{out}: what was trained is kept: the same command goes on")
        raise
    name = found.classifier.network.architecture.name
    reached = "no validation score: the validation part was trained on" if found.val_accuracy is None else ""
    say(f"{name}, {len(found.history)} epochs: {reached or f'val_accuracy {found.val_accuracy:.4f}'}")
    if found.test_accuracy is not None:
        say(f"test_accuracy {found.test_accuracy:.4f}, scored once and recorded")
    say(f"written to {out}: weights.safetensors, metrics.csv, README.md")


@contextlib.contextmanager
def _shown() -> Iterator[Told]:
    """Yield what shows each epoch: a line that moves on a terminal, else a line for each."""
    if not console().is_terminal:
        yield lambda result, recipe: say(_words(result, recipe))
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        line = progress.add_task("first epoch", total=None)
        yield lambda result, recipe: progress.update(
            line, description=_words(result, recipe), completed=result.epoch, total=recipe.epochs
        )


def _words(result: EpochResult, recipe: Recipe) -> str:
    validation = "" if result.val_accuracy != result.val_accuracy else f", val_accuracy {result.val_accuracy:.4f}"
    return (
        f"[{result.epoch}/{recipe.epochs}] train_loss {result.train_loss:.4f}{validation}, "
        f"{format_duration(result.seconds) if result.seconds >= 1 else f'{result.seconds:.1f} s'}"
    )


__all__ = ["train"]
