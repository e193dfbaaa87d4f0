"""The tables of a report, as DataFrames: exact in CSV, rounded for the page."""

from __future__ import annotations

import functools
from typing import NamedTuple

import pandas as pd

from ressearch.reporting.claims.agreement import shared
from ressearch.reporting.claims.budgets import budget_steps
from ressearch.reporting.claims.lines import depth_lines
from ressearch.reporting.evidence import COSTS, Evidence
from ressearch.results import Results
from ressearch.results.aggregate import spent
from ressearch.results.ranking import COSTS as COST_COLUMNS
from ressearch.results.ranking import Objective
from ressearch.results.status import Status
from ressearch.statistics.intervals import hypervolume, mean_interval, pareto_front
from ressearch.units import format_count, format_milliseconds

_LISTED = 50
"""Networks that the page lists; the table on disk has all."""

_UNFINISHED = 50


@functools.lru_cache(maxsize=4)
def best_table(evidence: Evidence) -> pd.DataFrame:
    """Return the networks, the best first, with their mean accuracies and 95 % Student intervals over seeds.

    The best by their accuracies given all networks; of a study with another first objective, by that.
    """
    table = evidence.networks
    kept = ["network", "name", *(key for key in ("depth", *COSTS[:2]) if key in table)]
    intervals = [mean_interval(list(evidence.scores[int(one)])) for one in table["network"]]
    best = table[kept].assign(
        val_accuracy=[one.mean for one in intervals],
        val_low=[one.low for one in intervals],
        val_high=[one.high for one in intervals],
        seeds=[one.n for one in intervals],
    )
    if evidence.train_scores:
        best["train_accuracy"] = [float(evidence.train_scores[int(one)].mean()) for one in table["network"]]
    if evidence.results is None:
        return best.iloc[evidence.order].reset_index(drop=True)
    objective = Objective.of(evidence.results.run)
    if objective.column not in best:
        best[objective.column] = table["objective"].to_numpy()
    best = best.iloc[evidence.order].reset_index(drop=True)
    return best.rename(columns={"network": "trial"})


@functools.lru_cache(maxsize=4)
def depths_table(evidence: Evidence) -> pd.DataFrame:
    """Return the networks of every line of depth, with their means and 95 % Student intervals over seeds."""
    best = best_table(evidence)
    number = "trial" if "trial" in best else "network"
    rows = best.set_index(number)
    parts = [
        rows.loc[list(line.networks)].reset_index().assign(line=line.label, held=line.held)
        for line in depth_lines(evidence)
    ]
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    return table[
        ["line", "depth", *(key for key in table if key not in ("line", "depth", "held", number)), "held", number]
    ]


@functools.lru_cache(maxsize=4)
def shared_table(evidence: Evidence) -> pd.DataFrame:
    """Return the networks that the first of several studies shares with each other one, with both mean accuracies."""
    first = next(iter(evidence.studies))
    rows = [
        {
            **{key: evidence.rows[one][key] for key in ("name", "depth", *COSTS[:2]) if key in evidence.rows[one]},
            "study": other,
            "val_accuracy": float(evidence.scores[one].mean()),
            "seeds": len(evidence.scores[one]),
            "against": first,
            "val_accuracy_against": float(evidence.scores[base].mean()),
            "seeds_against": len(evidence.scores[base]),
            "network": one,
        }
        for other, pairs in shared(evidence).items()
        for one, base in pairs
    ]
    return pd.DataFrame(rows)


_BUDGETS_NOTE = (
    "Each row holds from its budget to the next one's: the network to take, its accuracy given all networks, "
    "the probability that it is the best of those allowed, how many of them are tied with the best, the cheapest of "
    "these, and between which two the accuracy of the best of them lies with 90 % probability."
)


