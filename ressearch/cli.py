"""The `ressearch` command: a thin face over the Python API. Wrong input ends in one line per mistake, exit code 2."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table

from ressearch import defects, signals
from ressearch.errors import ArchitectureError, RessearchError, nearest
from ressearch.limits import LARGEST_BATCH, LARGEST_SIDE, short
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import breakdown, cost
from ressearch.networks.presets import PRESETS, published_input
from ressearch.networks.skips import SKIPS
from ressearch.shapes import Shape
from ressearch.texts import UnreadableError, read_text
from ressearch.units import format_count, parse_count
from ressearch.version import __version__


class _Output:
    """Standard output, as it is when it is written to. A terminal that is closed takes no more, and ends no study."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)

    def write(self, text: str) -> int:
        with self._closed_terminal_ignored():
            sys.stdout.write(text)
        return len(text)

    def flush(self) -> None:
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


_console = Console(file=_Output(), highlight=False)  # type: ignore[arg-type]


class _Ended(Exception):
    """A signal ended a command: what click has no message of its own for."""

    def __init__(self, interrupted: KeyboardInterrupt) -> None:
        super().__init__()
        self.interrupted = interrupted if isinstance(interrupted, signals.Interrupted) else signals.Interrupted()


class _Commands(click.Group):
    """Names the nearest command for an unknown one, and says what ended one early."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupted:
            raise _Ended(interrupted) from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(f"no command '{args[0]}'; {nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


class _Count(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click alone
    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_count(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _InputShape(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click alone
    """Images ``3x32x32``, sequences ``64x16``, vectors ``30``."""

    name = "SHAPE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shape:
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


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
_input = click.option(
    "--input", "input_shape", type=_InputShape(), help="Input shape [the preset's data, else 3x32x32]."
)
_classes = click.option(
    "--classes", type=click.IntRange(1, LARGEST_SIDE), help="Classes [those of the stem's data: 10 or 1000]."
)
_set = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, such as recipe.epochs=5."
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="ressearch")
def cli() -> None:
    """Search, compare and choose residual networks, with error bars.

    A study file asks the question; `run` trains the networks, `report` shows what came out, `pick` chooses one for a
    budget.
    """


_force = click.option("--force", is_flag=True, help="Replace what is there.")
_plugins = click.option(
    "--allow-plugins", is_flag=True, help="Run the plugins that came with the study: they are code."
)
_address = click.option("--address", help="Join a running Ray cluster: auto, or HOST:PORT [this machine alone].")


@cli.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", help="Directory, or fsspec URL, to write [runs/NAME].")
@_address
@click.option("--repeat", metavar="DIRECTORY", help="Run networks as an earlier run did: grouping and layout.")
@_set
def run(study: Path, out: str | None, address: str | None, repeat: str | None, overrides: tuple[str, ...]) -> None:
    """Run a study."""
    from ressearch.search.runner import run as run_study
    from ressearch.search.study import Study

    checked = Study.from_file(study, overrides)
    _say_done(run_study(checked, out, _monitor(), address, repeat))


@cli.command()
@click.argument("directory")
@_address
@click.option("--accept-changes", is_flag=True, help="Take a study file that asks for more trials, finalists, budget.")
@_plugins
def resume(directory: str, address: str | None, accept_changes: bool, allow_plugins: bool) -> None:
    """Go on with a study that ended early, whatever ended it."""
    from ressearch.search.runner import resume as resume_study

    monitor = _monitor()
    resumed = resume_study(directory, monitor, address, accept_changes, allow_plugins)
    if not hasattr(monitor, "study"):  # it was not told of any
        _say(f"{directory}: complete already; nothing to do")
    _say_done(resumed)


def _monitor() -> Any:
    """Return a live view on a terminal, plain lines else."""
    from ressearch.search.monitor import LiveMonitor, PlainMonitor

    return LiveMonitor(_console) if _console.is_terminal else PlainMonitor(_console)


def _say_done(directory: str | Path) -> None:
    from ressearch.results import load

    counts = load(directory).trials["status"].value_counts()
    _say(f"done: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    _say(f"results in {directory}; next: ressearch report {directory}")


@cli.command()
@click.argument("study", type=click.Path(path_type=Path))
@_set
@_json
def check(study: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Validate a study file and say what it would do; trains nothing."""
    from ressearch.search.estimate import check as check_study
    from ressearch.search.study import Study

    found = check_study(Study.from_file(study, overrides))
    if as_json:
        _print_json(found)
        return
    size = "continuous" if found["space_size"] is None else f"{found['space_size']} points"
    networks = "" if found["networks"] is None else f", {found['networks']} networks within the constraints"
    _say(f"{study}: valid")
    _say(f"data       {found['data']}" + (f"; {found['memory']}" if found["data_is_here"] else ""))
    if not found["data_is_here"]:
        _say(f"data       missing: {found['data_missing']}")
    _say(f"space      {size}{networks}")
    for reason, count in found["refused"].items():
        _say(f"refused    {count} {'points' if count > 1 else 'point'}: {reason}")
    if (matched := found["matched"]) is not None:
        _say(
            f"matched    {matched['cost']} {format_count(matched['target'])}, deviations from {matched['lowest']:+.1%} "
            f"to {matched['highest']:+.1%}"
        )
    for name, plan in found["phases"].items():
        _say(
            f"{name:<10} {plan['trials']} trials x {plan['seeds']} seeds x {plan['epochs']} epochs, at most "
            f"{plan['replicate_epochs']} epochs in all, about {_duration(plan['seconds'])}"
        )
    for which in ("cheapest", "dearest"):
        one = found[which]
        sampled = "" if found["is_exhaustive"] else f" (of {found['sampled']} sampled)"
        _say(f"{which:<10} {one['name']}{sampled}")
        _say(f"           depth {one['depth']}, {format_count(one['params'])} params, {format_count(one['macs'])} MACs")
    _say(
        f"total      {sum(plan['trials'] for plan in found['phases'].values())} trials, {found['replicate_epochs']} "
        f"epochs, about {_duration(found['estimated_seconds'])} if nothing is stopped early; "
        f"{found['concurrency']} trials at a time, Ray's start aside"
    )
    for warning in found["warnings"]:
        _say(f"warning    {warning}")


