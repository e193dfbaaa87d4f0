"""The page: one self-contained HTML file and one Markdown file from the same content, with figures and CSV tables."""

from __future__ import annotations

import datetime
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from ressearch.reporting import plots  # noqa: F401  (registers the plots)
from ressearch.reporting.figures import PLOTS, Plot, style
from ressearch.reporting.statistics import Interval, mean_interval, proportion_error
from ressearch.reporting.tables import PageTable, csv_tables, finalists_table, page_tables
from ressearch.results import Results
from ressearch.results.ranking import Objective, ranked_table
from ressearch.results.status import Status
from ressearch.units import format_count

UNFINISHED = ".unfinished"
"""The directory, in a report's, in which its files are made before they take their places."""


@dataclass(frozen=True)
class Content:
    """What a report says, before it is laid out."""

    title: str
    question: str
    answer: str
    state: str
    figures: list[Plot]
    tables: dict[str, PageTable]
    method: list[str]
    facts: dict[str, str]
    study_text: str
    overrides: dict[str, str]


def compose(results: Results) -> Content:
    """Compute everything a report says from the results."""
    run = results.run
    with style():
        made = [maker(results) for maker in PLOTS.values()]
    figures = [one for one in made if one is not None]
    return Content(
        title=run["name"],
        question=run["question"],
        answer=_answer(results, figures),
        state=_state(results),
        figures=figures,
        tables=page_tables(results),
        method=_method(results),
        facts=_facts(results),
        study_text=results.study_text.rstrip(),
        overrides=run["overrides"],
    )


def _answer(results: Results, figures: list[Plot]) -> str:
    final = finalists_table(results)
    results = results.phase("search")
    objective = Objective.of(results.run)
    done = ranked_table(results.trials, objective)
    if done.empty:
        return "No trial has trained every epoch yet."
    best = done.iloc[0]
    interval = mean_interval(list(best["seed_val_accuracies"])).within(0, 1)
    text = (
        f"The best of {len(done)} fully trained networks is {best['name']} (depth {best['depth']}, "
        f"{format_count(best['params'])} parameters, {format_count(best['macs'])} MACs): "
        f"validation accuracy {interval}"
        + ("." if objective.column == "val_accuracy" else f", {objective.words} {best[objective.column]:.4g}.")
    )
    if not final.empty:
        first = final.iloc[0]
        text += (
            f" Trained again on {first['seeds']} fresh seeds, {first['name']} reaches a test accuracy of "
            f"{Interval(first['test_accuracy'], first['test_low'], first['test_high'], first['seeds']).within(0, 1)}."
        )
    is_grid = results.run["study"]["space"]["grid"] is not None
    if is_grid and figures and figures[0].name == "depth_accuracy":
        return f"{figures[0].headline or figures[0].sentence} {text}"
    return text


def _state(results: Results) -> str:
    searched = results.phase("search").trials
    counts = searched["status"].value_counts()
    listed = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none started"
    planned = results.run["planned_trials"]
    study = results.run["study"]
    is_open = study["space"]["grid"] is None and study["search"]["trials"] is None
    of = "" if is_open else f" of {planned} planned"
    used = len(results.phase("final").trials)
    test = "the test split was not used" if not used else f"the test split scored {used} finalists, once, at the end"
    missing = results.progress.missing
    to_come = f" The study is not complete (to come: {', '.join(missing)})." if missing else ""
    return f"{len(searched)}{of} trials: {listed}.{to_come} Accuracies are on validation data unless said; {test}."


def _method(results: Results) -> list[str]:
    run = results.run
    study, examples = run["study"], run["examples"]
    recipe = study["recipe"]
    seeds = len(recipe["seeds"])
    done = results.phase("search").trials
    done = done[done["status"] == Status.COMPLETED]
    finals = results.phase("final").trials
    typical = done["val_accuracy"].max() if len(done) else 0.5
    lines = [
        f"Data: {run['data_source']}. Split once by seed {study['seed']}, stratified by class, into "
        f"{examples['train']} training, {examples['validation']} validation and {examples['test']} test examples "
        f"(fingerprint {run['split_fingerprint']}). Normalised by the training part.",
        (
            "The test split was not used: every accuracy here is a validation accuracy, and the validation split also "
            "ranked the networks, so the best of many is flattered by the choice."
            if finals.empty
            else f"The validation split ranked the networks, so its best is flattered by the choice. The {len(finals)} "
            f"finalists were trained again on {len(finals.iloc[0]['seeds'])} seeds that the search had not used, and "
            "only then scored on the test split."
        ),
        f"Each trial trained {seeds} {'replicates (seeds)' if seeds > 1 else 'replicate (one seed)'} of one network. "
        + (
            "Intervals are 95 % Student-t intervals over seeds. They cover initialisation and data order, not the "
            "choice of validation examples"
            if seeds > 1
            else "With one seed there are no intervals. The choice of validation examples alone"
        )
        + (
            f": {examples['validation']} of them alone leave an accuracy of {typical:.3f} uncertain by about "
            f"±{proportion_error(typical, examples['validation']):.3f}."
        ),
        f"Recipe: {recipe['optimizer']}, {_lr(recipe)}, {recipe['schedule']} schedule, "
        f"{recipe['epochs']} epochs, batches of {recipe['batch_size']}, weight decay {recipe['weight_decay']:g} on "
        f"weights only, augmentation {', '.join(recipe['augmentation']) or 'none'}; the same for every network.",
    ]
    search = study["search"]
    if study["space"]["grid"] is None:
        sampler = (search["sampler"] or {"name": "tpe"})["name"]
        lines.append(
            f"Search: {len(results.phase('search').trials)} trials proposed by {sampler}, "
            f"scheduled by {search['scheduler']['name']}"
            + (f" (on {search['objective'][0]}). " if len(search["objective"]) > 1 else ". ")
            + (f"Budget: {_budget(search['budget'])}. " if any(search.get("budget", {}).values()) else "")
            + "A network that exceeds the constraints, or was proposed before, is not proposed."
        )
    else:
        lines.append(f"Search: none; every combination of the grid was trained ({search['scheduler']['name']}).")
        lines += [
            f"Left out as no network: {count} {'combinations' if count > 1 else 'combination'} ({reason})."
            for reason, count in run.get("refused_points", {}).items()
        ]
    if (match := _match(study)) is not None:
        lines.append(
            f"Every network's width was solved for, so that it costs {match['target']} {match['match']}; those trained "
            f"have {format_count(results.trials[match['match']].min())} to "
            f"{format_count(results.trials[match['match']].max())}."
        )
    lines.append("Comparisons of several pairs are not corrected for their number.")
    return lines


