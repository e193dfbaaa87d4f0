"""The proposer: what Ray Tune asks for the next architecture. It walks the grid, or asks an Optuna study and tells it
what each trial reached. Networks that exceed the budget, describe nothing, or were proposed before are not proposed.

Tune's own restore is not used: it can lose the searcher's state or trials that were starting (ray-project/ray#30861,
#14667), and its snapshots grow with the number of trials (#64231). A resumed study asks a new proposer, made from what
is on record: trials that ended are not proposed again, those that were training come first, and Optuna's storage,
which holds what the sampler was told, is brought in line with the record.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from ressearch.architecture import Architecture
from ressearch.cost import cost, measure_latency
from ressearch.domains import label
from ressearch.errors import ArchitectureError, BudgetError, SpaceError, StudyError
from ressearch.proposals import Answers, RandomTrial
from ressearch.results.schema import architecture_of, is_open
from ressearch.search.resources import trial_device
from ressearch.search.samplers import SAMPLERS
from ressearch.search.study import OBJECTIVES, Study

_ASKS = 200
"""Proposals of the sampler that may be refused before one is drawn at random instead."""

OPTUNA_FILE = "optuna.journal"
"""The Optuna study's storage, in the study directory; ``optuna-dashboard`` opens it."""

_DIRECTIONS = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}

Row = Mapping[str, Any]
"""A row of the trial table."""

Point = tuple[Architecture, float | None]
"""What a trial trains: an architecture and, where rates are tuned, a learning rate."""