@cli.command()
@click.argument("directory")
@_json
def status(directory: str, as_json: bool) -> None:
    """Say how far a study is, running or not."""
    from ressearch.results import load
    from ressearch.results.ranking import Objective, ranked_table
    from ressearch.results.run_file import is_alive

    results = load(directory)
    trials = results.trials
    counts = {str(name): int(count) for name, count in trials["status"].value_counts().items()}
    objective = Objective.of(results.run)
    done = ranked_table(results.phase("search").trials, objective)
    best = None if done.empty else done.iloc[0]
    is_running = is_alive(results.run, results.directory)
    if as_json:
        _print_json(
            {
                "directory": str(directory),
                "is_running": is_running,
                "is_complete": results.progress.is_complete,
                "planned_trials": results.progress.planned,
                "ended_trials": results.progress.ended,
                "missing_phases": list(results.progress.missing),
                "notes": list(results.notes),
                "trials": counts,
                "best": None
                if best is None
                else {
                    "trial": int(best["trial"]),
                    "name": best["name"],
                    "val_accuracy": float(best["val_accuracy"]),
                },
            }
        )
        return
    progress = results.progress
    state = "running" if is_running else "complete" if progress.is_complete else "not complete"
    _say(f"{results.run['name']}: {state}, {progress.ended} of {progress.planned} trials ended")
    for phase, reason in progress.why.items():
        _say(f"{phase:<10} ended: {reason}")
    if not progress.is_complete:
        _say(f"to come    {', '.join(progress.missing)}")
    for note in results.notes:
        _say(f"damaged    {note}")
    if state == "not complete":
        _say(f"to go on   ressearch resume {directory}")
    _say("trials     " + (", ".join(f"{count} {name}" for name, count in counts.items()) or "none yet"))
    if best is not None:
        _say(f"best       {best['val_accuracy']:.4f} {best['name']}")
    for _, row in trials[trials["status"].isin(["failed", "diverged"])].head(5).iterrows():
        _say(f"{row['status']:<10} trial {row['trial']}: {row['reason']}")


