"""What a report is computed from: networks, what each of their seeds reached, and what is known about how.

`of_results` makes it from a study's results and `ressearch.reporting.any_table` from a table of results that were
obtained elsewhere; claims, figures and tables are computed from it alone, so that both get the same report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ressearch.networks.architecture import Architecture
from ressearch.results import Results
from ressearch.results.aggregate import replicates
from ressearch.results.ranking import Objective, fresh_scores
from ressearch.results.schema import architecture_columns
from ressearch.results.status import Status
from ressearch.statistics.means import Floats, Means, means_of
from ressearch.statistics.winner import Standing, standing

COSTS = ("params", "macs", "activations")
"""Columns that say what a network costs."""

COST_WORDS = {"params": "parameters", "macs": "MACs", "activations": "activations"}
"""What they are called in sentences and on axes."""

Correct = Callable[[int], "np.ndarray | None"]


@dataclass(frozen=True, eq=False)  # a key of caches: two are the same if they are one
class Evidence:
    """Networks trained to the end, and what their seeds reached.

    Attributes:
        title: of the report.
        question: that the study asks; may be empty.
        networks: one row for each network: `network` (a number), `name`, the axes, `depth` and costs where known.
        replicates: one row for each network and seed: `network`, `seed`, `val_accuracy` (a fraction), and where known
            `train_accuracy`, `test_accuracy`.
        axes: the columns of `networks` that differ between networks and describe them, depth and width among them.
        is_search: whether the networks were proposed by a sampler rather than laid out as a grid.
        examples: how many examples `val_accuracy` counts; None if not known.
        chance: the accuracy of guessing; None if not known.
        correct: returns which validation examples the seeds of a network had right, shape (seeds, examples), in the
            order of `replicates`, or None.
        fresh: validation accuracies of the seeds that finalists trained anew, by network; they count where networks are
            ranked.
        notes: on how the evidence was put together, for the section on method.
        results: the study; None for a table from elsewhere.
        studies: of studies put side by side, each one's own evidence by the name it goes by; their networks have it as
            `study`. Empty for one study.
    """

    title: str
    question: str
    networks: pd.DataFrame
    replicates: pd.DataFrame
    axes: tuple[str, ...]
    is_search: bool = False
    examples: int | None = None
    chance: float | None = None
    correct: Correct = field(default=lambda network: None)
    fresh: Mapping[int, Sequence[float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    results: Results | None = None
    studies: Mapping[str, Evidence] = field(default_factory=dict)

    @cached_property
    def scores(self) -> dict[int, np.ndarray]:
        """The validation accuracies of each network's seeds."""
        return self._by_network("val_accuracy")

    @cached_property
    def train_scores(self) -> dict[int, np.ndarray]:
        """The training accuracies of each network's seeds; empty if not known of all."""
        if "train_accuracy" not in self.replicates or self.replicates["train_accuracy"].isna().any():
            return {}
        return self._by_network("train_accuracy")

    @cached_property
    def numbers(self) -> list[int]:
        """The networks' numbers, in the order of `networks`."""
        return [int(one) for one in self.networks["network"]]

    @cached_property
    def mean(self) -> Floats:
        """The networks' mean validation accuracies, in the order of `networks`."""
        return np.array([self.scores[one].mean() for one in self.numbers])

    @cached_property
    def seeds(self) -> Floats:
        """How many seeds each network has, in the order of `networks`."""
        return np.array([len(self.scores[one]) for one in self.numbers], dtype=float)

    @cached_property
    def own_variance(self) -> Floats:
        """The variance over each network's own seeds, in the order of `networks`; NaN for one seed."""
        scores = [self.scores[one] for one in self.numbers]
        return np.array([one.var(ddof=1) if len(one) > 1 else np.nan for one in scores])

    @cached_property
    def standing(self) -> Standing:
        """Where the networks stand, in the order of `networks`: by their seeds and the fresh ones."""
        scores = [np.concatenate([self.scores[one], self.fresh.get(one, ())]) for one in self.numbers]
        return standing(scores, 0.0 if self.examples is None else 1 / self.examples)

    @cached_property
    def order(self) -> list[int]:
        """The networks' places in `networks`, the best first, as `ressearch.results.ranking` has it."""
        objective = None if self.results is None else Objective.of(self.results.run)
        if objective is None or objective.column == "val_accuracy":
            value = -self.standing.estimate
        else:
            value = self.networks["objective"].to_numpy(dtype=float) * (-1 if objective.is_more else 1)
        cost = self.networks["macs"] if "macs" in self.networks else np.zeros(len(value))
        return [int(one) for one in np.lexsort((self.networks["network"], cost, value))]

    def _by_network(self, column: str) -> dict[int, np.ndarray]:
        values = self.replicates[column].to_numpy(dtype=float)
        places = self.replicates.groupby("network", sort=False).indices
        return {int(str(network)): values[place] for network, place in places.items()}

    @cached_property
    def rows(self) -> dict[int, dict[str, Any]]:
        """The rows of `networks` by number."""
        listed: list[Any] = self.networks.to_dict("records")
        return {int(row["network"]): row for row in listed}

    def means(self, networks: Sequence[int], of_training: bool = False) -> Means:
        """Return the mean accuracies of some networks, with the variances that describe them."""
        scores = self.train_scores if of_training else self.scores
        correct = None if of_training else self._correct_of(networks)
        return means_of([scores[one] for one in networks], correct, 0.0 if self.examples is None else 1 / self.examples)

    def _correct_of(self, networks: Sequence[int]) -> list[np.ndarray] | None:
        found = []
        for one in networks:
            bits = self.correct(one)
            if bits is None or len(bits) != len(self.scores[one]):
                return None
            found.append(bits)
        return found if found else None