class Fixed(Searcher):
    """Proposes what it is given: trials that were interrupted first, then the others of a list.

    Args:
        configs: of the trials, in order, as `TrialTrainable` takes them.
        study: whose objective Tune watches.
    """

    def __init__(self, study: Study, configs: Iterator[dict[str, Any]]) -> None:
        objective = study.search.objective[0]
        super().__init__(metric=objective, mode=OBJECTIVES[objective])
        self._configs = configs

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing: a run is rebuilt from our journal, which loses no trial."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, or FINISHED."""
        return next(self._configs, Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn nothing."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing."""


def config_of(study: Study, row: Row) -> dict[str, Any]:
    """Return the config of a trial on record."""
    architecture, lr = _point(study, row)
    return {"trial": row["trial"], "architecture": architecture.to_dict(), "lr": lr}


def _point(study: Study, row: Row) -> Point:
    is_tuned = len(study.recipe.lrs) > 1
    return architecture_of(row), json.loads(row["recipe"])["lr"] if is_tuned else None


class Proposer(Fixed):
    """Proposes a study's architectures, in the order of the grid or as Optuna's sampler chooses.

    Args:
        study: whose.
        rows: the search's trials on record, if it is resumed.
        directory: the study directory, for Optuna's storage; None keeps it in memory.
    """

    def __init__(self, study: Study, rows: Sequence[Row] = (), directory: Path | None = None) -> None:
        super().__init__(study, iter(()))
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # TPE's `group`, which conditional keys need, has been marked experimental since Optuna 2.8.
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._study = study
        self._next_trial = len(rows)
        self._open = deque(row for row in rows if is_open(row))
        self._seen: set[Point] = {_point(study, row) for row in rows}
        self._asked: dict[str, tuple[optuna.Trial, Architecture]] = {}
        self._trials: dict[int, optuna.Trial] = {}
        self._grid: Iterator[Point] | None = None
        self._is_quick = quick(study)
        named = study.search.sampler
        if study.space.form == "grid" or (named is not None and named.name == "grid"):
            every = itertools.product(study.search_space.enumerate(), study.recipe.lrs)
            self._grid = (point for point in every if point not in self._seen and self._is_quick(point[0]))
            return
        known = _known_trials(study)
        self._seen |= {one.point for one in known if one.is_same}
        sampler = SAMPLERS[named.name if named else "tpe"].make(study.seed, **(named.options if named else {}))
        self._optuna = optuna.create_study(
            storage=_storage(study, directory),
            study_name=study.name,
            load_if_exists=True,
            directions=[_DIRECTIONS[OBJECTIVES[name]] for name in study.search.objective],
            sampler=sampler,
        )
        self._names = deque(point for point in study.search.points if isinstance(point, str))
        self._random = RandomTrial(study.seed + len(rows))
        before = self._optuna.get_trials(deepcopy=False)
        if before:
            self._bring_in_line(before, rows)
            if isinstance(sampler, optuna.samplers.RandomSampler):
                asked = sum(trial.state != TrialState.WAITING for trial in before) - len(known)
                self._draw_again(sampler, asked)
            return
        for one in known:
            self._optuna.add_trial(one.trial)
        self._enqueue(self._optuna)

    def _bring_in_line(self, trials: Sequence[optuna.trial.FrozenTrial], rows: Sequence[Row]) -> None:
        """Tell Optuna's storage how trials on record ended, where a kill came before it was told."""
        by_proposal = {row["proposal"]: row for row in rows if row["proposal"] is not None}
        for frozen in trials:
            if frozen.state != TrialState.RUNNING:
                continue
            trial = optuna.Trial(self._optuna, frozen._trial_id)
            row = by_proposal.get(frozen.number)
            if row is None:  # proposed, but never started
                self._optuna.tell(trial, state=TrialState.FAIL)
            elif is_open(row):
                self._trials[row["trial"]] = trial
            else:
                self._tell(trial, architecture_of(row), row if row["val_accuracy"] is not None else None)

    def _enqueue(self, optuna_study: optuna.Study) -> None:
        for point in self._study.search.points:
            if isinstance(point, dict):
                optuna_study.enqueue_trial({key: label(value) for key, value in point.items()})

    def _draw_again(self, sampler: optuna.samplers.BaseSampler, proposals: int) -> None:
        """Have a random sampler draw what it drew before, so that it goes on as if it had not been stopped."""
        again = optuna.create_study(sampler=sampler)
        self._enqueue(again)
        for _ in range(proposals):
            with contextlib.suppress(_Refused):
                self._draw(again.ask())

    def _draw(self, trial: optuna.Trial) -> Point:
        """Ask a trial for a point. Raises as `SearchSpace.suggest`."""
        lrs = self._study.recipe.lrs
        try:
            architecture = self._study.search_space.suggest(trial)
        except (ArchitectureError, BudgetError) as error:
            raise _Refused from error
        lr: Any = trial.suggest_categorical("lr", lrs) if len(lrs) > 1 else lrs[0]
        if not self._is_quick(architecture):
            raise _Refused
        return architecture, lr

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's number and architecture, or FINISHED."""
        if self._open:
            row = self._open.popleft()
            if row["trial"] in self._trials:
                self._asked[trial_id] = (self._trials[row["trial"]], architecture_of(row))
            return config_of(self._study, row)
        if self._next_trial >= self._study.planned_trials:
            return Searcher.FINISHED
        columns: dict[str, Any] = {}
        if self._grid is not None:
            point = next(self._grid, None)
        else:
            point, columns = self._ask(trial_id)
        if point is None:
            return Searcher.FINISHED
        self._seen.add(point)
        self._next_trial += 1
        architecture, lr = point
        return {"trial": self._next_trial - 1, "architecture": architecture.to_dict(), "lr": lr, "columns": columns}

    def _ask(self, trial_id: str) -> tuple[Point | None, dict[str, Any]]:
        """Return the next point, None if there is none left, and columns of the trial table that come with it."""
        space, lrs = self._study.search_space, self._study.recipe.lrs
        while self._names:
            point: Point = (Architecture.from_name(self._names.popleft()), lrs[0])
            if point not in self._seen and self._is_quick(point[0]):
                return point, {}
        for _ in range(_ASKS):
            trial = self._optuna.ask()
            try:
                point = self._draw(trial)
            except _Refused:
                self._optuna.tell(trial, state=TrialState.FAIL)
                continue
            if point in self._seen:
                self._optuna.tell(trial, state=TrialState.FAIL)
                continue
            self._asked[trial_id] = (trial, point[0])
            return point, {"proposal": trial.number, "answers": json.dumps(trial.params)}
        # The sampler insists on what was refused: take a fresh network at random, as a search's start does.
        for _ in range(_ASKS):
            point = space.sample_one(self._random), self._random.suggest_categorical("lr", lrs)
            if point not in self._seen and self._is_quick(point[0]):
                return point, {}
        every = () if math.isinf(space.size) else itertools.product(space.enumerate(), lrs)
        return next((one for one in every if one not in self._seen and self._is_quick(one[0])), None), {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass the first objective's value after each epoch on (single-objective samplers read it)."""
        if trial_id in self._asked and self.metric in result and len(self._study.search.objective) == 1:
            self._asked[trial_id][0].report(result[self.metric], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna what the trial reached: its objectives, pruned early, or failed."""
        if trial_id not in self._asked:
            return
        trial, architecture = self._asked.pop(trial_id)
        is_scored = not error and result and self.metric in result
        self._tell(trial, architecture, result if is_scored else None)

    def _tell(self, trial: optuna.Trial, architecture: Architecture, result: Row | None) -> None:
        objectives = self._study.search.objective
        if result is None:
            self._optuna.tell(trial, state=TrialState.FAIL)
            return
        epochs = result["epoch"] if "epoch" in result else result["epochs"]
        if epochs < self._study.recipe.epochs and len(objectives) == 1:
            self._optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self._optuna.tell(trial, [self._value(name, architecture, result) for name in objectives])

    def _value(self, objective: str, architecture: Architecture, result: Row) -> float:
        if objective in ("val_accuracy", "val_loss"):
            return float(result[objective])
        space = self._study.search_space
        return float(getattr(cost(architecture, space.input_shape, space.num_classes), objective))


def quick(study: Study) -> Callable[[Architecture], bool]:
    """Return a test of a network's latency against the study's bound; measured once a network."""
    bound = study.search.constraints.max_latency
    if bound is None:
        return lambda architecture: True
    space, threads = study.search_space, max(1, round(study.resources.cpus_per_trial))
    device = trial_device(study.resources.gpus_per_trial)

    @functools.cache
    def is_quick(architecture: Architecture) -> bool:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            seconds = measure_latency(architecture, space.input_shape, space.num_classes, device=device)
        finally:
            torch.set_num_threads(before)
        return 1000 * seconds <= bound

    return is_quick


class _Refused(Exception):
    """A sampler proposed what is no network, or too dear."""


def _storage(study: Study, directory: Path | None) -> Any:
    """Return Optuna's storage: the study's URL, else a journal file in its directory, else memory."""
    if study.search.storage is not None:
        return study.search.storage
    if directory is None:
        return None
    file = directory / OPTUNA_FILE
    try:
        return JournalStorage(JournalFileBackend(str(file)))
    except (ValueError, KeyError) as error:
        raise StudyError(f"{file}: damaged: {str(error).splitlines()[0]}; remove it to go on without it") from None


class _Known(NamedTuple):
    """A result of an earlier study: as Optuna takes it, its point, and whether running it again would tell nothing."""

    trial: optuna.trial.FrozenTrial
    point: Point
    is_same: bool


def _known_trials(study: Study) -> list[_Known]:
    """Return the results of earlier studies that lie in this study's space."""
    from ressearch.results import load

    known: list[_Known] = []
    space, lrs = study.search_space, study.recipe.lrs
    for directory in study.search.warm_start:
        results = load(directory)
        is_same_data = results.run["split_fingerprint"] == study.splits().fingerprint
        trials = results.trials
        done = trials[(trials["status"] == "completed") & (trials["phase"] == "search") & trials["answers"].notna()]
        for row in done.to_dict("records"):
            answers = json.loads(row["answers"])
            recorder = _Recorder(answers)
            try:
                architecture = space.suggest(recorder)
                lr = recorder.suggest_categorical("lr", lrs) if len(lrs) > 1 else lrs[0]
            except (SpaceError, ArchitectureError, BudgetError):
                continue
            trial = optuna.trial.create_trial(
                values=[float(row[name]) for name in study.search.objective],
                params=recorder.given,
                distributions=recorder.distributions,
            )
            is_same = is_same_data and row["recipe"] == study.recipe.with_lr(lr).model_dump_json()
            known.append(_Known(trial, (architecture, lr), is_same))
    return known


class _Recorder(Answers):
    """Known answers, and the distribution that each is from."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(answers)
        self.distributions: dict[str, optuna.distributions.BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.distributions[name] = optuna.distributions.CategoricalDistribution(choices)
        return super().suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.distributions[name] = optuna.distributions.IntDistribution(low, high, log=log, step=step)
        return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.distributions[name] = optuna.distributions.FloatDistribution(low, high, log=log, step=step)
        return super().suggest_float(name, low, high, step=step, log=log)
