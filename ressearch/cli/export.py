"""The command export: one of a study's networks, trained, as a file with its model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ressearch import signals
from ressearch.cli.options import require_free, with_allowed_plugins, with_budget, with_force
from ressearch.cli.output import say
from ressearch.errors import RessearchError, nearest

if TYPE_CHECKING:
    from ressearch.export import Trained
    from ressearch.training.classifier import Classifier


@click.command()
@click.argument("place", metavar="DIRECTORY[/TRIAL]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File; its suffix says the format.")
@click.option("--to", metavar="FORMAT", help="safetensors, code, pt2, onnx or weights [by the suffix of --out].")
@click.option("--dtype", default="float32", show_default=True, help="Of the weights: or float16, bfloat16.")
@click.option("--trial", type=click.IntRange(min=0), help="Trial [the one that `pick` takes].")
@click.option("--retrain", is_flag=True, help="Train it once more, though the study kept its weights.")
@with_budget
@with_force
@with_allowed_plugins
def export(
    place: str,
    out: Path,
    to: str | None,
    dtype: str,
    trial: int | None,
    retrain: bool,
    force: bool,
    allow_plugins: bool,
    **bounds: Any,
) -> None:
    """Write a network of a study, trained, to a file, with a model card beside it."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch import export as exporting
        from ressearch.export.card import card_file, card_of, write_card
        from ressearch.picking.pick import pick as pick_network

    out = exporting.file_for(out, to)
    exporting.require_format(out)
    _require_dtype(dtype, out)
    _require_place(out, force, card_file(out))
    directory, named = exporting.find_trial(place)
    if named is not None and trial is not None and named != trial:
        raise RessearchError(f"--trial {trial}: {place} names trial {named}; leave one of the two out")
    given = [f"--{key.replace('_', '-')}" for key, bound in bounds.items() if bound is not None]
    chosen = named if trial is None else trial
    if chosen is not None and given:
        raise RessearchError(f"{given[0]}: is for a network to be picked, and trial {chosen} is named")
    is_picked = chosen is None
    if chosen is None:
        chosen = pick_network(directory, allow_plugins=allow_plugins, **bounds).trial
    found = exporting.trained(directory, chosen, allow_plugins, None, retrain, is_picked, say)
    classifier, notes = _in_precision(found, dtype, directory, allow_plugins)
    difference = exporting.save(classifier, out)
    files = [out, exporting.weights_beside(out)] if out.suffix == ".py" else [out]
    run = exporting.read_run_of(directory)
    write_card(card_of(found, run, classifier, notes), card_file(out), files)
    shape = ", ".join(map(str, classifier.input_shape))
    say(f"trial {chosen}, {classifier.network.architecture.name}: {found.words}")
    for note in notes:
        say(note)
    inputs = f"{str(classifier.input_dtype).removeprefix('torch.')} (batch, {shape})"
    say(f"written to {out}: {exporting.FORMATS[out.suffix]}; takes {inputs}; {card_file(out).name} says what it is")
    if difference is None:
        say("not checked against the trained network: that takes onnxruntime")
    else:
        say(f"read back and run: its logits differ from the trained network's by {difference:.1e} of the largest")


def _require_dtype(dtype: str, out: Path) -> None:
    from ressearch.training.classifier import DTYPES

    if dtype not in DTYPES:
        raise RessearchError(f"--dtype {dtype}: is unknown; {nearest(dtype, DTYPES)}")
    if dtype == "bfloat16" and out.suffix == ".onnx":
        raise RessearchError(
            "--dtype bfloat16: onnxruntime runs no such network on a CPU; take float16, or another format"
        )


def _require_place(out: Path, force: bool, card: Path) -> None:
    from ressearch import export as exporting

    if not out.parent.is_dir():
        raise RessearchError(f"{out}: no directory {out.parent}")
    for file in (out, card, *([exporting.weights_beside(out)] if out.suffix == ".py" else [])):
        require_free(file, force)
    exporting.require_writable(out)


def _in_precision(found: Trained, dtype: str, directory: str, allow_plugins: bool) -> tuple[Classifier, list[str]]:
    """Return the classifier in a precision, and what that costs it on the validation part."""
    from ressearch.errors import DataError, StudyError
    from ressearch.export.sources import accuracies
    from ressearch.results import load
    from ressearch.search.again import study_of
    from ressearch.training.classifier import DTYPES

    if dtype == "float32":
        return found.classifier, []
    other = found.classifier.with_dtype(DTYPES[dtype])
    try:
        study = study_of(load(directory), directory, allow_plugins)
        whole, less = accuracies(study, (found.classifier, other))
    except (StudyError, DataError) as error:  # the data are not here
        return other, [f"{dtype} was not measured: {error}"]
    return other, [f"val_accuracy {whole:.4f} in float32, {less:.4f} in {dtype}"]


__all__ = ["export"]