_CHOICES = (
    "block",
    "skip",
    "norm_order",
    "shortcut",
    "stem",
    "norm",
    "activation",
    "kernel_size",
    "dropout",
    "zero_gamma",
    "bottleneck_ratio",
    "group_width",
    "se_ratio",
    "se_position",
    "head_width",
)
_DESCRIBED = ("depth", "widths", "strides", "stem_width", "skip_options", *_CHOICES)
"""Columns of the trial table that axes are read from."""


def axes_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a network from others, as single values: depth, the first stage's width, and choices.

    Args:
        row: of the trial table, or the columns that an architecture has in it; reading them needs no plugin.
    """
    widths, strides = (tuple(int(one) for one in row[key]) for key in ("widths", "strides"))
    values: dict[str, Any] = {"depth": int(row["depth"]), "width": widths[0]}
    for key in _CHOICES:
        if key in row:
            values[key] = _single(row[key])
    options = json.loads(row.get("skip_options") or "{}")
    values["skip_options"] = ", ".join(f"{key}={value:g}" for key, value in options.items())
    values["strides"] = ".".join(map(str, strides))
    values["widening"] = ".".join(f"{width / widths[0]:.3g}" for width in widths)
    stem = row.get("stem_width")
    values["stem_width"] = None if stem is None or stem != stem or int(stem) == widths[0] else int(stem)
    return values


def axes_of_architecture(architecture: Architecture) -> dict[str, Any]:
    """Return the same of an architecture."""
    return axes_of({"depth": architecture.depth, **architecture_columns(architecture)})


def _single(value: Any) -> Any:
    """Return a column's value as one that can be compared: what is one per stage as text, nothing as None."""
    if isinstance(value, list | tuple | np.ndarray):
        return _single(value[0]) if len(value) == 1 else ".".join(f"{one:g}" for one in value)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def varying(networks: pd.DataFrame, candidates: Sequence[str]) -> tuple[str, ...]:
    """Return those columns in which the networks differ."""
    return tuple(name for name in candidates if name in networks and networks[name].nunique(dropna=False) > 1)


