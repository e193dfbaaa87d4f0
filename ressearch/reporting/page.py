"""The page: a self-contained HTML file and a Markdown file of the same content, with figures, tables and claims."""

from __future__ import annotations

import datetime
import importlib.resources
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow as pa
from markupsafe import Markup
from pyarrow import csv

from ressearch.reporting import plots, plots_of_studies  # noqa: F401  (registers the plots)
from ressearch.reporting.claims import Claim, claims_of
from ressearch.reporting.claims.headline import headline
from ressearch.reporting.evidence import COST_WORDS, Evidence
from ressearch.reporting.figures import PLOTS, Plot, drawn, for_page, lay_out, style, svg
from ressearch.reporting.tables import PageTable, csv_tables, page_tables
from ressearch.results import Results
from ressearch.units import format_count, listed

UNFINISHED = ".unfinished"
"""The directory, in a report's, in which its files are made before they take their places."""

_TITLES = {
    "depth": "What depth does",
    "comparisons": "Differences, all else equal",
    "scaling": "Scaling",
    "winner": "The best network",
    "finalists": "The finalists, on fresh seeds",
    "budgets": "The pick of each budget",
    "axes": "What paid",
    "populations": "The population of networks",
    "trends": "Where the good networks are",
    "power": "What the seeds could see, and what next",
    "agreement": "Do the studies agree?",
    "choices": "Does a choice change as much in each study?",
    "network_by_network": "Network by network",
    "depth_in_each": "What depth does in each study",
}
_SHOWN = 6
"""Statements of a section in the open; the others are folded away."""


@dataclass(frozen=True)
class Section:
    """A heading, statements, and figures that show them."""

    title: str
    claims: list[Claim]
    folded: list[Claim]
    figures: list[Plot]


@dataclass(frozen=True)
class Content:
    """What a report says, before it is laid out."""

    title: str
    question: str
    answer: list[Claim]
    names: str
    state: str
    sections: list[Section]
    claims: list[Claim]
    tables: dict[str, PageTable]
    method: list[str]
    facts: dict[str, str]
    study_text: str
    overrides: dict[str, str]

    @property
    def figures(self) -> list[Plot]:
        """Every figure, in order."""
        return [one for section in self.sections for one in section.figures]


def compose(evidence: Evidence) -> Content:
    """Compute everything a report says from the evidence."""
    results = evidence.results
    by_analysis = claims_of(evidence)
    with style():
        figures = [one for one in (maker(evidence) for maker in PLOTS.values()) if one is not None]
    answer = headline(evidence, by_analysis)
    sections = _sections(evidence, by_analysis, figures, answer)
    said = [*answer, *(claim for section in sections for claim in (*section.claims, *section.folded))]
    return Content(
        title=evidence.title,
        question=evidence.question,
        answer=answer,
        names=_names(evidence),
        state=_table_state(evidence) if results is None else _state(results),
        sections=sections,
        claims=said,
        tables=page_tables(evidence),
        method=_method_of(evidence, said),
        facts={} if results is None else _facts(results),
        study_text="" if results is None else results.study_text.rstrip(),
        overrides={} if results is None else results.run["overrides"],
    )


def _sections(
    evidence: Evidence, by_analysis: dict[str, list[Claim]], figures: list[Plot], answer: list[Claim]
) -> list[Section]:
    """Return the sections: each analysis with its figures, then figures that stand by themselves."""
    made = []
    known = list(_TITLES)
    for name in sorted(by_analysis, key=lambda one: known.index(one) if one in known else len(known)):
        claims = by_analysis[name]
        rest = [one for one in claims if not any(one is said for said in answer)]
        rest.sort(key=lambda one: -float(one.subject.get("depth", 0) or 0) if one.kind == "difference" else 0.0)
        ours = [one for one in figures if one.about == name]
        if rest or ours:
            shown = _SHOWN if len(rest) > _SHOWN + 2 else len(rest)
            made.append(
                Section(_TITLES.get(name, name.replace("_", " ").capitalize()), rest[:shown], rest[shown:], ours)
            )
    alone = [one for one in figures if one.about not in by_analysis]
    first = [Section(one.title, _figure_claims(one), [], [one]) for one in alone]
    return [*made, *first]


