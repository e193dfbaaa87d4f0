"""Grouping and memory layout: what a warm-up may cost, and that a study's choices are its record's, on any machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

import ressearch
from ressearch import Architecture, Study, load, resume
from ressearch.cli import main
from ressearch.errors import StudyError
from ressearch.remembered import remembered
from ressearch.results.run_file import RUN_FILE
from ressearch.results.store import JOURNAL
from ressearch.search.choices import RETRIED, Choices, recorded
from ressearch.search.trial import TrialSpec, TrialTrainable, to_arrays
from ressearch.training import Recipe, choose
from ressearch.training.choose import MOST_SHARE, Choice, Probe, probe

CPU = torch.device("cpu")
TINY = Architecture(depths=(1, 1), widths=(4, 8))
DEEP = TINY.replace(depths=(3, 3))
ALL = tuple(Choice(grouped, last) for grouped in (True, False) for last in (True, False))
LONG = {"epochs": 5, "batch_size": 4, "seeds": 2}
"""A recipe under which the synthetic data make a trial that is worth a warm-up."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As a trial has it; and many small steps on more threads wait for each other where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class FakeMachine:
    """A clock that only steps move; each choice takes its own time for a replicate's step."""

    def __init__(self, seconds: dict[Choice, float]) -> None:
        self.now, self.seconds, self.timed, self.longest = 0.0, seconds, 0, 0.0

    def clock(self) -> float:
        return self.now

    def step_seconds(self, *arguments: Any) -> float:
        *_, replicates, _, choice, steps = arguments
        took = steps * self.seconds[choice] * (replicates if choice.is_grouped else 1)
        self.now, self.timed, self.longest = self.now + took, self.timed + 1, max(self.longest, took)
        return self.seconds[choice]


def asked(work: float, replicates: int = 3) -> Probe:
    return Probe(TINY, (1, 8, 8), 10, 64, "float32", replicates, CPU, ALL, work)


TIMES = st.lists(st.floats(1e-4, 10), min_size=4, max_size=4)


@examples(200)
@given(TIMES, st.floats(1, 1e6), st.integers(1, 4))
def test_a_warm_up_stays_below_its_share_of_the_trial(times: list[float], work: float, replicates: int) -> None:
    machine = FakeMachine(dict(zip(ALL, times, strict=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "clock", machine.clock)
        patch.setattr(choose, "step_seconds", machine.step_seconds)
        found = choose._fastest(asked(work, replicates))
    trial_seconds = work * replicates * times[0]
    # Only what has begun is finished: the step that crosses the line is the last.
    assert machine.now <= MOST_SHARE * trial_seconds + machine.longest
    if found is None:
        assert machine.now > MOST_SHARE * trial_seconds
    else:
        fastest = min(times)
        assert machine.seconds[found] == (fastest if fastest < 0.75 * times[0] else times[0])


def test_the_usual_choice_is_taken_unmeasured_where_a_trial_is_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path))
    machine = FakeMachine(dict.fromkeys(ALL, 1.0) | {Choice(False, False): 0.01})
    monkeypatch.setattr(choose, "clock", machine.clock)
    monkeypatch.setattr(choose, "step_seconds", machine.step_seconds)

    def chosen(architecture: Architecture, examples: int) -> Choice:
        recipe = Recipe(epochs=4, batch_size=10, seeds=2)
        return choose.choose(architecture, (1, 8, 8), 3, recipe, CPU, examples)

    assert chosen(TINY, 990) == Choice(True, True)  # 396 steps, of which 5 % are fewer than the 20 of a warm-up
    assert machine.timed == 0
    assert chosen(TINY, 1000) == Choice(False, False)
    assert machine.timed == 6  # four choices, then the usual one and the faster again
    assert chosen(DEEP, 990) == Choice(False, False)  # deeper: its steps take longer; the machine knows its shape
    assert machine.timed == 6
    assert chosen(TINY, 990) == Choice(True, True)  # short, so as before, whatever is known


def test_a_choice_that_memory_does_not_hold_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def step_seconds(*arguments: Any) -> float:
        if arguments[-2].is_grouped:
            raise torch.OutOfMemoryError("no")
        return 1.0

    monkeypatch.setattr(choose, "step_seconds", step_seconds)
    assert choose._fastest(asked(1e6)) == Choice(False, True)


def trainable(architecture: Architecture, place: Path, trial: int = 0, **recipe: Any) -> TrialTrainable:
    """A trial as an actor holds it, without Ray."""
    one = TrialTrainable.__new__(TrialTrainable)
    spec = TrialSpec(Recipe(**LONG | recipe), 1, 3, str(place))
    config = {"trial": trial, "architecture": architecture.to_dict(), "lr": None}
    study = Study.from_dict({"space": {"grid": {"depth": 8}}, "data": {"name": "synthetic"}})
    one.setup(config, spec, to_arrays(study.splits()))
    return one


def measuring(*answers: Choice) -> Callable[..., Choice]:
    """What a machine measures whose load changes all the time."""
    left = list(answers)
    return lambda question: left.pop(0)


def test_all_trials_of_a_shape_run_alike_whatever_is_measured_meanwhile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caches = iter(range(99))  # every process remembers for itself, as on nodes of a cluster
    first, other = Choice(False, False), Choice(True, False)
    monkeypatch.setattr(choose, "_fastest", measuring(first, other, other))
    reports = []
    for trial, architecture in enumerate((TINY, DEEP, TINY, DEEP)):
        monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / f"cache-{next(caches)}"))
        reports.append(trainable(architecture, tmp_path / "study", trial).step())
    assert {(one["grouped"], one["channels_last"]) for one in reports} == {first}
    assert all("2 seeds one after another, contiguous" in one["engine"] for one in reports)
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "cache-100"))
    elsewhere = trainable(TINY, tmp_path / "another").step()
    assert (elsewhere["grouped"], elsewhere["channels_last"]) == other