def _budget(budget: dict[str, Any]) -> str:
    """Say what bounded the search."""
    said = {"epochs": "{:.0f} epochs", "macs_trained": "{:.3g} MACs trained", "wall_time": "{:g} s"}
    return ", ".join(said[key].format(value) for key, value in budget.items() if value is not None)


def _lr(recipe: dict[str, Any]) -> str:
    """Say the learning rate as the recipe gives it."""
    lr = recipe["lr"]
    if not isinstance(lr, dict):
        said = f"peak learning rate {lr:g}"
    elif "tune" in lr:
        said = f"peak learning rates {', '.join(f'{one:g}' for one in lr['tune'])}, each tried on every network"
    else:
        said = f"peak learning rate {lr['base']:g} at width {lr['base_width']}, carried to other widths by muP"
    if recipe.get("lr_batch_size"):
        said += f" (for batches of {recipe['lr_batch_size']}, scaled by the {recipe['lr_rule']} rule)"
    return said


def _match(study: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the study file says of a width matched to a cost, if it does."""
    space = study["space"]["grid"] or study["space"]["search"]
    width = space.get("width")
    return width if isinstance(width, dict) and "match" in width else None


def _facts(results: Results) -> dict[str, str]:
    run = results.run
    facts = {"command": run["command"]}
    start = datetime.datetime.fromisoformat(run["started_at"])
    facts["started"] = f"{start:%Y-%m-%d %H:%M} UTC"
    if run["ended_at"]:
        seconds = (datetime.datetime.fromisoformat(run["ended_at"]) - start).total_seconds()
        facts["wall time"] = f"{seconds:.0f} s, Ray's start included"
    if run.get("class_counts"):
        counts = run["class_counts"].values()
        facts["classes"] = f"{len(counts)}, from {min(counts)} to {max(counts)} examples each; {run.get('memory', '')}"
    machine = run["machine"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    facts["machine"] = f"{machine['system']}, {machine['cpu_cores']} CPU cores, {gpus}"
    if (cpus := run["cpus_per_trial"]) is not None:  # known once a study's trials begin
        facts["trials at once"] = (
            f"{run['concurrency']}, each with {cpus:g} CPU cores and {run['gpus_per_trial'] or 0:g} GPUs"
        )
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return facts


def write(results: Results, directory: Path) -> Path:
    """Write `report.html`, `report.md`, `figures/` and `tables/` into a directory; returns the HTML file.

    They take their places once all are made, `report.html` first: a report that was interrupted is made anew.
    """
    content = compose(results)
    part = directory / UNFINISHED
    is_new = not directory.exists()
    shutil.rmtree(part, ignore_errors=True)
    try:
        for one in ("figures", "tables"):
            (part / one).mkdir(parents=True)
        _write_files(results, content, part)
        files = [file for file in part.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: file.name != "report.html"):
            target = directory / file.relative_to(part)
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if is_new and directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
    return directory / "report.html"


def _write_files(results: Results, content: Content, directory: Path) -> None:
    svgs: dict[str, Markup] = {}
    for one in content.figures:
        one.figure.savefig(directory / "figures" / f"{one.name}.png", dpi=150)
        text = io.StringIO()
        one.figure.savefig(text, format="svg", metadata={"Date": None})
        (directory / "figures" / f"{one.name}.svg").write_text(text.getvalue(), encoding="utf-8")
        svgs[one.name] = Markup(text.getvalue()[text.getvalue().index("<svg") :])
    for name, table in csv_tables(results).items():
        _plain_lists(table).to_csv(directory / "tables" / f"{name}.csv", index=False)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ressearch.reporting"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for template, name in (("report.html.j2", "report.html"), ("report.md.j2", "report.md")):
        text_out = environment.get_template(template).render(content=content, svgs=svgs, markdown=_markdown)
        (directory / name).write_text(text_out, encoding="utf-8")


def _plain_lists(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with lists as JSON, which every reader of CSV can parse."""

    def plain(value: Any) -> Any:
        return json.dumps(value.tolist()) if isinstance(value, np.ndarray) else value

    lists_plain: pd.DataFrame = table.apply(lambda column: column.map(plain) if column.dtype == object else column)
    return lists_plain


def _markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [[str(name) for name in table.columns], ["---"] * len(table.columns)]
    rows += [[str(value).replace("|", "\\|") for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