def _figure_claims(one: Plot) -> list[Claim]:
    if one.claims or not one.sentence:
        return list(one.claims)
    method = "read off the figure; descriptive"
    return [Claim("figure", {"figure": one.name}, None, None, None, method, 0, one.sentence)]


def _names(evidence: Evidence) -> str:
    """Explain one network's name in a line, where names are an architecture's."""
    for name in evidence.networks["name"].astype(str):
        block, _, rest = name.partition("-d")
        depths, _, widths = rest.partition("-w")
        widths = widths.split("+")[0].split("-")[0]
        if not depths or not widths or not (depths + widths).replace(".", "").isdigit():
            continue
        count = depths.count(".") + 1
        stages = f"{count} {'stages' if count > 1 else 'stage'}"
        return (
            f"A name such as {name} says: {block} blocks; {depths.replace('.', ', ')} of them in {stages} (d), "
            f"which have {widths.replace('.', ', ')} channels (w); after + what differs from "
            "the default, a network with identity skips. Depth counts the weighted layers along the main path."
        )
    return ""


def _table_state(evidence: Evidence) -> str:
    if evidence.studies:
        return f"{listed([_counted(name, part) for name, part in evidence.studies.items()])}."
    seeds = sorted({len(one) for one in evidence.scores.values()})
    each = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"{len(evidence.networks)} networks, {each} {'seed' if seeds == [1] else 'seeds'} each, from {evidence.title}."
    )


def _counted(name: str, part: Evidence) -> str:
    """Say how many networks a study trained to the end, and on what."""
    count = len(part.networks)
    data = "" if part.results is None else f" ({part.results.run['data_source']})"
    return f"{count} {'networks' if count != 1 else 'network'} of {name}{data}"


def _method_of(evidence: Evidence, said: list[Claim]) -> list[str]:
    lines = list(_method(evidence.results)) if evidence.results is not None else []
    lines += evidence.notes
    kinds: dict[str, list[str]] = {}
    for one in said:
        kinds.setdefault(one.method, [])
        if one.kind not in kinds[one.method]:
            kinds[one.method].append(one.kind)
    lines += [
        f"{', '.join(kind.replace('_', ' ') for kind in named).capitalize()}: {text}." for text, named in kinds.items()
    ]
    lines.append(
        "Every statement above stands in claims.json with its estimate, interval, p-value and number of values."
    )
    return lines


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
    finals = results.phase("final").trials
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
        f"Each trial trained {seeds} {'replicates (seeds)' if seeds > 1 else 'replicate (one seed)'} of one network."
        + ("" if seeds > 1 else " With one seed there are no intervals."),
        f"Recipe: {recipe['optimizer']}, {_lr(recipe)}, {recipe['schedule']} schedule, "
        f"{recipe['epochs']} epochs, batches of {recipe['batch_size']}, weight decay {recipe['weight_decay']:g} on "
        f"weights only, augmentation {', '.join(recipe['augmentation']) or 'none'}; the same for every network.",
    ]
    if (init := run.get("init")) is not None:
        lines.append(
            f"Every replicate started from the weights in {Path(init['file']).name} (SHA-256 {init['sha256']}), so "
            "that seeds differ by the order of the data and augmentation, and by the classifier where it is new: their "
            "spread says nothing of other starting weights."
        )
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


def write(evidence: Evidence, directory: Path) -> Path:
    """Write `report.html`, `report.md`, `claims.json`, `figures/` and `tables/` into a directory.

    Returns the HTML file. They take their places once all are made, `report.html` first: a report that was interrupted
    is made anew.
    """
    content = compose(evidence)
    part = directory / UNFINISHED
    is_new = not directory.exists()
    shutil.rmtree(part, ignore_errors=True)
    try:
        for one in ("figures", "tables"):
            (part / one).mkdir(parents=True)
        _write_files(evidence, content, part)
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


