"""Commands for a study: run, resume, check, status; and the schema of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ressearch import signals
from ressearch.cli.options import (
    require_free,
    with_address,
    with_allowed_plugins,
    with_force,
    with_json,
    with_overrides,
    with_plugins,
)
from ressearch.cli.output import console, format_duration, print_json, say
from ressearch.units import format_count, format_milliseconds


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", help="Directory, or fsspec URL, to write [runs/NAME].")
@with_address
@click.option("--repeat", metavar="DIRECTORY", help="Run networks as an earlier run did: grouping and layout.")
@with_overrides
def run(study: Path, out: str | None, address: str | None, repeat: str | None, overrides: tuple[str, ...]) -> None:
    """Run a study."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.search.runner import run as run_study
        from ressearch.search.study import Study

    checked = Study.from_file(study, overrides)
    _say_done(run_study(checked, out or Path("runs") / checked.name, _monitor(), address, repeat))


@click.command()
@click.argument("directory")
@with_address
@click.option("--accept-changes", is_flag=True, help="Take a study file that asks for more trials, finalists, budget.")
@with_allowed_plugins
def resume(directory: str, address: str | None, accept_changes: bool, allow_plugins: bool) -> None:
    """Go on with a study that ended early, whatever ended it."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.search.runner import resume as resume_study

    monitor = _monitor()
    resumed = resume_study(directory, monitor, address, accept_changes, allow_plugins)
    if not hasattr(monitor, "study"):  # it was not told of any
        say(f"{directory}: complete already; nothing to do")
    _say_done(resumed)


def _monitor() -> Any:
    """Return a live view on a terminal, plain lines else."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.search.monitor import LiveMonitor, PlainMonitor

    return LiveMonitor(console()) if console().is_terminal else PlainMonitor(console())


def _say_done(directory: str | Path) -> None:
    with signals.ending_at_once():  # imports take seconds
        from ressearch.results import load

    counts = load(directory).trials["status"].value_counts()
    say(f"done: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    say(f"results in {directory}; next: ressearch report {directory}")


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@with_overrides
@with_json
def check(study: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Validate a study file and say what it would do; trains nothing."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.search.estimate import check as check_study
        from ressearch.search.study import Study

    found = check_study(Study.from_file(study, overrides))
    if as_json:
        print_json(found)
        return
    size = "continuous" if found["space_size"] is None else f"{found['space_size']} points"
    networks = "" if found["networks"] is None else f", {found['networks']} networks within the constraints"
    say(f"{study}: valid")
    say(f"data       {found['data']}" + (f"; {found['memory']}" if found["data_is_here"] else ""))
    if not found["data_is_here"]:
        say(f"data       missing: {found['data_missing']}")
    say(f"space      {size}{networks}")
    for reason, count in found["refused"].items():
        say(f"refused    {count} {'points' if count > 1 else 'point'}: {reason}")
    if (matched := found["matched"]) is not None:
        say(
            f"matched    {matched['cost']} {format_count(matched['target'])}, deviations from {matched['lowest']:+.1%} "
            f"to {matched['highest']:+.1%}"
        )
    if (init := found["init"]) is not None:
        said = ["every replicate starts from " + init["file"], *init["adapted"]]
        say(f"weights    {'; '.join(said)}")
    for name, plan in found["phases"].items():
        say(
            f"{name:<10} {plan['trials']} trials x {plan['seeds']} seeds x {plan['epochs']} epochs, at most "
            f"{plan['replicate_epochs']} epochs in all, about {format_duration(plan['seconds'])}"
        )
    for which in ("cheapest", "dearest"):
        one = found[which]
        sampled = "" if found["is_exhaustive"] else f" (of {found['sampled']} sampled)"
        say(f"{which:<10} {one['name']}{sampled}")
        say(f"           depth {one['depth']}, {format_count(one['params'])} params, {format_count(one['macs'])} MACs")
    say(
        f"total      {sum(plan['trials'] for plan in found['phases'].values())} trials, {found['replicate_epochs']} "
        f"epochs, about {format_duration(found['estimated_seconds'])} if nothing is stopped early; "
        f"{found['concurrency']} trials at a time, Ray's start aside"
    )
    say(_seen(found))
    for warning in found["warnings"]:
        say(f"warning    {warning}")


def _seen(found: dict[str, Any]) -> str:
    """Say what the seeds of a study could see."""
    if (seen := found["detectable"]) is None:
        return "seeds      1 per network cannot tell two networks apart from chance; train each on at least three"
    return (
        f"seeds      {found['seeds']} per network find differences of {seen['difference']:.3f} in 80 % of cases, "
        f"{2 * found['seeds']} of {seen['with_twice_the_seeds']:.3f}, if accuracies near {seen['accuracy']:g} vary by "
        f"{seen['standard_deviation']:.3f} over seeds"
    )


@click.command()
@click.argument("directory")
@with_json
def status(directory: str, as_json: bool) -> None:
    """Say how far a study is, running or not."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.results import load
        from ressearch.results.ranking import Objective, ranked_table
        from ressearch.results.run_file import is_alive

    results = load(directory)
    trials = results.trials
    counts = {str(name): int(count) for name, count in trials["status"].value_counts().items()}
    objective = Objective.of(results.run)
    done = ranked_table(results.trials, objective)
    best = None if done.empty else done.iloc[0]
    is_running = is_alive(results.run, results.directory)
    if as_json:
        print_json(
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
                    objective.column: float(best[objective.column]),
                },
            }
        )
        return
    progress = results.progress
    state = "running" if is_running else "complete" if progress.is_complete else "not complete"
    say(f"{results.run['name']}: {state}, {progress.ended} of {progress.planned} trials ended")
    for phase, reason in progress.why.items():
        say(f"{phase:<10} ended: {reason}")
    if not progress.is_complete:
        say(f"to come    {', '.join(progress.missing)}")
    for note in results.notes:
        say(f"damaged    {note}")
    if state == "not complete":
        say(f"to go on   ressearch resume {directory}")
    say("trials     " + (", ".join(f"{count} {name}" for name, count in counts.items()) or "none yet"))
    if best is not None:
        by = "" if objective.column == "val_accuracy" else f", {objective.words} {best[objective.column]:.4g}"
        if (latency := best.get("latency")) is not None and latency > 0:  # NaN where the study did not ask for it
            by += f", {format_milliseconds(latency)}"
        say(f"best       {best['val_accuracy']:.4f} {best['name']}{by}")
    for _, row in trials[trials["status"].isin(["failed", "diverged"])].head(5).iterrows():
        say(f"{row['status']:<10} trial {row['trial']}: {row['reason']}")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="File to write [standard output].")
@with_force
@with_plugins
def schema(out: Path | None, force: bool) -> None:
    """Print the JSON Schema of study files, for editors."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.search.schema import schema_text

    if out is None:
        say(schema_text().rstrip())
        return
    require_free(out, force)
    out.write_text(schema_text(), encoding="utf-8")
    say(str(out))


__all__ = ["check", "resume", "run", "schema", "status"]
