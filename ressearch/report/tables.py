"""The tables of a report, as DataFrames: exact in CSV, rounded for the page."""

from __future__ import annotations

import pandas as pd

from ressearch.cost import format_count
from ressearch.report.plots import depth_table
from ressearch.report.statistics import mean_interval
from ressearch.results import Results
from ressearch.results.aggregate import spent

_LISTED = 10


def best_table(results: Results) -> pd.DataFrame:
    """Return the fully trained networks, the best validation accuracy first, with intervals over seeds."""
    done = results.trials[results.trials["status"] == "completed"]
    done = done.sort_values(["val_accuracy", "macs"], ascending=[False, True])
    columns = [
        "trial",
        "name",
        "depth",
        "params",
        "macs",
        "val_accuracy",
        "train_accuracy",
        "seed_val_accuracies",
    ]
    table = done[columns].reset_index(drop=True)
    intervals = [mean_interval(list(values)) for values in table.pop("seed_val_accuracies")]
    table.insert(6, "val_low", [one.low for one in intervals])
    table.insert(7, "val_high", [one.high for one in intervals])
    table.insert(8, "seeds", [one.n for one in intervals])
    return table


def unfinished_table(results: Results) -> pd.DataFrame:
    """Return the trials that did not train every epoch for another reason than the scheduler's."""
    odd = results.trials[~results.trials["status"].isin(["completed", "stopped"])]
    return odd[["trial", "name", "status", "reason", "epochs"]].reset_index(drop=True)


def page_tables(results: Results) -> dict[str, tuple[str, pd.DataFrame]]:
    """Return the tables shown on the page: by file name, (title, rounded table)."""
    tables: dict[str, tuple[str, pd.DataFrame]] = {}
    best = best_table(results)
    if not best.empty:
        tables["best"] = ("The best networks", _rounded(best.head(_LISTED)))
    depths = depth_table(results)
    if not depths.empty and depths["depth"].nunique() > 1:
        shown = depths.rename(columns={"mean": "val_accuracy", "low": "val_low", "high": "val_high"})
        tables["depths"] = ("Accuracy by depth", _rounded(shown.drop(columns=["trial"])))
    odd = unfinished_table(results)
    if not odd.empty:
        tables["unfinished"] = ("Trials that did not finish", odd)
    budget = spent(results).reset_index()
    tables["spent"] = ("What the study spent", _rounded(budget))
    return tables


def csv_tables(results: Results) -> dict[str, pd.DataFrame]:
    """Return the tables written as CSV, exact: every trial, every epoch, and those of the page."""
    return {
        "trials": results.trials,
        "curves": results.curves,
        "best": best_table(results),
        "depths": depth_table(results),
        "spent": spent(results).reset_index(),
    }


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    shown = table.copy()
    for column in shown.columns:
        if column in ("params", "macs", "activations", "macs_trained"):
            shown[column] = shown[column].map(format_count)
        elif column in ("train_seconds", "device_seconds"):
            shown[column] = shown[column].map(lambda value: f"{value:.1f}")
        elif pd.api.types.is_float_dtype(shown[column]):
            shown[column] = shown[column].map(lambda value: "–" if pd.isna(value) else f"{min(value, 1.0):.3f}")
    return shown.rename(columns=lambda name: name.replace("_", " "))