@cli.command()
@click.argument("directory")
@click.option("--out", type=click.Path(path_type=Path), help="Directory to write [DIRECTORY/report].")
@_force
@_plugins
def report(directory: str, out: Path | None, force: bool, allow_plugins: bool) -> None:
    """Write the report of a study: HTML, Markdown, figures and CSV tables."""
    from ressearch.reporting import report as write_report

    _say(str(write_report(directory, out, force, allow_plugins)))


@cli.command()
@click.argument("directory")
@click.option("--max-params", type=_Count(), help="Most parameters, such as 300k.")
@click.option("--max-macs", type=_Count(), help="Most multiply-accumulates an input, such as 4M.")
@click.option("--max-activations", type=_Count(), help="Most activations an input.")
@_plugins
@_json
def pick(
    directory: str,
    max_params: int | None,
    max_macs: int | None,
    max_activations: int | None,
    allow_plugins: bool,
    as_json: bool,
) -> None:
    """Choose the best network of a study within a budget."""
    from ressearch.results.picking import pick as pick_network

    chosen = pick_network(directory, max_params, max_macs, max_activations, allow_plugins)
    if as_json:
        _print_json(chosen.to_dict())
        return
    _say(f"picked from {chosen.candidates} fully trained networks, trial {chosen.trial}:")
    _say(str(chosen))
    if chosen.cheaper is not None:
        _say("within one standard error of it, for fewer MACs:")
        _say(str(chosen.cheaper))


@cli.command()
@click.argument("directory")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File: .pt, .pt2 (torch.export) or .onnx.")
@click.option("--trial", type=click.IntRange(min=0), help="Trial [the one that `pick` takes].")
@click.option("--max-params", type=_Count(), help="Most parameters, such as 300k.")
@click.option("--max-macs", type=_Count(), help="Most multiply-accumulates an input, such as 4M.")
@click.option("--max-activations", type=_Count(), help="Most activations an input.")
@_force
@_plugins
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
    from ressearch import export as exporting
    from ressearch.results.picking import pick as pick_network

    exporting.require_format(out)
    if not out.parent.is_dir():
        raise RessearchError(f"{out}: no directory {out.parent}")
    _require_free(out, force)
    exporting.require_writable(out)
    if trial is None:
        trial = pick_network(directory, max_params, max_macs, max_activations, allow_plugins).trial
    classifier, accuracy = exporting.train(directory, trial, allow_plugins)
    exporting.save(classifier, out)
    inputs = (
        f"{str(classifier.input_dtype).removeprefix('torch.')} (batch, {', '.join(map(str, classifier.input_shape))})"
    )
    _say(f"trial {trial}, {classifier.network.architecture.name}, trained on a fresh seed: val_accuracy {accuracy:.4f}")
    _say(f"written to {out}: {exporting.FORMATS[out.suffix]}; takes {inputs}")


@cli.group("data")
def data_group() -> None:
    """List, describe and fetch data sets."""


