"""Views of the trial table: one row a replicate, and the share of a study that was spent on what."""

from __future__ import annotations

import pandas as pd

from ressearch.results.store import Results


def replicates(results: Results) -> pd.DataFrame:
    """Return one row for each replicate at the last epoch it trained.

    Columns: those of the learning curves, and of its trial name, status, depth, params, macs, block, skip and
    norm_order (the trial's own means are left out).
    """
    last = results.curves.sort_values("epoch").groupby(["trial", "seed"], as_index=False).last()
    columns = ["trial", "name", "status", "depth", "params", "macs", "block", "skip", "norm_order"]
    return last.merge(results.trials[columns], on="trial").sort_values(["trial", "seed"], ignore_index=True)


def spent(results: Results) -> pd.DataFrame:
    """Return what the study spent, one row a status (the failed and stopped ones too) and a total.

    Columns: trials, epochs (summed over replicates), macs_trained, train_seconds, device_seconds.
    """
    trials = results.trials.copy()
    trials["replicate_epochs"] = trials["epochs"] * trials["seeds"].map(len)
    sums = {
        "trials": ("trial", "count"),
        "replicate_epochs": ("replicate_epochs", "sum"),
        "macs_trained": ("macs_trained", "sum"),
        "train_seconds": ("train_seconds", "sum"),
        "device_seconds": ("device_seconds", "sum"),
    }
    table = trials.groupby("status").agg(**sums)
    table.loc["total"] = table.sum()
    return table.astype({"trials": int, "replicate_epochs": int})