@functools.lru_cache(maxsize=4)
def budgets_table(evidence: Evidence) -> pd.DataFrame:
    """Return the pick of every budget at once, from the least budget up; nothing where chance is not known."""
    axis, steps = budget_steps(evidence)
    if axis is None:
        return pd.DataFrame()
    names = evidence.networks["name"].astype(str).tolist()
    cost = evidence.networks[axis].to_numpy(dtype=float)
    rows = []
    for step in steps:
        cheapest = min(step.tied, key=lambda one: (cost[one], one), default=step.pick)
        rows.append(
            {
                axis: step.budget,
                "name": names[step.pick],
                "accuracy": float(evidence.standing.estimate[step.pick]),
                "probability": step.probability,
                "of_networks": step.candidates,
                "tied": len(step.tied),
                "cheapest_tied": names[cheapest],
                "best_low": step.low,
                "best_high": step.high,
                "network" if evidence.results is None else "trial": evidence.numbers[step.pick],
            }
        )
    return pd.DataFrame(rows)


def front_table(results: Results) -> pd.DataFrame:
    """Return the Pareto front of a study of several objectives, by its accuracy and its first cost; else nothing."""
    cost = _cost_objective(results)
    done = results.phase("search").trials
    done = done[done["status"] == Status.COMPLETED]
    if cost is None or done.empty or done[cost].isna().any():
        return pd.DataFrame()
    front = pareto_front(done, cost, "val_accuracy")
    measured = ["latency"] if cost == "latency" else []
    return front[["trial", "name", "depth", "params", "macs", *measured, "val_accuracy"]].reset_index(drop=True)


def _cost_objective(results: Results) -> str | None:
    objectives = results.run["study"]["search"]["objective"]
    return next((name for name in objectives if name in COST_COLUMNS), None)


def _front_note(results: Results, front: pd.DataFrame) -> str:
    """Say the front's hypervolume, as a share of the area between chance and 1 and the dearest network's cost."""
    cost = _cost_objective(results)
    assert cost is not None
    dearest, chance = results.phase("search").trials[cost].max(), 1 / results.run["num_classes"]
    area = hypervolume(front[cost].tolist(), front["val_accuracy"].tolist(), dearest, chance)
    said = format_milliseconds(dearest) if cost == "latency" else f"{format_count(dearest)} {cost}"
    return (
        f"Its hypervolume is {area / (dearest * (1 - chance)):.3f} of the most there could be, measured from chance "
        f"({chance:.2f}) and the dearest network tried ({said})."
    )


def finalists_table(results: Results) -> pd.DataFrame:
    """Return the finalists: their score in the search beside what fresh seeds reach, on validation and test data.

    The best in the search comes first; `phase` says whether the search or the random baseline found it.
    """
    trials = results.trials.set_index("trial")
    final = results.phase("final").trials
    rows = []
    for _, row in final[final["status"] == Status.COMPLETED].iterrows():
        first = trials.loc[row["of_trial"]]
        again = mean_interval(list(row["seed_val_accuracies"]))
        test = mean_interval(list(row["seed_test_accuracies"]))
        rows.append(
            {
                "found_by": first["phase"],
                "of_trial": int(row["of_trial"]),
                "name": row["name"],
                "depth": row["depth"],
                "params": row["params"],
                "macs": row["macs"],
                "search_epochs": int(first["epochs"]),
                "epochs": int(row["epochs"]),
                "search_val_accuracy": first["val_accuracy"],
                "fresh_val_accuracy": again.mean,
                "test_accuracy": test.mean,
                "test_low": test.low,
                "test_high": test.high,
                "seeds": test.n,
            }
        )
    return pd.DataFrame(rows)


def _finalists_note(final: pd.DataFrame) -> str:
    """Say how much the choice flattered the finalists: only where they trained as long again as in the search."""
    note = "A score that a network was chosen for is likely to flatter it: "
    alike = final[final["epochs"] == final["search_epochs"]]
    if alike.empty:
        epochs, searched = final["epochs"].iloc[0], final["search_epochs"].iloc[0]
        note += (
            f"here the finalists trained for {epochs} epochs and not for {searched} as in the search, so their "
            "accuracies do not show by how much. "
        )
    else:
        gap = (alike["search_val_accuracy"] - alike["fresh_val_accuracy"]).mean()
        note += (
            "here the finalists' validation accuracy on fresh seeds is "
            f"{abs(gap):.3f} {'lower' if gap > 0 else 'higher'} on average than in the search. "
        )
    return note + "Test intervals are 95 % over seeds."