@data_group.command("list")
@_json
def data_list(as_json: bool) -> None:
    """List the data sets, and which of them are here."""
    from ressearch.data import DATASETS
    from ressearch.data.files import PUBLISHED, places

    rows = []
    for name, kind in DATASETS.items():
        files = PUBLISHED[name].files if name in PUBLISHED else {}
        is_here = not files or any((place / file).is_file() for place in places(name, None) for file in files)
        shown = name if kind.argument is None else f"{name}:{kind.argument}"
        rows.append({"name": shown, "is_here": is_here if kind.argument is None else None, "summary": kind.summary})
    if as_json:
        _print_json(rows)
        return
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for column in ("data set", "here", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for row in rows:
        here = {True: "yes", False: "no", None: ""}[row["is_here"]]  # type: ignore[index]
        table.add_row(str(row["name"]), here, str(row["summary"]))
    _console.print(table)


@data_group.command("info")
@click.argument("name")
@click.option("--root", help="Directory that holds a published data set's files.")
@click.option("--size", type=click.IntRange(1, 4096), help="Bring images to this side, as a study's data.size does.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="1 grey, 3 colour [as the first image].")
@click.option("--image", help="Column of the images [found].")
@click.option("--label", help="Column of the labels [found].")
@click.option(
    "--memory", type=click.Choice(["auto", "resident", "stream"]), default="auto", help="How images are held [auto]."
)
@click.option("--no-verify", is_flag=True, help="Read files that are not the published ones.")
@_json
def data_info(
    name: str,
    root: str | None,
    size: int | None,
    channels: str | None,
    image: str | None,
    label: str | None,
    memory: str,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Say what is in a data set: sizes, classes, the parts of a study."""
    from ressearch.data import Options, describe

    options = Options(root, size, int(channels) if channels else None, image, label, not no_verify, memory)
    found = describe(name, options)
    if as_json:
        _print_json(found)
        return
    _say(f"{found['source']}")
    if found["decoded_per_second"] is not None:
        _say(f"decoding   {found['decoded_per_second']:.0f} images a second here, shuffled")
    _say(f"input      {'x'.join(map(str, found['input_shape']))}, {found['memory']}")
    counts = found["classes"].values()
    _say(f"classes    {len(counts)}, from {min(counts)} to {max(counts)} examples each")
    whose = {part: "as published" if part in found["published_parts"] else "a fifth" for part in ("validation", "test")}
    said = ", ".join(f"{count} {part}" for part, count in found["parts"].items())
    _say(f"parts      {said} (validation {whose['validation']}, test {whose['test']}; seed 0)")


@data_group.command("fetch")
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), help="Directory to put it in.")
@click.option("--url", help="Another place that has the same files.")
def data_fetch(name: str, root: Path | None, url: str | None) -> None:
    """Download a published data set, checked against its checksums, or hub:OWNER/NAME into the hub's local cache."""
    from ressearch.data import files, hub

    if name.startswith("hub:"):
        hub.fetch(name.removeprefix("hub:"), _say)
        return
    if name not in files.PUBLISHED:
        raise click.UsageError(f"'{name}' is not one that can be fetched; {nearest(name, files.PUBLISHED)}")
    files.fetch(name, root, url, _say)


@cli.command("cost")
@click.argument("network")
@_input
@_classes
@click.option(
    "--batch-size", type=click.IntRange(1, LARGEST_BATCH), default=64, show_default=True, help="For training memory."
)
@_json
def cost_command(network: str, input_shape: Shape | None, classes: int | None, batch_size: int, as_json: bool) -> None:
    """Say what a network costs: a preset, a name, or a JSON file of Architecture fields."""
    architecture = _read_network(network)
    shape = input_shape or (published_input(network) if network in PRESETS else (3, 32, 32))
    price = cost(architecture, shape, classes)
    memory = price.training_memory(batch_size)
    num_classes = classes or architecture.default_classes
    if as_json:
        _print_json(
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
    _say(f"{network if network in PRESETS else architecture.name}")
    _say(f"input        {'x'.join(map(str, shape))}, {num_classes} classes")
    _say(f"depth        {architecture.depth}")
    _say(f"params       {price.params:,}")
    _say(f"macs         {price.macs:,} (FLOPs = 2 x MACs)")
    _say(f"activations  {price.activations:,}")
    _say(f"memory       at least {memory / 2**20:,.0f} MiB to train (batches of {batch_size}, SGD, float32)")


@cli.command()
@click.argument("network")
@_input
@_classes
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the network into a PNG file.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the network into an SVG file.")
@_force
@_json
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
    architecture = _read_network(network)
    shape = input_shape or (published_input(network) if network in PRESETS else (3, 32, 32))
    rows = breakdown(architecture, shape, classes)
    title = network if network in PRESETS else architecture.name
    for file in (png, svg):
        if file is not None:
            _require_free(file, force)
            _draw(architecture, shape, classes, title, file)
    if as_json:
        _print_json(
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
    _say(title)
    _say(_style_line(architecture))
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for column in ("part", "block", "output", "params", "MACs"):
        table.add_column(column, justify="left" if column in ("part", "block") else "right", no_wrap=True)
    previous = ""
    for row in rows:
        stage = row.stage if row.stage != previous else ""
        previous = row.stage
        output = "x".join(map(str, row.output_shape))
        table.add_row(stage, row.part, output, f"{row.cost.params:,}", f"{row.cost.macs:,}")
    total = cost(architecture, shape, classes)
    table.add_row("total", f"depth {architecture.depth}", "", f"{total.params:,}", f"{total.macs:,}", style="bold")
    _console.print(table)
    for file in (png, svg):
        if file is not None:
            _say(f"drawn in {file}")


def _style_line(architecture: Architecture) -> str:
    """Say how the blocks are made."""
    formula = SKIPS[architecture.skip].formula
    options = "".join(f", {name} {value:g}" for name, value in architecture.skip_options)
    shortcut = f"shortcut {architecture.shortcut}; " if SKIPS[architecture.skip].has_shortcut else ""
    return (
        f"skip {architecture.skip}: {formula}{options}\n"
        f"{shortcut}norm {architecture.norm}, {architecture.norm_order}; {architecture.activation}"
    )


def _draw(architecture: Architecture, shape: Shape, classes: int | None, title: str, file: Path) -> None:
    from ressearch.reporting.diagram import draw

    figure = draw(architecture, shape, classes, title)
    try:
        figure.savefig(file, format=file.suffix.lstrip(".") or None, dpi=150)
    except (OSError, ValueError) as error:
        raise RessearchError(f"{file}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


@cli.command("presets")
@_json
def presets_command(as_json: bool) -> None:
    """List the published networks with what they cost on their own data."""
    rows = []
    for name, architecture in PRESETS.items():
        shape = published_input(name)
        price = cost(architecture, shape)
        rows.append({"name": name, "depth": architecture.depth, "input": list(shape), **price._asdict()})
    if as_json:
        _print_json(rows)
        return
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("preset", no_wrap=True)
    for column in ("depth", "input", "params", "MACs", "activations"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shape_text = "x".join(map(str, row["input"]))
        counts = [format_count(row[key]) for key in ("params", "macs", "activations")]
        table.add_row(row["name"], str(row["depth"]), shape_text, *counts)
    _console.print(table)


def _require_free(file: Path, force: bool) -> None:
    """Raise RessearchError for a file that is there already."""
    if not force and (file.exists() or file.is_symlink()):
        raise RessearchError(f"{file}: is there already; --force replaces it")


def _read_network(network: str) -> Architecture:
    """Return the architecture of a preset, a name, or a JSON file."""
    if not network.endswith(".json") and os.path.sep not in network:
        return Architecture.from_name(network)
    try:
        text = read_text(network, most=100_000)
    except FileNotFoundError:
        raise ArchitectureError(f"{network}: no such file or directory") from None
    except UnreadableError as error:
        raise ArchitectureError(f"{network}: {error}") from None
    try:
        return Architecture.from_json(text)
    except ArchitectureError as error:
        raise ArchitectureError(f"{network}: {error}") from None


def _say(text: str) -> None:
    _console.print(text, markup=False, soft_wrap=True)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn what a user did wrong into one line and exit code 2."""
    try:
        yield
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.ClickException, RessearchError) as error:
        _fail(*(error.lines if isinstance(error, RessearchError) else [error.format_message()]))
    except BrokenPipeError:  # `| head` has read enough
        defects.leave_quietly()
        sys.exit(128 + signal.SIGPIPE)
    except (_Ended, KeyboardInterrupt, click.Abort) as error:
        ended = error if isinstance(error, _Ended) else _Ended(KeyboardInterrupt())
        _complain(str(ended.interrupted))
        sys.exit(ended.interrupted.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and (problem := defects.file_problem(error)) is not None:
            _fail(problem)
        _fail(defects.keep(error), code=defects.EXIT_CODE)


def _fail(*lines: str, code: int = 2) -> NoReturn:
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: the process's own arguments, or those that are given."""
    if not sys.warnoptions:  # a library's warning would stand beside the line that says what is wrong
        warnings.simplefilter("ignore")
    given = sys.argv[1:] if arguments is None else list(arguments)
    with _one_line_errors(), signals.raising():
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


if __name__ == "__main__":
    main()
