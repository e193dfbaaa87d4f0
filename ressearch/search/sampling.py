"""The Optuna study behind a search: what its sampler is asked, and what it is told.

A sampler is asked once for each trial. Where it proposes what was proposed before, what is no network, or what is
beyond the constraints, it is told so, and a fresh network near its proposal is added to the Optuna study and trained
instead; where nothing near is left, one from anywhere, and in the end each that is left. So a search never stalls and
every result reaches the sampler. A random search draws without replacement; each of its draws follows from the
study's seed and the trial's number alone.
"""

from __future__ import annotations

import contextlib
import json
import random
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import cost
from ressearch.results.ranking import OBJECTIVES
from ressearch.results.schema import architecture_of, is_open
from ressearch.results.status import Status
from ressearch.search.drawing import Drawing, Found, Point
from ressearch.search.neighbours import neighbour
from ressearch.search.optuna_file import OPTUNA_FILE, open_file
from ressearch.search.recorded import answers_of, recipe_values
from ressearch.search.samplers import SAMPLERS
from ressearch.search.study import Study
from ressearch.spaces.trials import FixedTrial

_NEAR = 60
"""How many changed proposals may be refused before a network is drawn from anywhere."""

_NUMBER = "trial"
"""The attribute of an Optuna trial that holds its number in the study."""

_DIRECTIONS = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}
_MEASURED = ("val_accuracy", "val_loss", "latency")
_PRUNED = (Status.STOPPED, Status.DIVERGED)

Row = Mapping[str, Any]
"""A row of the trial table, or a result with the columns that matter."""


class Proposal(NamedTuple):
    """A point to train, and the columns of the trial table that say where it comes from."""

    point: Point
    columns: dict[str, Any]


@dataclass
class _Running:
    """A trial that the Optuna study knows to run, and the epochs whose values it was told."""

    trial: optuna.Trial
    point: Point
    epochs: set[int] = field(default_factory=set)


def point_of(study: Study, row: Row) -> Point:
    """Return the point of a trial on record."""
    is_tuned = len(study.recipe.lrs) > 1
    return architecture_of(row), recipe_values(row)["lr"] if is_tuned else None