def unfinished_table(results: Results) -> pd.DataFrame:
    """Return the trials that did not train every epoch for another reason than the scheduler's."""
    odd = results.trials[~results.trials["status"].isin([Status.COMPLETED, Status.STOPPED])]
    return odd[["trial", "name", "status", "reason", "epochs"]].reset_index(drop=True)


class PageTable(NamedTuple):
    """A table as the page shows it: its title, rounded, and a note on how to read it."""

    title: str
    table: pd.DataFrame
    note: str = ""


def page_tables(evidence: Evidence) -> dict[str, PageTable]:
    """Return the tables shown on the page, by file name."""
    tables: dict[str, PageTable] = {}
    if evidence.studies:
        both = shared_table(evidence)
        if not both.empty:
            note = f"The first {_LISTED} of {len(both)}; all are in tables/shared.csv." if len(both) > _LISTED else ""
            tables["shared"] = PageTable("The networks that studies share", _rounded(both.head(_LISTED)), note)
        return tables
    best = best_table(evidence)
    if not best.empty:
        shown = best.head(_LISTED)
        note = "" if len(best) <= _LISTED else f"The first {_LISTED} of {len(best)}; all are in tables/best.csv. "
        note += "Intervals are each network's own; the highest of many means is flattered by the choice."
        tables["best"] = PageTable("The networks, the best first", _rounded(shown), note)
    budgets = budgets_table(evidence)
    if not budgets.empty:
        tables["budgets"] = PageTable("Every budget at once", _rounded(budgets), _BUDGETS_NOTE)
    depths = depths_table(evidence)
    if not depths.empty:
        tables["depths"] = PageTable("Accuracy by depth", _rounded(depths.drop(columns=["held"])))
    if evidence.results is not None:
        tables |= _study_tables(evidence.results)
    return tables


def _study_tables(results: Results) -> dict[str, PageTable]:
    tables: dict[str, PageTable] = {}
    front = front_table(results)
    if not front.empty:
        title = f"The Pareto front of accuracy and {_cost_objective(results)}"
        tables["front"] = PageTable(title, _rounded(front), _front_note(results, front))
    final = finalists_table(results)
    if not final.empty:
        tables["finalists"] = PageTable("The finalists, on fresh seeds", _rounded(final), _finalists_note(final))
    odd = unfinished_table(results)
    if not odd.empty:
        tables["unfinished"] = PageTable("Trials that did not finish", odd.head(_UNFINISHED))
    note = (
        "Every trial counts, the stopped and failed ones too. Replicate epochs sum over seeds; MACs trained count a "
        "backward pass as two forward ones; device seconds are training seconds × the trial's GPUs, or its CPU cores "
        "where it has none."
    )
    tables["spent"] = PageTable("What the study spent", _rounded(spent(results).reset_index()), note)
    return tables


def csv_tables(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the tables written as CSV, exact: every trial, every epoch, and those of the page."""
    if evidence.studies:
        seeds = evidence.replicates.merge(evidence.networks, on="network")
        return {"shared": shared_table(evidence), "seeds": seeds}
    tables = {
        "best": best_table(evidence),
        "budgets": budgets_table(evidence),
        "depths": depths_table(evidence),
    }
    if evidence.results is None:
        return {**tables, "seeds": evidence.replicates.merge(evidence.networks, on="network")}
    results = evidence.results
    return {
        "trials": results.trials,
        "curves": results.curves,
        **tables,
        "finalists": finalists_table(results),
        "spent": spent(results).reset_index(),
    }


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    shown = table.copy()
    for column in shown.columns:
        if column in ("params", "macs", "activations", "macs_trained"):
            shown[column] = shown[column].map(lambda value: "–" if pd.isna(value) else format_count(value))
        elif column == "latency":
            shown[column] = shown[column].map(lambda value: "–" if pd.isna(value) else format_milliseconds(value))
        elif column in ("train_seconds", "device_seconds"):
            shown[column] = shown[column].map(lambda value: f"{value:.1f}")
        elif pd.api.types.is_float_dtype(shown[column]):
            shown[column] = shown[column].map(
                lambda value: "–" if pd.isna(value) else f"{min(max(value, 0.0), 1.0):.3f}"
            )
    return shown.rename(columns=lambda name: name.replace("_", " "))