def _write_files(evidence: Evidence, content: Content, directory: Path) -> None:
    figures: dict[str, list[Markup]] = {}
    with style():
        for one in content.figures:
            whole = one.whole()
            lay_out(whole)
            whole.savefig(directory / "figures" / f"{one.name}.png", dpi=110 if len(one.panels) > 4 else 150)
            text = svg(whole)
            (directory / "figures" / f"{one.name}.svg").write_text(text, encoding="utf-8")
            parts = [text] if len(one.panels) <= 1 else [svg(drawn([panel])) for panel in one.panels]
            figures[one.name] = [Markup(for_page(part, f"{one.name}-{at}-")) for at, part in enumerate(parts)]
    for name, table in csv_tables(evidence).items():
        _write_csv(_plain_lists(table), directory / "tables" / f"{name}.csv")
        if name in ("best", "depths", "shared") and not table.empty:
            (directory / "tables" / f"{name}.tex").write_text(_latex(content.tables[name].table), encoding="utf-8")
    said = json.dumps([one.to_dict() for one in content.claims], indent=1, ensure_ascii=False)
    (directory / "claims.json").write_text(said + "\n", encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ressearch.reporting"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        finalize=_in_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = importlib.resources.files("ressearch.reporting").joinpath("templates/report.js").read_text("utf-8")
    for template, name in (("report.html.j2", "report.html"), ("report.md.j2", "report.md")):
        text_out = environment.get_template(template).render(
            content=content,
            figures=figures,
            markdown=_markdown,
            script=Markup(script),
            networks=Markup(_networks(evidence, figures)),
            row_networks=_row_networks,
        )
        (directory / name).write_text(text_out, encoding="utf-8")


@jinja2.pass_eval_context
def _in_markdown(layout: jinja2.nodes.EvalContext, value: Any) -> Any:
    """Return a value of the Markdown page so that nothing in it is taken for HTML; HTML escapes its own."""
    if layout.autoescape or not isinstance(value, str) or isinstance(value, Markup):
        return value
    return value.replace("&", "&amp;").replace("<", "&lt;")


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; one of numbers alone by pyarrow, which takes a fraction of the time for many curves."""
    if table.empty or not all(pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes):
        table.to_csv(path, index=False)
        return
    with path.open("wb") as file:
        file.write((",".join(map(str, table.columns)) + "\n").encode())
        csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), file, csv.WriteOptions(include_header=False))


def _networks(evidence: Evidence, figures: dict[str, list[Markup]]) -> str:
    """Return, as JSON, what a reader is told of each network that a figure or the table of the best shows."""
    text = "".join(str(one) for parts in figures.values() for one in parts)
    shown = {int(one) for one in re.findall(r'data-n="(\d+)"', text)}
    told: dict[str, list[str]] = {}
    for number, row in evidence.rows.items():
        if number not in shown:
            continue
        scores = evidence.scores[number]
        spread = f" ± {scores.std(ddof=1):.3f} (sd)" if len(scores) > 1 else ""
        facts = [f"accuracy {scores.mean():.3f}{spread}, {len(scores)} {'seeds' if len(scores) > 1 else 'seed'}"]
        facts += [f"depth {row['depth']}"] if "depth" in row else []
        costs = [key for key in ("params", "macs") if _is_count(row.get(key))]
        facts += [f"{format_count(int(row[key]))} {COST_WORDS[key]}" for key in costs]
        told[str(number)] = [str(row["name"]), ", ".join(facts)]
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float | np.integer) and bool(np.isfinite(value))


def _row_networks(table: pd.DataFrame) -> list[Any]:
    """Return the number of each row's network, by which a click finds it in the figures; empty where it has none."""
    key = next((one for one in ("network", "trial") if one in table), None)
    return [""] * len(table) if key is None else table[key].tolist()


def _latex(table: pd.DataFrame) -> str:
    """Return a table in LaTeX, for the package booktabs."""
    columns = "".join("l" if one in ("name", "line") else "r" for one in table.columns)
    escaped = [[_escaped(str(one)) for one in row] for row in [list(table.columns), *table.itertuples(index=False)]]
    rows = [" & ".join(row) + r" \\" for row in escaped]
    body = [
        r"\begin{tabular}{" + columns + "}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(body) + "\n"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(one, one) for one in text)


_LATEX = {one: "\\" + one for one in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
}


def _plain_lists(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with lists as JSON, which every reader of CSV can parse."""

    def plain(value: Any) -> Any:
        return json.dumps(value.tolist()) if isinstance(value, np.ndarray) else value

    lists = {str(key): [plain(one) for one in table[key].to_numpy()] for key in table if table[key].dtype == object}
    return table.assign(**lists)


def _markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [[str(name) for name in table.columns], ["---"] * len(table.columns)]
    rows += [[str(value).replace("|", "\\|") for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
