"""Which trained weights a study keeps: by hand, on a disk that is full, and in a study that really ran."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ressearch import Architecture, Study, durable, load, resume, run
from ressearch.errors import StudyError
from ressearch.results import Store
from ressearch.results.ranking import Objective
from ressearch.search.trial import TrialSpec, TrialTrainable, to_arrays
from ressearch.search.weights import Keeper, Keeping, keeping, kept_trials
from ressearch.training import Recipe
from ressearch.training.classifier import accuracy, from_file

TINY = Architecture(depths=(1, 1), widths=(4, 8))
ACCURACY = Objective.named("val_accuracy")


def study(**changes: Any) -> Study:
    return Study.from_dict(
        {"space": {"grid": {"depth": [8, 14], "width": 4}}, "data": {"name": "synthetic"}, **changes}
    )


def row(trial: int, val_accuracy: float, phase: str = "search", **others: Any) -> dict[str, Any]:
    return {
        "trial": trial, "phase": phase, "status": "completed", "name": f"net{others.get('of_trial', trial)}",
        "macs": 1, "epochs": 2, "of_trial": None, "val_accuracy": val_accuracy, "seed_val_accuracies": [val_accuracy],
        **others,
    }  # fmt: skip


ROWS = [
    row(0, 0.5),
    row(1, 0.9),
    row(2, 0.8),
    row(3, 0.95, status="stopped"),
    row(4, 0.7, phase="baseline"),
]
FINALS = [
    row(5, 0.85, phase="final", of_trial=2, epochs=3),
    row(6, 0.8, phase="final", of_trial=1, epochs=3),
    row(7, 0.8, phase="final", of_trial=0, epochs=3, status="diverged"),
]


@pytest.mark.parametrize(
    ("which", "rows", "expected"),
    [
        ("none", ROWS, []),
        ("best", ROWS, [1]),
        ("finalists", ROWS, [1]),
        ("all", ROWS, [1, 2, 0, 4]),
        ("none", ROWS + FINALS, []),
        ("best", ROWS + FINALS, [6]),
        ("finalists", ROWS + FINALS, [6, 5]),
        ("all", ROWS + FINALS, [6, 5, 1, 2, 0, 4]),
        ("best", [], []),
        ("best", ROWS[3:], []),
    ],
)
def test_what_is_kept_follows_from_the_record(which: str, rows: list[dict[str, Any]], expected: list[int]) -> None:
    assert kept_trials(which, rows, ACCURACY) == expected


def test_while_finalists_train_each_may_still_be_the_best_ones() -> None:
    assert kept_trials("best", ROWS + FINALS, ACCURACY, is_final_open=True) == [6, 5, 1]


def trained(directory: Path, max_size: int = 10**9, **recipe: Any) -> tuple[TrialTrainable, list[dict[str, Any]]]:
    """A trial as an actor holds it, without Ray, and what it reported."""
    kept = Keeping(str(directory), max_size, ("a", "b", "c"), "float32")
    spec = TrialSpec(Recipe(**{"epochs": 2, "seeds": 3, **recipe}), torch.get_num_threads(), 3, keeping=kept)
    one = TrialTrainable.__new__(TrialTrainable)
    one.setup({"trial": 12, "architecture": TINY.to_dict(), "lr": None}, spec, to_arrays(study().splits()))
    told = [one.step()]
    while not told[-1]["done"]:
        told.append(one.step())
    return one, told


@pytest.mark.parametrize("changes", [{"replicates": "grouped"}, {"replicates": "separate"}, {"ema": 0.5}], ids=str)
def test_the_seed_of_the_best_accuracy_is_kept_as_it_was_trained(tmp_path: Path, changes: dict[str, Any]) -> None:
    _, told = trained(tmp_path, **changes)
    assert told[-1]["not_kept"] is None
    assert [one.name for one in tmp_path.iterdir()] == ["00012.safetensors"]
    classifier, facts = from_file(tmp_path / "00012.safetensors")
    last = told[-1]["results"][-1]
    best = max(last, key=lambda one: (one["val_accuracy"], -one["val_loss"]))
    assert (facts["trial"], facts["epoch"], facts["seeds"]) == (12, 2, [0, 1, 2])
    assert (facts["seed"], facts["val_accuracy"]) == (best["seed"], best["val_accuracy"])
    assert len({(one["val_accuracy"], one["val_loss"]) for one in last}) == 3  # else any seed would pass
    validation = study().splits().validation
    assert accuracy(classifier, validation) == pytest.approx(best["val_accuracy"], abs=1e-9)
    loss = torch.nn.functional.cross_entropy(classifier(validation.inputs), validation.labels)
    assert float(loss.detach()) == pytest.approx(best["val_loss"], rel=1e-4)
    assert classifier.classes == ("a", "b", "c")


def test_weights_that_are_too_large_or_find_no_space_cost_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, told = trained(tmp_path / "small", max_size=1000)
    assert told[-1]["outcome"] == "completed"
    assert "are above keep_weights.max_size" in told[-1]["not_kept"]
    assert not (tmp_path / "small").exists()

    def full(target: Path, write: Any, is_synced: bool = True) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "replace", full)
    _, told = trained(tmp_path / "full")
    assert told[-1]["outcome"] == "completed"
    assert told[-1]["not_kept"] == "cannot be written: no space left on device"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def finish(
    store: Store, directory: Path, trial: int, val_accuracy: float, size: int = 10, is_open: bool = False
) -> Path:
    """Have a trial on record, its end too unless it is open, and a file of so many bytes as its weights."""
    from ressearch import cost

    network = TINY.replace(widths=(4, 8 + trial))
    price = cost(network, (1, 8, 8), 3)
    store.start(trial, network, price, Recipe().model_dump_json(), (0,), 0.1, phase="search", devices=1.0, examples=9)
    point = {"seed": 0, "epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_accuracy": 0.5, "seconds": 1.0}
    store.epoch(trial, [{**point, "val_loss": 1.0, "val_accuracy": val_accuracy}])
    if not is_open:
        store.end(trial, "completed", None)
    return write(directory, trial, size)


def write(directory: Path, trial: int, size: int = 10) -> Path:
    file = directory / "weights" / f"{trial:05d}.safetensors"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"0" * size)
    return file


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in (directory / "weights").iterdir())


def test_a_better_trial_takes_the_place_of_the_best(tmp_path: Path, store: Store) -> None:
    keeper = Keeper(study(), store, str(tmp_path))
    for trial, reached, kept in ((0, 0.5, 0), (1, 0.4, 0), (2, 0.6, 2)):
        finish(store, tmp_path, trial, reached)
        keeper.tidy()
        assert names(tmp_path) == [f"{kept:05d}.safetensors"]
    finish(store, tmp_path, 7, 0.1, is_open=True)  # its end is not on record yet
    (tmp_path / "weights" / ".00001.safetensors.99.part").write_bytes(b"half")
    keeper.tidy()
    assert names(tmp_path) == [".00001.safetensors.99.part", "00002.safetensors", "00007.safetensors"]
    keeper.tidy(is_over=True)
    assert names(tmp_path) == ["00002.safetensors", "00007.safetensors"]


def test_of_all_the_best_are_kept_within_the_size(tmp_path: Path, store: Store) -> None:
    asked = study(keep_weights={"trials": "all", "max_size": "100B"})
    for trial, reached, size in ((0, 0.5, 40), (1, 0.9, 50), (2, 0.8, 60), (3, 0.7, 50)):
        finish(store, tmp_path, trial, reached, size)
    Keeper(asked, store, str(tmp_path)).tidy()
    assert names(tmp_path) == ["00001.safetensors", "00003.safetensors"]


def test_what_is_not_kept_is_noted_and_warned_of_once(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(study(), store, str(tmp_path))
    with caplog.at_level(logging.WARNING, "ressearch"):
        for trial in (3, 4):
            keeper.ended(trial, "cannot be written: no space left on device")
        keeper.ended(5, None)
    assert keeper.problems == dict.fromkeys("34", "cannot be written: no space left on device")
    assert [one.getMessage() for one in caplog.records] == [
        "trial 3: its weights are not kept: cannot be written: no space left on device"
    ]


def test_a_study_file_says_which_weights_are_kept() -> None:
    assert study().keep_weights.trials == "best"
    asked = study(keep_weights={"trials": "finalists", "max_size": "500MB"}).keep_weights
    assert (asked.trials, asked.max_size) == ("finalists", 500_000_000)
    assert study(keep_weights="none").keep_weights.trials == "none"
    for phase, which in (("search", "best"), ("final", "best"), ("baseline", "all")):
        assert keeping(study(keep_weights=which), "runs/a", phase) is not None
    for phase, which in (("search", "none"), ("baseline", "best")):
        assert keeping(study(keep_weights=which), "runs/a", phase) is None
    with pytest.raises(StudyError, match=r"keep_weights\.trials: .*'some'"):
        study(keep_weights="some")
    with pytest.raises(StudyError, match=r"keep_weights\.max_size: .*'much'"):
        study(keep_weights={"max_size": "much"})


def test_a_studys_best_weights_are_in_its_directory(small_run: Path) -> None:
    results = load(small_run)
    (file,) = (small_run / "weights").iterdir()
    classifier, facts = from_file(file)
    best = kept_trials("best", results.trials.to_dict("records"), ACCURACY._replace(examples=None))  # type: ignore[arg-type]
    assert file.name == f"{best[0]:05d}.safetensors"
    of_trial = results.trials.set_index("trial").loc[best[0]]
    assert facts["val_accuracy"] == max(of_trial["seed_val_accuracies"])
    assert classifier.network.architecture.name == of_trial["name"]


def test_a_killed_study_keeps_what_it_would_have_kept(tmp_path: Path, ray_started: None) -> None:
    asked = study(recipe={"epochs": 1, "seeds": 1}, keep_weights="all", resources={"concurrency": 1})
    out = Path(run(asked, tmp_path / "out"))
    before = {file.name: file.read_bytes() for file in (out / "weights").iterdir()}
    assert sorted(before) == ["00000.safetensors", "00001.safetensors"]
    journal = out / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    at = max(number for number, line in enumerate(lines) if '"event": "end"' in line)
    journal.write_text("".join(lines[:at]))  # killed before the last trial's end was on record
    for file in (out / "trials.parquet", out / "curves.parquet", out / "weights" / "00001.safetensors"):
        file.unlink()
    resume(out)
    after = {file.name: from_file(file)[0] for file in (out / "weights").iterdir()}
    assert sorted(after) == sorted(before)
    for name, classifier in after.items():
        (out / "again").write_bytes(before[name])
        first = from_file(out / "again")[0]
        assert all(torch.equal(value, classifier.state_dict()[key]) for key, value in first.state_dict().items())