def with_options(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the networks with the options of a skip style in its name, where they tell networks apart."""
    if "skip_options" not in networks or "skip" not in networks:
        return networks
    told = networks.groupby("skip")["skip_options"].transform("nunique") > 1
    named = networks["skip"] + " " + networks["skip_options"]
    return networks.assign(skip=networks["skip"].where(~told, named.str.strip())).drop(columns="skip_options")


def of_results(results: Results) -> Evidence:
    """Return the evidence of a study: the networks of its search or grid that trained every epoch.

    Of a network that was tried at several learning rates, the rate of the best mean validation accuracy counts.
    """
    run = results.run
    trials = results.phase("search").trials
    trials = trials[trials["status"] == Status.COMPLETED]
    rows: list[Any] = trials[[key for key in _DESCRIBED if key in trials]].to_dict("records")
    described = [axes_of(row) for row in rows]
    networks = pd.DataFrame({"network": trials["trial"].to_numpy(), "name": trials["name"].to_numpy()})
    for key in ("depth", *COSTS):
        networks[key] = trials[key].to_numpy()
    if "latency" in trials and trials["latency"].notna().any():
        networks["latency"] = trials["latency"].to_numpy()
    keys = [] if not described else [key for key in described[0] if key != "depth"]
    for key in keys:
        networks[key] = [one[key] for one in described]
    networks = with_options(networks)
    keys = [key for key in keys if key != "skip_options"]
    networks["objective"] = trials[Objective.of(run).column].to_numpy()
    networks["lr"] = trials["lr"].to_numpy()
    networks, notes = _best_rate(networks, Objective.of(run))
    candidates = ["depth", *keys]
    seeds = _replicates(results, networks["network"].tolist())
    examples = run["examples"]["validation"]
    return Evidence(
        title=run["name"],
        question=run["question"],
        networks=networks,
        replicates=seeds,
        axes=varying(networks, candidates),
        is_search=run["study"]["space"]["grid"] is None,
        examples=examples,
        chance=1 / run["num_classes"],
        correct=results.correct,
        fresh=fresh_scores(results.trials),
        notes=notes,
        results=results,
    )


def _best_rate(networks: pd.DataFrame, objective: Objective) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if networks.empty or not networks["name"].duplicated().any():
        return networks, ()
    ordered = networks.sort_values(["objective", "network"], ascending=[not objective.is_more, True])
    kept = ordered.drop_duplicates("name").sort_values("network", ignore_index=True)
    note = (
        "Networks tried at several learning rates count at their best one by mean validation accuracy, which flatters "
        "each a little."
    )
    return kept, (note,)


def _replicates(results: Results, networks: Sequence[int]) -> pd.DataFrame:
    """Return the last epoch of every seed; by the trial table alone where a learning curve is missing."""
    last = replicates(results)
    last = last[last["trial"].isin(networks)].rename(columns={"trial": "network"})
    table = last[["network", "seed", "val_accuracy", "train_accuracy", "val_loss", "train_loss"]]
    missing = set(networks) - set(table["network"])
    if missing:
        rows: list[Any] = results.trials[results.trials["trial"].isin(missing)].to_dict("records")
        told = [
            {"network": row["trial"], "seed": seed, "val_accuracy": score, "train_accuracy": np.nan}
            for row in rows
            for seed, score in zip(row["seeds"], row["seed_val_accuracies"], strict=True)
        ]
        table = pd.concat([table, pd.DataFrame(told)], ignore_index=True)
    order = {network: place for place, network in enumerate(networks)}
    return table.sort_values(["network", "seed"], key=lambda one: one.map(order) if one.name == "network" else one)


def plain_json(value: Any) -> Any:
    """Return a value as JSON takes it: numpy's numbers as Python's, what is not a number as None."""
    if isinstance(value, dict):
        return {str(key): plain_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain_json(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    json.dumps(value)
    return value