class Sampling:
    """Asks an Optuna sampler for points that are new, and tells it what they reached.

    Args:
        study: whose search.
        is_quick: whether a network is fast enough.
        directory: the study directory, for Optuna's file; None keeps the Optuna study in memory.

    Attributes:
        optuna_study: the Optuna study.
        drawing: the points of the space, and which were seen.
        asked: how often the sampler was asked.
        is_new: whether the Optuna study held nothing before.
    """

    def __init__(self, study: Study, is_quick: Callable[[Architecture], bool], directory: Path | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # TPE's `group`, which conditional keys need, has been marked experimental since Optuna 2.8.
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._study, self._objectives = study, study.search.objective
        self.drawing = Drawing(study, is_quick)
        named = study.search.sampler
        name = named.name if named else "tpe"
        self._is_random = name == "random"
        self._batch: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        storage: Any = study.search.storage
        self._is_shared = storage is not None
        if storage is None and directory is not None:
            storage, backend = open_file(directory / OPTUNA_FILE)
            self._batch = backend.batch
        self.optuna_study = optuna.create_study(
            storage=storage,
            study_name=study.name,
            load_if_exists=True,
            directions=[_DIRECTIONS[OBJECTIVES[objective]] for objective in self._objectives],
            sampler=SAMPLERS[name].make(study.seed, **(named.options if named else {})),
        )
        self.is_new = not self._trials()
        self.asked = 0
        self._values: dict[Point, list[float]] = {}
        self._running: dict[int, _Running] = {}
        self._lost: dict[int, Proposal] = {}

    def _trials(self) -> list[FrozenTrial]:
        return self.optuna_study.get_trials(deepcopy=False)

    # Asking

    def lost(self, number: int) -> Proposal | None:
        """Return what was proposed for a trial that was never started, if there is such a proposal."""
        return self._lost.pop(number, None)

    def ask(self, number: int) -> Proposal | None:
        """Return a new point for a trial; None if the space has none left.

        Args:
            number: of the trial; what is drawn at random follows from it.
        """
        chance = random.Random(f"{self._study.seed}:{number}")
        with self._batch():
            if self._is_random:
                found = self.drawing.draw(chance)
                return None if found is None else self.add(found, number)
            trial = self.optuna_study.ask()
            self.asked += 1
            point = self.drawing.point(trial)
            if point is not None and point not in self.drawing.seen:
                return self._begin(trial, point, number)
            found = self._near(trial, chance) or self.drawing.draw(chance)
            self._tell_refused(trial, point)
            return None if found is None else self.add(found, number, _kept(self._trials()[trial.number].system_attrs))

    def _tell_refused(self, trial: optuna.Trial, point: Point | None) -> None:
        """Tell the sampler what is known of a proposal that is not trained."""
        values = self._values.get(point) if point is not None else None
        trial.set_user_attr("not_trained", "proposed before" if point is not None else "no network, or too dear")
        if values is not None:
            self.optuna_study.tell(trial, values)
        else:
            self.optuna_study.tell(trial, state=TrialState.FAIL)

    def _near(self, trial: optuna.Trial, chance: random.Random) -> Found | None:
        """Return a fresh network near a proposal: one answer changed, then two, then three."""
        for attempt in range(_NEAR):
            changes = 1 + attempt // (_NEAR // 3)
            found = self.drawing.fresh(neighbour(trial.params, trial.distributions, changes, chance))
            if found is not None:
                return found
        return None

    def add(self, found: Found, number: int, system_attrs: dict[str, Any] | None = None) -> Proposal:
        """Add a point that the sampler did not propose to its study, as a trial that runs."""
        with self._batch():
            frozen = self._add(found, TrialState.RUNNING, {_NUMBER: number}, system_attrs=system_attrs)
            return self._begin(optuna.Trial(self.optuna_study, frozen._trial_id), found.point, number)

    def _add(self, found: Found, state: TrialState, attributes: dict[str, Any], **parts: Any) -> FrozenTrial:
        noted = found.noted
        trial = create_trial(
            state=state, params=noted.params, distributions=noted.distributions, user_attrs=attributes, **parts
        )
        self.optuna_study.add_trial(trial)
        return self._trials()[-1]

    def _begin(self, trial: optuna.Trial, point: Point, number: int) -> Proposal:
        """Note that a trial runs."""
        self.drawing.seen.add(point)
        if _NUMBER not in trial.user_attrs:
            trial.set_user_attr(_NUMBER, number)
        self._running[number] = _Running(trial, point)
        return Proposal(point, {"proposal": trial.number, "answers": json.dumps(trial.params)})

    # Telling

    def report(self, number: int, result: Row) -> None:
        """Tell the sampler what a running trial reached after an epoch (with one objective; Optuna takes no more)."""
        running = self._running.get(number)
        objective, epoch = self._objectives[0], int(result["epoch"])
        if running is None or len(self._objectives) > 1 or epoch in running.epochs or result.get(objective) is None:
            return
        running.epochs.add(epoch)
        with self._batch():
            running.trial.report(float(result[objective]), epoch)

    def tell(self, number: int, status: str, result: Row | None) -> None:
        """Tell the sampler how a trial ended.

        A trial that the scheduler stopped is told as pruned, with the value after its last epoch where there is one
        objective; with several, Optuna takes no early values, and one would pass for what the trial can reach. A
        trial that diverged is told as pruned too, one that failed as failed.

        Args:
            number: of the trial.
            status: what became of it.
            result: its last epoch: the objectives that are measured, and ``epoch``; None if there is none.
        """
        if status in (Status.STOPPED, Status.COMPLETED) and result is not None:
            self.report(number, result)  # Tune passes the last epoch on with the end alone
        running = self._running.pop(number, None)
        if running is None:
            return
        values = self._objective_values(running.point[0], result) if status == Status.COMPLETED else None
        with self._batch():
            if values is None:
                state = TrialState.PRUNED if status in _PRUNED else TrialState.FAIL
                self.optuna_study.tell(running.trial, state=state)
                return
            self._values[running.point] = values
            self.optuna_study.tell(running.trial, values)

    def _objective_values(self, architecture: Architecture, result: Row | None) -> list[float] | None:
        """Return the value of each objective; None if one was not measured."""
        if result is None:
            return None
        space = self._study.search_space
        price = cost(architecture, space.input_shape, space.num_classes)
        values = [result.get(name) if name in _MEASURED else getattr(price, name) for name in self._objectives]
        return [float(value) for value in values if value is not None] if None not in values else None

    # What came before

    def add_known(self, found: Found, values: list[float]) -> None:
        """Tell the sampler a result of another study."""
        with self._batch():
            self._add(found, TrialState.COMPLETE, {}, values=values)
        self._values[found.point] = values

    def bring_in_line(self, rows: Iterable[Row]) -> None:
        """Bring the Optuna study in line with the record, after a kill or without its file.

        What is on record is not proposed again. What ended is told, what is open stays so, and what was proposed but
        never started is proposed again, under its number.
        """
        by_number = {row["trial"]: row for row in rows}
        self.drawing.seen |= {point_of(self._study, row) for row in by_number.values()}
        with self._batch():
            known = {self._take_up(frozen, by_number) for frozen in self._trials()}
            for number, row in by_number.items():
                if number not in known and row["answers"] is not None:
                    self._replay(row)

    def _take_up(self, frozen: FrozenTrial, rows: Mapping[int, Row]) -> int | None:
        """Bring one Optuna trial in line; returns its number if it is a trial on record."""
        number = frozen.user_attrs.get(_NUMBER)
        row = rows.get(number) if number is not None else None
        if row is not None and row["answers"] is not None and answers_of(row) == frozen.params:
            point = point_of(self._study, row)
            if frozen.state == TrialState.COMPLETE:
                self._values[point] = list(frozen.values)
            elif frozen.state == TrialState.RUNNING:
                self._go_on(frozen, point, row)
            return number
        if frozen.state == TrialState.RUNNING:
            trial = optuna.Trial(self.optuna_study, frozen._trial_id)
            found = self.drawing.fresh(FixedTrial(frozen.params))
            if number is None or row is not None or found is None or self._is_shared:
                self.optuna_study.tell(trial, state=TrialState.FAIL)
            else:
                self._lost[number] = self._begin(trial, found.point, number)
        return None

    def _replay(self, row: Row) -> None:
        """Add a trial on record that the Optuna study has lost."""
        found = self.drawing.found(FixedTrial(answers_of(row)))
        if found is not None:
            self._go_on(self._add(found, TrialState.RUNNING, {_NUMBER: row["trial"]}), found.point, row)

    def _go_on(self, frozen: FrozenTrial, point: Point, row: Row) -> None:
        """Take up a trial that Optuna knows to run; tell how it ended if the record knows."""
        trial = optuna.Trial(self.optuna_study, frozen._trial_id)
        self._running[row["trial"]] = _Running(trial, point, set(frozen.intermediate_values))
        if not is_open(row):
            self.tell(row["trial"], row["status"], {**row, "epoch": row["epochs"]} if row["epochs"] else None)


_NOT_KEPT = ("fixed_params", "constraints", "tpe:", "gp:")


def _kept(system_attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sampler noted of a proposal that also holds for the network trained instead (its generation)."""
    return {key: value for key, value in system_attrs.items() if not key.startswith(_NOT_KEPT)}
