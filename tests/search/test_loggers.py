"""What other tools are told of a study, and how its data are shared with its processes, by stand-ins."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray

from ressearch.errors import RessearchError, StudyError
from ressearch.registry import unchanged
from ressearch.search import loggers, schedulers, sharing, tensorboard
from ressearch.search.loggers import LOGGERS, LoggerType, callbacks, logger


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Ray's callbacks for MLflow and Weights & Biases, which note what they are given; neither is set up."""
    given: list[Any] = []

    def callback(**told: Any) -> Any:
        given.append(told)

        def setup(**info: Any) -> None:
            given.append(info)
            raise info["error"]

        return SimpleNamespace(setup=setup)

    for name, kind in (("mlflow", "MLflowLoggerCallback"), ("wandb", "WandbLoggerCallback")):
        module = SimpleNamespace(**{kind: callback})
        monkeypatch.setitem(sys.modules, f"ray.air.integrations.{name}", module)
    return given


def test_each_tool_is_told_the_studys_name_and_its_directory(tools: list[Any], tmp_path: Path) -> None:
    board, _, _ = callbacks(["tensorboard", "mlflow", "wandb"], "mine", tmp_path)
    assert isinstance(board, tensorboard.TensorBoard)
    assert board._directory == tmp_path / "tensorboard"
    assert tools == [{"experiment_name": "mine"}, {"project": "mine", "dir": str(tmp_path)}]
    assert {name: kind.package for name, kind in LOGGERS.items() if name in ("tensorboard", "mlflow", "wandb")} == {
        "tensorboard": "tensorboardX",
        "mlflow": "mlflow",
        "wandb": "wandb",
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no account\nfurther lines"), "no account"),
        (ValueError(" \n"), "ValueError"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 400), "x" * 300),
    ],
)
@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tool_that_is_not_set_up_says_so_in_one_line(
    tools: list[Any], tmp_path: Path, name: str, error: Exception, said: str
) -> None:
    (callback,) = callbacks([name], "mine", tmp_path)
    with pytest.raises(StudyError) as caught:
        callback.setup(error=error, start=1)
    assert str(caught.value) == f"loggers: {name} is not set up: {said}"
    assert tools[-1] == {"error": error, "start": 1}
    fine = SimpleNamespace(setup=lambda **info: tools.append(info))
    loggers._plainly(name, fine).setup(stop=2)
    assert tools[-1] == {"stop": 2}


def test_loggers_and_schedulers_are_registered_by_name_and_replaced_on_purpose_alone() -> None:
    def mine(study: str, directory: Path) -> Any:
        """Tell mine."""

    def other(study: str, directory: Path) -> Any:
        """Tell others."""

    with unchanged():
        assert logger("mine", package="my_package")(mine) is mine
        assert LOGGERS["mine"] == LoggerType(mine, "my_package")
        with pytest.raises(RessearchError):
            logger("mine")(other)
        logger("mine", replace=True)(other)
        assert LOGGERS["mine"] == LoggerType(other, None)
        assert schedulers.scheduler("mine")(mine) is mine
        with pytest.raises(RessearchError):
            schedulers.scheduler("mine")(other)
        schedulers.scheduler("mine", replace=True)(other)
        assert schedulers.SCHEDULERS["mine"] is other


class Writer:
    """Stands in for TensorBoard's writer."""

    made: list[Writer]

    def __init__(self, directory: str) -> None:
        self.directory, self.scalars, self.is_closed = directory, [("", 0.0, 0)][:0], False
        self.made.append(self)

    def add_scalar(self, key: str, value: float, step: int) -> None:
        self.scalars.append((key, value, step))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    Writer.made = []
    monkeypatch.setattr(tensorboard, "SummaryWriter", Writer)
    return Writer.made


def epoch(number: int, *values: float) -> list[dict[str, Any]]:
    keys = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
    return [{"epoch": number, **{key: value + at for at, key in enumerate(keys)}} for value in values]


def test_tensorboard_is_told_each_epochs_means_in_a_directory_of_the_trial(
    writers: list[Writer], tmp_path: Path
) -> None:
    board = tensorboard.TensorBoard(tmp_path)
    first, second = (SimpleNamespace(config={"trial": number}) for number in (3, 4))
    board.on_trial_result(1, [], first, {"results": [epoch(1, 0.25, 0.75), epoch(2, 2.0)]})
    board.on_trial_result(1, [], second, {})
    board.on_trial_result(1, [], first, {"results": [epoch(3, 1.0)]})
    assert [one.directory for one in writers] == [str(tmp_path / "trial-3"), str(tmp_path / "trial-4")]
    keys = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
    assert writers[0].scalars == [
        (key, mean + at, number) for number, mean in ((1, 0.5), (2, 2.0), (3, 1.0)) for at, key in enumerate(keys)
    ]
    assert writers[1].scalars == []
    board.on_trial_complete(1, [], first)
    assert [one.is_closed for one in writers] == [True, False]
    board.on_trial_complete(1, [], first)
    board.on_trial_error(1, [], second)
    assert [one.is_closed for one in writers] == [True, True]
    board.on_trial_result(1, [], first, {})
    assert len(writers) == 3
    assert board.__getstate__() == {}


class Parts:
    """Stands in for the parts of the data."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Ray's object store, whose references say what was put; and one node that is this machine."""
    made = SimpleNamespace(node="one", put=[], asked=[], nodes=[{"NodeManagerHostname": "here", "Alive": True}])

    def put(value: Any) -> str:
        made.put.append(value.tolist())
        return f"reference {len(made.put)}"

    def to_arrays(splits: Any, with_test: bool, can_map: bool) -> dict[str, Any]:
        made.asked.append((with_test, can_map))
        test = {"test_pool": np.array([3])} if with_test else {}
        return {"train_pool": np.array([1]), "train_labels": np.array([2]), "validation_pool": "a place", **test}

    monkeypatch.setattr(ray, "put", put)
    monkeypatch.setattr(ray, "nodes", lambda: made.nodes)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: made.node))
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    monkeypatch.setattr(sharing, "to_arrays", to_arrays)
    return made


def test_arrays_are_put_into_a_clusters_store_once(store: SimpleNamespace) -> None:
    parts: Any = Parts()
    searched = {"train_pool": "reference 1", "train_labels": "reference 2", "validation_pool": "a place"}
    assert sharing.share(parts) == searched
    assert sharing.share(parts) == searched
    assert sharing.share(parts, with_test=True) == {**searched, "test_pool": "reference 3"}
    assert store.put == [[1], [2], [3]]
    assert store.asked == [(False, True), (False, True), (True, True)]
    store.node = "another"  # Ray was started again: what was put is gone
    assert sharing.share(parts)["train_pool"] == "reference 4"
    assert sharing.share(Parts())["train_pool"] == "reference 6"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nodes", "is_one"),
    [
        ([("here", True)], True),
        ([("here", True), ("here", True)], True),
        ([("here", True), ("there", True)], False),
        ([("here", True), ("there", False)], True),
    ],
)
def test_files_are_mapped_where_every_node_is_this_machine(
    store: SimpleNamespace, nodes: list[tuple[str, bool]], is_one: bool
) -> None:
    store.nodes = [{"NodeManagerHostname": name, "Alive": is_alive} for name, is_alive in nodes]
    assert sharing._is_one_machine() is is_one
    sharing.share(Parts())  # type: ignore[arg-type]
    assert store.asked == [(False, is_one)]
