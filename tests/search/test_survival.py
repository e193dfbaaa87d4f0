"""What a study keeps when something dies: checkpoints, the journal, the lock, and runs that are killed."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch
from faults import Shot, check, torment

import ressearch
from ressearch import Architecture, Study, load
from ressearch.errors import StudyError
from ressearch.results import Store
from ressearch.results.run_file import LOCK_FILE
from ressearch.search.ledger import Ledger
from ressearch.search.proposer import Proposer
from ressearch.search.trial import TrialSpec, TrialTrainable, to_arrays
from ressearch.training import Recipe, checkpoint

TINY = Architecture(depths=(1, 1), widths=(4, 8), skip="stochastic_depth")
GRID = {"space": {"grid": {"depth": [8, 14], "width": 4}}, "data": {"name": "synthetic"}}
SEARCH = {
    "space": {"search": {"depth": [8, 14, 20], "width": {"low": 4, "high": 12}, "skip": ["none", "identity"]}},
    "data": {"name": "synthetic"},
    "recipe": {"epochs": 2},
    "search": {"trials": 12, "sampler": "random"},
}


def trainable(recipe: Recipe, directory: Path | None, **spec: Any) -> TrialTrainable:
    """A trial as an actor holds it, without Ray."""
    one = TrialTrainable.__new__(TrialTrainable)
    settings = TrialSpec(recipe, torch.get_num_threads(), 3, str(directory) if directory else None, **spec)
    config = {"trial": 0, "architecture": TINY.to_dict(), "lr": None}
    one.setup(config, settings, to_arrays(Study.from_dict(GRID).splits()))
    return one


def numbers(results: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(value for key, value in result.items() if key != "seconds") for result in results]


@pytest.mark.parametrize("replicates", ["grouped", "separate"])
def test_a_trial_whose_process_was_lost_goes_on_exactly(tmp_path: Path, replicates: str) -> None:
    recipe = Recipe(epochs=4, seeds=2, ema=0.9, augmentation=("crop", "mixup"), replicates=replicates)
    whole = trainable(recipe, None)
    undisturbed = [numbers(whole.step()["results"][0]) for _ in range(4)]
    first = trainable(recipe, tmp_path)
    told = [numbers(first.step()["results"][0]) for _ in range(2)]
    again = trainable(recipe, tmp_path)
    result = again.step()
    assert result["epoch"] == 3
    assert [numbers(one) for one in result["results"]] == undisturbed[:3]  # the epochs before are told again
    assert told == undisturbed[:2]
    result = again.step()
    assert numbers(result["results"][0]) == undisturbed[3]
    assert (len(result["results"]), result["outcome"]) == (1, "completed")
    last = trainable(recipe, tmp_path).step()  # the last report was lost: it is told again, nothing is trained
    assert (last["outcome"], last["done"], len(last["results"])) == ("completed", True, 4)
    right = [one["correct"].parts["validation"].unpack().tolist() for one in (result, last)]
    assert right[0] == right[1]
    assert (result["correct"].epoch, last["correct"].epoch) == (4, 4)
    assert [sum(row) / len(row) for row in right[0]] == [one["val_accuracy"] for one in last["results"][-1]]


def test_a_checkpoint_of_another_trial_or_a_damaged_one_is_not_gone_on_from(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3)
    trainable(recipe, tmp_path).step()
    assert trainable(recipe.model_copy(update={"weight_decay": 0.0}), tmp_path).step()["epoch"] == 1
    file = tmp_path / "trial-0.pt"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(StudyError, match=r"trial-0\.pt: damaged checkpoint"):
        checkpoint.load(str(file), torch.device("cpu"))
    assert trainable(recipe, tmp_path).step()["epoch"] == 1
    assert checkpoint.load(str(tmp_path / "none.pt"), torch.device("cpu")) is None


def test_checkpoints_are_read_without_running_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"config": Evil()}, tmp_path / "trial-0.pt")
    with pytest.raises(StudyError, match="damaged checkpoint"):
        checkpoint.load(str(tmp_path / "trial-0.pt"), torch.device("cpu"))
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_costs_a_checkpoint_not_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert trainable(Recipe(epochs=1), tmp_path).step()["outcome"] == "completed"
    assert list(tmp_path.iterdir()) == []


def test_a_trial_over_its_time_limit_has_failed(tmp_path: Path) -> None:
    result = trainable(Recipe(epochs=9), tmp_path, time_limit=1e-6).step()
    assert (result["outcome"], result["reason"]) == ("failed", "over its time limit of 1e-06 s")
    (tmp_path / "trial-0.hung").touch()  # as the watchdog leaves it when it ends the process
    result = trainable(Recipe(epochs=9), tmp_path, time_limit=60).step()
    assert result["reason"] == "over its time limit of 60 s, and did not answer"
    assert not (tmp_path / "trial-0.hung").exists()


def test_the_process_of_a_trial_that_hangs_ends_itself(tmp_path: Path) -> None:
    code = (
        "import time, threading, sys\n"
        "from ressearch.search import trial\n"
        "trial._GRACE = 0.2\n"
        "one = trial.TrialTrainable.__new__(trial.TrialTrainable)\n"
        "one._deadline, one._checkpoint = time.monotonic(), sys.argv[1] + '/trial-0.pt'\n"
        "with one._watched():\n"
        "    time.sleep(900)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=600, check=False)
    assert ended.returncode == 1
    assert (tmp_path / "trial-0.hung").exists()


def test_a_journal_cut_short_is_gone_on_with(small_run: Path) -> None:
    journal = small_run / "journal.jsonl"
    whole = journal.read_text()
    journal.write_text(whole + '{"event": "epoch", "tri')
    store = Store(small_run)
    store.close()
    lines = journal.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines][-1] == "session"
    assert len(lines) == len(whole.splitlines()) + 1
    assert load(small_run).trials["status"].tolist() == ["completed"] * 4


def test_after_a_full_disk_nothing_more_is_written(small_run: Path) -> None:
    store = Store(small_run)
    before = (small_run / "journal.jsonl").read_bytes()

    class Full:
        def append(self, record: bytes, is_synced: bool) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    journal, store._journal = store._journal, Full()  # type: ignore[assignment]
    store.epoch(0, [])
    store._journal = journal
    store.epoch(0, [])
    assert (small_run / "journal.jsonl").read_bytes() == before
    study = Study.from_dict(GRID)
    assert Ledger(study, store).failing == "cannot be written (no space left on device); make room"
    store.close()


def test_time_between_two_processes_is_not_counted(small_run: Path) -> None:
    store = Store(small_run)
    active = store.active_seconds
    journal = small_run / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    events[-1]["at"] += 3_600_000  # the second session begins an hour later
    store.close()
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    later = Store(small_run)
    assert later.tables.active_seconds == pytest.approx(active, abs=5)
    later.close()


def forget_the_last_end(run: Path) -> None:
    """Leave a record in which one trial has not ended."""
    journal = run / "journal.jsonl"
    text = journal.read_text()
    journal.write_text(text[: text.rindex('{"event": "end"')])
    for table in ("trials", "curves"):
        (run / f"{table}.parquet").unlink()


def test_the_second_process_is_refused(small_run: Path) -> None:
    forget_the_last_end(small_run)
    with (
        filelock.FileLock(small_run / LOCK_FILE),
        pytest.raises(StudyError, match="another process works on this study"),
    ):
        ressearch.resume(small_run)


def test_resume_says_what_it_cannot_go_on_with(tmp_path: Path, small_run: Path) -> None:
    with pytest.raises(StudyError, match="no such directory"):
        ressearch.resume(tmp_path / "none")
    with pytest.raises(StudyError, match="holds no study"):
        ressearch.resume(tmp_path)
    before = (small_run / "journal.jsonl").read_bytes()
    assert ressearch.resume(small_run) == small_run  # complete: left as it is
    assert (small_run / "journal.jsonl").read_bytes() == before


def rows(proposals: list[dict[str, Any]], study: Study, statuses: list[str]) -> list[dict[str, Any]]:
    """The trial table as a store would hold it after these proposals."""
    from ressearch.results.schema import architecture_columns

    recipe = study.recipe.model_dump_json()
    return [
        {
            "trial": one["trial"],
            "status": status,
            "recipe": recipe,
            "epochs": study.recipe.epochs,
            "val_accuracy": 0.5 if status == "completed" else None,
            **architecture_columns(Architecture.from_dict(one["architecture"])),
            "proposal": None,
            **one.get("columns", {}),
        }
        for one, status in zip(proposals, statuses, strict=True)
    ]


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "nsga2"])
def test_a_resumed_search_proposes_what_was_open_and_then_only_what_is_new(tmp_path: Path, sampler: str) -> None:
    study = Study.from_dict({**SEARCH, "search": {"trials": 12, "sampler": sampler}})
    first = Proposer(study, (), tmp_path)
    proposals = [first.suggest(str(number)) for number in range(6)]
    for number in range(4):
        first.on_trial_complete(str(number), {"val_accuracy": 0.5, "epoch": 2})
    # Killed here: trials 4 and 5 were training, and Optuna had not been told of trial 3.
    record = rows(proposals, study, ["completed"] * 4 + ["running", "interrupted"])
    again = Proposer(study, record, tmp_path)
    resumed = [again.suggest(str(number)) for number in range(20, 29)]
    assert [one["trial"] for one in resumed[:2]] == [4, 5]
    assert [one["architecture"] for one in resumed[:2]] == [one["architecture"] for one in proposals[4:]]
    assert [one["trial"] for one in resumed[2:8]] == [6, 7, 8, 9, 10, 11]
    assert resumed[8] == Proposer.FINISHED
    names = {json.dumps(one["architecture"]) for one in proposals + resumed[2:8]}
    assert len(names) == 12
    again.on_trial_complete("20", {"val_accuracy": 0.9, "epoch": 2})
    assert again.sampling is not None
    assert again.sampling.optuna_study.best_value == 0.9
    told = [one.state.name for one in again.sampling.optuna_study.get_trials() if "trial" in one.user_attrs]
    assert told.count("COMPLETE") == 5


def test_a_resumed_random_search_proposes_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    study = Study.from_dict(SEARCH)
    undisturbed = Proposer(study)
    whole = [undisturbed.suggest(str(number))["architecture"] for number in range(12)]
    first = Proposer(study, (), tmp_path)
    proposals = [first.suggest(str(number)) for number in range(5)]
    again = Proposer(study, rows(proposals, study, ["completed"] * 5), tmp_path)
    later = [again.suggest(str(number))["architecture"] for number in range(5, 12)]
    assert [one["architecture"] for one in proposals] + later == whole


@pytest.mark.slow
def test_a_study_survives_the_ends_of_its_driver_and_a_worker(tmp_path: Path) -> None:
    text = "name: grid\nspace: {grid: {depth: [8, 14, 20], width: [4, 6]}}\ndata: {name: synthetic}\n"
    text += "recipe: {epochs: 150, seeds: 2}\n"
    undisturbed, ended = tmp_path / "undisturbed", tmp_path / "ended"
    assert torment(text, undisturbed) == []
    shots = [Shot(2, "SIGKILL", "driver"), Shot(6, "SIGKILL", "worker"), Shot(2, "SIGKILL", "driver")]
    fired = torment(text, ended, shots)
    assert len(fired) >= 2
    found = check(ended, undisturbed)
    assert found.pop("trials") == 6
    assert found.pop("equal_to_undisturbed")
    assert set(found.values()) == {0}