def test_the_first_to_decide_decides_for_all(tmp_path: Path) -> None:
    for place in (str(tmp_path / "here"), f"file://{tmp_path}/there", "memory://choices"):
        one, other = Choices(place), Choices(place)

        def make(other: Choices = other) -> Choice:  # another process decides while this one measures
            assert other("shape", lambda: Choice(False, True)) == Choice(False, True)
            return Choice(True, True)

        assert one("shape", make) == Choice(False, True)
        assert one("another", lambda: Choice(True, False)) == Choice(True, False)
        one.put({"shape": Choice(True, True)})
        assert other("shape", lambda: Choice(True, True)) == Choice(False, True)
    assert not list(tmp_path.rglob("*.part"))


def test_where_nothing_can_be_written_a_trial_runs_by_its_own_choice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Choices(str(tmp_path / "file" / "below"))("shape", lambda: Choice(False, True)) == Choice(False, True)


def row(architecture: Architecture, choice: Choice, note: str = "", **recipe: Any) -> dict[str, Any]:
    from ressearch.results.schema import TRIALS, architecture_columns

    settings = Recipe(**LONG | recipe).model_dump_json()
    how = {"engine": f"2 seeds{note}", "grouped": choice.is_grouped, "channels_last": choice.channels_last}
    return dict.fromkeys(TRIALS.names) | architecture_columns(architecture) | {"recipe": settings, **how}


def test_the_record_says_the_choice_of_each_shape() -> None:
    wide, first, other = TINY.replace(widths=(8, 16)), Choice(False, False), Choice(True, False)
    rows = [
        row(TINY, other, RETRIED),  # packed less than was chosen for its shape
        row(DEEP, first),
        row(TINY, other),
        row(wide, other),
        row(TINY, other, epochs=1, batch_size=400),  # too short to have been measured
        {**row(TINY, other), "grouped": None, "channels_last": float("nan")},  # of an older version
    ]
    found = recorded(rows, (1, 8, 8), 3, 400)

    def shape(architecture: Architecture) -> str:
        one = probe(architecture, (1, 8, 8), 3, Recipe(**LONG), CPU, 400)
        assert one is not None
        return one.shape

    assert found == {shape(TINY): first, shape(wide): other}
    assert shape(TINY) == shape(DEEP)


STUDY = {
    "name": "long",
    "space": {"grid": {"depth": [8, 14], "width": 4}},
    "data": {"name": "synthetic"},
    "recipe": LONG,
}


@pytest.fixture
def another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Choice], None]:
    """Go to a machine whose measurements prefer a choice."""

    def go(name: str, choice: Choice) -> None:
        monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / name))
        study = Study.from_dict(STUDY)
        for architecture in study.search_space.enumerate():
            examples = len(study.splits().train)
            one = probe(architecture, study.dataset.input_shape, 3, study.recipe, CPU, examples)
            assert one is not None
            assert one.is_worthwhile
            remembered(choose._key(one), lambda: choice)

    return go


def figures(directory: str | Path) -> list[tuple[Any, ...]]:
    trials, curves = load(directory)
    runs = trials.sort_values("trial")
    numbers = curves.drop(columns="seconds").sort_values(["trial", "epoch", "seed"])
    return [*runs[["grouped", "channels_last"]].itertuples(index=False), *numbers.itertuples(index=False)]


@pytest.mark.slow
def test_a_study_is_repeated_and_resumed_on_another_machine_with_the_same_numbers(
    no_ray: None, another_machine: Callable[[str, Choice], None], tmp_path: Path
) -> None:
    another_machine("first", Choice(False, False))
    study = Study.from_dict(STUDY)
    first = Path(ressearch.run(study, tmp_path / "first-run"))
    expected = figures(first)
    assert expected[0] == (False, False)

    another_machine("second", Choice(True, True))
    again = ressearch.run(study, tmp_path / "second-run", repeat=first)
    assert figures(again) == expected
    record = json.loads((Path(again) / RUN_FILE).read_text())
    assert record["repeats"] == str(first)

    # The first study, cut short, without its checkpoints, goes on here: the second trial has not begun.
    cut = Path(shutil.copytree(first, tmp_path / "cut"))
    lines = (cut / JOURNAL).read_text().splitlines(keepends=True)
    (cut / JOURNAL).write_text("".join(line for line in lines if '"trial": 1,' not in line))
    run = json.loads((cut / RUN_FILE).read_text()) | {"is_complete": False, "ended_at": None, "pid": 2**22 + 1}
    (cut / RUN_FILE).write_text(json.dumps(run))
    assert figures(resume(cut)) == expected

    # Without the record this machine runs them its own way, and the numbers are others: the test above can fail.
    alone = figures(ressearch.run(study, tmp_path / "third-run"))
    assert alone[0] == (True, True)
    assert alone != expected


def test_what_cannot_be_repeated_is_refused(
    small_run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text((small_run / "study.yaml").read_text())

    def said(*changes: str) -> str:
        sets = [part for change in changes for part in ("--set", change)]
        with pytest.raises(SystemExit) as done:
            main(["run", str(study), "--out", str(tmp_path / "out"), "--repeat", str(small_run), *sets])
        assert done.value.code == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "has recipe.batch_size 64, this study 32" in said("recipe.batch_size=32")
    assert "has inputs of (1, 8, 8), this study of (" in said("data.name=breast_cancer", "space.grid.block=mlp")
    with pytest.raises(StudyError, match="no such directory"):
        ressearch.run(Study.from_file(study), tmp_path / "out", repeat=tmp_path / "nowhere")
