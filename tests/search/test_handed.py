"""What a trial's process is handed of the data, and what it says of a trial that cannot run; no Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ressearch import Architecture, Study
from ressearch.data import Place, Split, Splits
from ressearch.errors import PluginError
from ressearch.search import trial as module
from ressearch.search.trial import TrialSpec, TrialTrainable, from_arrays, to_arrays
from ressearch.training import Engine, Recipe
from ressearch.training.choose import Choice

CPU = torch.device("cpu")
TINY = Architecture(depths=(1,), widths=(4,))
POOL = torch.arange(24.0).reshape(6, 1, 2, 2)
MEAN, STD = torch.tensor([2.0]), torch.tensor([3.0])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As a trial has it; and steps on more threads wait for each other where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def splits(place: Place | None = None, **places: torch.Tensor | None) -> Splits:
    """Three parts of one pool of six examples: the first three, the next two, the last."""
    chosen = {"train": [0, 1, 2], "validation": [3, 4], "test": [5]}
    parts = {
        name: Split(POOL, torch.tensor(at) + 10, places.get(name, torch.tensor(at)), place)
        for name, at in chosen.items()
    }
    return Splits(parts["train"], parts["validation"], parts["test"], MEAN, STD)


def test_parts_are_handed_over_as_their_own_examples() -> None:
    given = to_arrays(splits())
    assert {name: one.tolist() for name, one in given.items() if not name.endswith("pool")} == {
        "mean": [2.0],
        "std": [3.0],
        "train_labels": [10, 11, 12],
        "validation_labels": [13, 14],
    }
    assert {name: (type(one), one.shape) for name, one in given.items() if name.endswith("pool")} == {
        "train_pool": (np.ndarray, (3, 1, 2, 2)),
        "validation_pool": (np.ndarray, (2, 1, 2, 2)),
    }
    assert set(to_arrays(splits(), with_test=True)) == {*given, "test_labels", "test_pool"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The pool, in a file, behind eight bytes of something else."""
    file = tmp_path / "pool"
    file.write_bytes(b"8 bytes." + POOL.numpy().tobytes())
    return Place.of(file, 8, np.dtype("float32"), (6, 1, 2, 2))


def test_of_data_in_a_file_the_place_is_handed_over_and_which_examples(place: Place) -> None:
    given = to_arrays(splits(place), with_test=True)
    assert {name: one if isinstance(one, Place) else one.tolist() for name, one in given.items()} == {
        "mean": [2.0],
        "std": [3.0],
        "train_labels": [10, 11, 12],
        "train_pool": place,
        "train_places": [0, 1, 2],
        "validation_labels": [13, 14],
        "validation_pool": place,
        "validation_places": [3, 4],
        "test_labels": [15],
        "test_pool": place,
        "test_places": [5],
    }
    assert set(to_arrays(splits(place))) == {name for name in given if not name.startswith("test")}
    elsewhere = to_arrays(splits(place), can_map=False)  # on another machine the file is not there
    assert elsewhere["train_pool"].shape == (3, 1, 2, 2)
    assert "train_places" not in elsewhere
    whole = to_arrays(splits(place, train=None))  # which examples are the part's is not known: they are copied
    assert isinstance(whole["train_pool"], np.ndarray)
    assert whole["validation_pool"] == place


@pytest.mark.parametrize("with_test", [True, False])
@pytest.mark.parametrize("is_file", [True, False])
def test_what_was_handed_over_is_the_same_parts(place: Place, is_file: bool, with_test: bool) -> None:
    ours = splits(place if is_file else None)
    theirs = from_arrays(to_arrays(ours, with_test), CPU)
    for name in ("train", "validation", *(["test"] if with_test else [])):
        assert torch.equal(getattr(theirs, name).inputs, getattr(ours, name).inputs)
        assert torch.equal(getattr(theirs, name).labels, getattr(ours, name).labels)
    assert torch.equal(theirs.mean, MEAN)
    assert torch.equal(theirs.std, STD)
    if not with_test:
        assert theirs.test.inputs.shape == (0, 1, 2, 2)
        assert theirs.test.labels.dtype == ours.test.labels.dtype
        assert len(theirs.test) == 0


def test_a_file_is_mapped_once_for_all_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Place] = []
    original = Place.open
    monkeypatch.setattr(Place, "open", lambda self: opened.append(self) or original(self))
    theirs = from_arrays(to_arrays(splits(place), with_test=True), CPU)
    assert opened == [place]
    assert theirs.train.pool.data_ptr() == theirs.test.pool.data_ptr()  # type: ignore[union-attr]


@pytest.mark.filterwarnings("error")
def test_arrays_that_nobody_may_write_to_are_taken_without_a_warning() -> None:
    given = to_arrays(splits())
    for one in given.values():
        one.setflags(write=False)
    assert len(from_arrays(given, CPU).train) == 3


def started(recipe: Recipe, tmp_path: Path | None = None, **spec: Any) -> TrialTrainable:
    study = Study.from_dict({"space": {"grid": {"depth": 8, "width": 4}}, "data": {"name": "synthetic"}})
    given = TrialSpec(recipe, 1, 3, str(tmp_path) if tmp_path else None, **spec)
    one = TrialTrainable.__new__(TrialTrainable)
    one.setup({"trial": 0, "architecture": TINY.to_dict(), "lr": None}, given, to_arrays(study.splits()))
    return one


