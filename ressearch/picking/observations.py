"""What a study observed of its networks, and which of its trials were drawn without looking at results."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture
from ressearch.picking.presets import read_presets
from ressearch.picking.verified import read_verified
from ressearch.results.schema import architecture_of
from ressearch.results.status import Status
from ressearch.results.store import Results
from ressearch.search.samplers import SAMPLERS
from ressearch.statistics.means import scores_by_seed

Floats = npt.NDArray[np.float64]

_EVEN = ("random", "qmc", "grid")
"""Samplers that never look at results."""

_HALVINGS = 4
"""At how many earlier epochs, each half of the next, a completed trial is observed too."""


class Observations(NamedTuple):
    """Accuracies of networks after some epochs, one per row.

    Attributes:
        networks: the distinct networks.
        network: index of each row's network.
        share: of the study's epochs that were trained, above 0, at most 1.
        accuracy: mean over seeds.
        variance: of that mean, by the seeds; NaN where nothing says it.
        is_last: whether it is the last epoch that the trial trained.
        is_even: whether the network was drawn without looking at results, or these seeds were.
        floor: the least error that the study's validation part can tell from none.
    """

    networks: tuple[Architecture, ...]
    network: npt.NDArray[np.int64]
    share: Floats
    accuracy: Floats
    variance: Floats
    is_last: npt.NDArray[np.bool_]
    is_even: npt.NDArray[np.bool_]
    floor: float

    def rows(self, chosen: npt.NDArray[Any]) -> Observations:
        """Return some of the rows."""
        return self._replace(
            network=self.network[chosen],
            share=self.share[chosen],
            accuracy=self.accuracy[chosen],
            variance=self.variance[chosen],
            is_last=self.is_last[chosen],
            is_even=self.is_even[chosen],
        )

    @property
    def is_full(self) -> npt.NDArray[np.bool_]:
        """Whether every epoch was trained."""
        return self.share >= 1.0


def observe(results: Results) -> Observations:
    """Return what the trials of a study reached: at their last epochs, and where some were stopped, at earlier ones.

    Networks that were verified, and published ones trained beside the study, are observed too.
    """
    epochs = _epochs(results)
    table: list[dict[str, Any]] = results.trials.to_dict("records")  # type: ignore[assignment]
    trials = [row for row in table if _is_usable(row, epochs)]
    networks: dict[Architecture, int] = {}
    even = drawn_evenly(results)
    rows: list[tuple[Any, ...]] = []
    earlier = _earlier(results) if any(row["epochs"] < epochs for row in trials) else {}
    for row in trials:
        network = networks.setdefault(architecture_of(row), len(networks))
        scores = np.asarray(row["seed_val_accuracies"], float)
        is_even = int(row["trial"]) in even
        rows.append((network, row["epochs"], scores, True, is_even))
        if row["epochs"] == epochs and (curve := earlier.get(int(row["trial"]))):
            at = {epochs >> halving for halving in range(1, _HALVINGS + 1)} - {0, epochs}
            rows += [(network, epoch, np.array(curve[epoch]), False, is_even) for epoch in sorted(at & set(curve))]
    for name, reached, is_even in _beside(results, epochs):
        try:
            architecture = Architecture.from_name(name)
        except ArchitectureError:  # of a plugin that is not loaded, or a damaged line
            continue
        network = networks.setdefault(architecture, len(networks))
        rows.append((network, epochs, np.asarray(reached, float), True, is_even))
    examples = results.run.get("examples", {}).get("validation") or 1000
    step = 1 / examples
    mean, count, variance, _ = scores_by_seed([scores for _, _, scores, _, _ in rows], step)
    return Observations(
        tuple(networks),
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] / epochs for row in rows], float),
        mean,
        variance / count,
        np.array([row[3] for row in rows], bool),
        np.array([row[4] for row in rows], bool),
        step / 2,
    )


def _beside(results: Results, epochs: int) -> Iterator[tuple[str, tuple[float, ...], bool]]:
    """Yield what was trained beside the study to the last epoch: names, accuracies by seed, whether seeds were fresh.

    A verified network was chosen for what was predicted of it, but its seeds were not: intervals are to hold for it. A
    published one was named by somebody.
    """
    for one in read_verified(results.directory):
        yield one.name, one.seed_val_accuracies, True
    for preset in read_presets(results):
        if preset.problem is None and preset.epochs == epochs:
            yield preset.name, preset.seed_val_accuracies, False


def _epochs(results: Results) -> int:
    """Return how many epochs the study's trials train."""
    told = results.run.get("study", {}).get("recipe", {}).get("epochs")
    if told is not None:
        return int(told)
    done = results.trials[results.trials["status"] == Status.COMPLETED]
    return int(done["epochs"].max()) if len(done) else 1


def _is_usable(row: Mapping[str, Any], epochs: int) -> bool:
    """Return whether a trial says how good its network is under the study's recipe."""
    if row["status"] not in (Status.COMPLETED, Status.STOPPED) or not 1 <= row["epochs"] <= epochs:
        return False
    if row["status"] == Status.COMPLETED and row["epochs"] != epochs:  # finalists with another number of epochs
        return False
    scores = row["seed_val_accuracies"]
    return scores is not None and len(scores) > 0 and bool(np.isfinite(np.asarray(scores, float)).all())


def _earlier(results: Results) -> dict[int, dict[int, list[float]]]:
    """Return the seeds' accuracies by trial and epoch; epochs at which one is no number are left out."""
    found: dict[int, dict[int, list[float]]] = {}
    for trial, epoch, score in results.curves[["trial", "epoch", "val_accuracy"]].itertuples(index=False):
        found.setdefault(int(trial), {}).setdefault(int(epoch), []).append(float(score))
    return {
        trial: {epoch: scores for epoch, scores in epochs.items() if np.isfinite(scores).all()}
        for trial, epochs in found.items()
    }


def drawn_evenly(results: Results) -> set[int]:
    """Return the trials whose accuracy had no part in their being there.

    Those are all of a grid, of random and quasi-random search; the first of another sampler, before it looks at
    results; the baseline; and finalists: the network was chosen, but its fresh seeds were not. Networks that the study
    file named were chosen by somebody; after a warm start no proposal is taken for random.
    """
    trials = results.trials
    even = set(trials.loc[trials["phase"].isin(["baseline", "final"]), "trial"].astype(int))
    study = results.run.get("study", {})
    search = study.get("search", {})
    searched = trials[trials["phase"] == "search"]
    named = len(search.get("points") or ())
    sampler = search.get("sampler") or {"name": "grid" if study.get("space", {}).get("grid") else "tpe"}
    if sampler["name"] in _EVEN:
        return even | set(searched.loc[searched["trial"] >= named, "trial"].astype(int))
    if search.get("warm_start"):
        return even
    number = searched["proposal"].astype(float)
    return even | set(searched.loc[(number >= named) & (number < _startup(sampler)), "trial"].astype(int))


def _startup(sampler: Mapping[str, Any]) -> int:
    """Return how many proposals of a sampler are random."""
    if sampler["name"] not in SAMPLERS:
        return 0
    known = inspect.signature(SAMPLERS[sampler["name"]].make).parameters
    for option in ("n_startup_trials", "population_size"):
        if option in known:
            return int((sampler.get("options") or sampler).get(option, known[option].default))
    return 0