def test_a_plugin_that_the_process_cannot_load_is_why_its_trials_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_shipped(plugins: Any) -> None:
        assert plugins == ("mine",)
        raise PluginError("mine.py: no such file")

    monkeypatch.setattr(module, "load_shipped", load_shipped)
    one = started(Recipe(epochs=2), plugins=("mine",))
    ended = {
        "outcome": "failed",
        "reason": "in the process that trains: mine.py: no such file",
        "done": True,
        "device": "cpu",
    }
    assert one.step() == ended
    one.reset_config(one._config)
    assert one.step() == ended


def test_what_hung_before_has_failed_and_is_tried_no_more(tmp_path: Path) -> None:
    one = started(Recipe(epochs=2), tmp_path, time_limit=90.0)
    mark = tmp_path / "trial-0.hung"
    mark.write_text("")
    ended = one.step()
    assert (ended["outcome"], ended["reason"]) == ("failed", "over its time limit of 90 s, and did not answer")
    assert not mark.exists()
    without_limit = started(Recipe(epochs=2), tmp_path)
    mark.write_text("")
    assert without_limit.step()["epoch"] == 1
    assert mark.exists()


def test_a_process_that_hangs_leaves_a_mark_where_it_can_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(module.os, "_exit", ended.append)
    one = started(Recipe(epochs=2), tmp_path)
    assert one._mark == str(tmp_path / "trial-0.hung")
    TrialTrainable._give_up(one._mark)
    assert (tmp_path / "trial-0.hung").exists()
    assert started(Recipe(epochs=2))._mark is None
    TrialTrainable._give_up(None)
    assert ended == [1, 1]


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception, grouped_alone: bool = False) -> None:
    original = Engine.train_epoch

    def train_epoch(self: Engine) -> Any:
        if grouped_alone and not self.choice.is_grouped:
            return original(self)
        raise error

    monkeypatch.setattr(Engine, "train_epoch", train_epoch)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("no more\nof it"), "out of memory: no more"),
        (torch.OutOfMemoryError("tried to allocate"), "out of memory: tried to allocate"),
        (ValueError("shape\nsecond line"), "ValueError: shape"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_what_goes_wrong_is_the_reason_in_one_line(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, error)
    ended = started(Recipe(epochs=2, seeds=2)).step()
    assert (ended["outcome"], ended["reason"], ended["done"], ended["device"]) == ("failed", reason, True, "cpu")


def test_a_trial_that_was_packed_less_is_so_in_its_next_process_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "empty_cache", lambda: pytest.fail("this is no GPU"))
        raising(patch, MemoryError("no more"), grouped_alone=True)
        one = started(Recipe(epochs=3, seeds=2, replicates="grouped", channels_last=False), tmp_path)
        first = one.step()
    assert (first["epoch"], first["grouped"], first["channels_last"]) == (1, False, False)
    assert first["engine"].endswith(", tried again after running out of memory")
    again = started(Recipe(epochs=3, seeds=2, replicates="grouped", channels_last=False), tmp_path)
    second = again.step()
    assert [results[0]["epoch"] for results in second["results"]] == [1, 2]
    assert (second["epoch"], second["grouped"], second["engine"]) == (2, False, first["engine"])
    again.reset_config({**again._config, "trial": 1})  # the next trial is packed as its recipe says
    assert again.step()["grouped"] is True


def test_memory_that_runs_out_after_the_first_epoch_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    one = started(Recipe(epochs=3, seeds=2, replicates="grouped"))
    assert one.step()["epoch"] == 1
    raising(monkeypatch, MemoryError("no more"), grouped_alone=True)
    assert one.step()["reason"] == "out of memory: no more"


def test_a_damaged_checkpoint_is_begun_over(tmp_path: Path) -> None:
    started(Recipe(epochs=3), tmp_path).step()
    for file in tmp_path.glob("trial-0.pt*"):
        file.write_bytes(b"damaged")
    ended = started(Recipe(epochs=3), tmp_path).step()
    assert (ended["epoch"], len(ended["results"])) == (1, 1)


def test_a_trial_whose_last_report_was_lost_reports_again_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = started(Recipe(epochs=1), tmp_path)
    first = one.step()
    raising(monkeypatch, AssertionError("trained again"))
    again = started(Recipe(epochs=1), tmp_path).step()
    assert (again["outcome"], again["done"], again["epoch"]) == ("completed", True, 1)
    assert again["results"] == first["results"]


def test_trials_of_a_study_settle_their_choice_where_checkpoints_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[Any] = []
    original = Engine.__init__

    def init(self: Engine, *given: Any, settle: Any = None, init: Any = None) -> None:
        settled.append(settle)
        original(self, *given, settle=settle, init=init)

    monkeypatch.setattr(Engine, "__init__", init)
    started(Recipe(epochs=1), tmp_path).step()
    assert settled.pop()("a shape", lambda: Choice(True, False)) == Choice(True, False)
    assert len(list(tmp_path.glob("choice-*.json"))) == 1
    started(Recipe(epochs=1)).step()
    assert settled == [None]


def test_a_trial_gives_tune_no_checkpoint_and_takes_none() -> None:
    one = started(Recipe(epochs=1))
    assert one.save_checkpoint("anywhere") == {}
    assert one.load_checkpoint({}) is None  # type: ignore[func-returns-value]
    assert one.reset_config(one._config) is True
