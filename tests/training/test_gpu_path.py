"""The path of a GPU, walked on the CPU: captured steps with a stand-in for `torch.cuda`, optimizers as on a GPU."""

from __future__ import annotations

import contextlib
import gc
import io
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ressearch import Architecture, Study
from ressearch.data import Splits, load_dataset, split
from ressearch.errors import ResourceError
from ressearch.search.resources import trial_device, trial_resources
from ressearch.search.trial import TrialSpec, TrialTrainable, to_arrays
from ressearch.training import Engine, Recipe, graph, replicates
from ressearch.training.optimizers import make_optimizer, restore_optimizer, set_learning_rate
from ressearch.training.replicates import Replicates

TINY = Architecture(depths=(1, 1), widths=(4, 8))


@pytest.fixture(scope="module")
def splits() -> Splits:
    return split(load_dataset("synthetic"), seed=0, validation=0.2, test=0.2)


class Stream:
    """A stream that remembers for whom it waited."""

    def __init__(self) -> None:
        self.waited_for: list[Stream] = []

    def wait_stream(self, other: Stream) -> None:
        self.waited_for.append(other)


class StandIn:
    """What `ressearch.training.graph` uses of `torch.cuda`, on the CPU.

    As on a GPU, what runs while a graph is captured changes nothing, and a replay runs the step on the tensors that
    were there when it was captured.
    """

    def __init__(self) -> None:
        self.owner: Replicates | None = None
        self.current = self.usual = Stream()
        self.modes: list[str] = []
        self.streams: list[Stream | None] = []
        self.replays = 0
        self.breaks: Exception | None = None

    Stream = Stream

    def current_stream(self) -> Stream:
        return self.current

    def set_stream(self, stream: Stream) -> None:
        self.current = stream

    def synchronize(self) -> None:
        pass

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def CUDAGraph(self) -> Any:
        return Graph(self)

    @contextlib.contextmanager
    def graph(
        self, captured: Graph, stream: Stream | None = None, capture_error_mode: str = "global"
    ) -> Iterator[None]:
        self.modes.append(capture_error_mode)
        self.streams.append(stream)
        self.current = stream or Stream()
        assert self.owner is not None
        moments = [one for state in self.owner._optimizer.state.values() for one in state.values()]
        tensors = [*self.owner.network.state_dict().values(), *moments]
        before = [one.clone() for one in tensors]
        try:
            yield
        finally:
            with torch.no_grad():
                for one, was in zip(tensors, before, strict=True):
                    one.copy_(was)
        # The end of a broken capture raises before torch leaves the stream of the capture.
        if self.breaks is not None:
            raise self.breaks
        self.current = self.usual


class Graph:
    """Replays by running the owner's step on the tensors of the capture."""

    def __init__(self, cuda: StandIn) -> None:
        self.cuda = cuda

    def replay(self) -> None:
        owner = self.cuda.owner
        assert owner is not None
        captured = owner._captured
        assert captured is not None
        assert captured._batch is not None
        assert captured._results is not None
        self.cuda.replays += 1
        for held, new in zip(captured._results, owner.step(captured._batch), strict=True):
            held.copy_(new)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(graph, "cuda", stand_in)
    monkeypatch.setattr(replicates, "why_not_captured", lambda device, recipe, network: None)
    return stand_in


def train(splits: Splits, recipe: Recipe, cuda: StandIn | None = None) -> tuple[list[tuple[float, float]], Engine]:
    """Return (training loss, validation accuracy) of every epoch and the engine."""
    engine = Engine(TINY, splits, 3, recipe)
    history = []
    while not engine.is_finished:
        for group in engine.groups:
            if cuda is not None:
                cuda.owner = group
            history += [(one.train_loss, one.val_accuracy) for one in group.train_epoch()]
    return history, engine


RECIPES = {
    "sgd": {"lr": 0.1},
    "adamw": {"optimizer": "adamw", "lr": 0.01},
    "mup": {"lr": {"transfer": "mup", "base": 0.1, "base_width": 2}},
    "two seeds": {"seeds": (0, 1), "replicates": "grouped", "gradient_clip": 1.0},
    "mixed labels": {"augmentation": ("mixup",), "label_smoothing": 0.1},
}


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_captured_steps_train_as_eager_ones(
    splits: Splits, changes: dict[str, Any], cuda: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=2, channels_last=False, **changes)
    captured, engine = train(splits, recipe, cuda)
    steps = engine.groups[0]._step
    with monkeypatch.context() as patch:
        patch.setattr(replicates, "why_not_captured", lambda device, recipe, network: "no")
        eager, _ = train(splits, recipe)
    assert captured == [pytest.approx(one, rel=1e-5) for one in eager]
    assert engine.description.endswith("CUDA graph")
    assert cuda.replays == steps - 3
    assert cuda.modes == ["thread_local"]
    assert cuda.streams[0] is not None  # the stream of the eager steps: its memory is used again
    assert all(isinstance(parameters["lr"], Tensor) for parameters in engine.groups[0]._optimizer.param_groups)


@pytest.mark.parametrize("breaks_in", ["the step", "the end of the capture"])
def test_a_capture_that_fails_leaves_stream_optimizer_and_training_as_they_were(
    splits: Splits, cuda: StandIn, breaks_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=2, optimizer="adamw", lr=0.01, channels_last=False)
    step, problem = Replicates.step, RuntimeError("operation not permitted when stream is capturing\nmore of it")

    def break_while_captured(self: Replicates, batch: Any) -> tuple[Tensor, Tensor]:
        results = step(self, batch)
        if cuda.modes and cuda.current is not cuda.usual:
            raise problem
        return results

    if breaks_in == "the step":
        monkeypatch.setattr(Replicates, "step", break_while_captured)
    else:
        cuda.breaks = problem
    history, engine = train(splits, recipe, cuda)
    monkeypatch.setattr(Replicates, "step", step)
    monkeypatch.setattr(replicates, "why_not_captured", lambda device, recipe, network: "no")
    eager, _ = train(splits, recipe)
    assert history == [pytest.approx(one, rel=1e-5) for one in eager]
    assert cuda.current is cuda.usual
    assert cuda.replays == 0
    assert "capturing failed: operation not permitted when stream is capturing)" in engine.description


def test_a_trial_is_freed_without_a_garbage_collection(splits: Splits, cuda: StandIn) -> None:
    gc.collect()
    gc.disable()
    try:
        _, engine = train(splits, Recipe(epochs=1, channels_last=False), cuda)
        left = [weakref.ref(one) for one in (engine, engine.groups[0], engine.groups[0].network)]
        left += [weakref.ref(parameter) for parameter in engine.groups[0].network.parameters()]
        cuda.owner = None
        del engine
        assert [one() for one in left if one() is not None] == []
    finally:
        gc.enable()


def parameter_groups() -> list[dict[str, Any]]:
    one, other = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    return [
        {"params": [one], "weight_decay": 0.0, "factor": 1.0},
        {"params": [other], "weight_decay": 0.0, "factor": 0.5},
    ]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("is_captured", [False, True])
@pytest.mark.parametrize("was_captured", [False, True])
def test_every_parameter_group_trains_at_a_rate_of_its_own_also_after_a_restart(
    optimizer: str, is_captured: bool, was_captured: bool
) -> None:
    recipe = Recipe(optimizer=optimizer)

    def step(made: torch.optim.Optimizer, lr: float) -> None:
        set_learning_rate(made, lr)
        for group in made.param_groups:
            group["params"][0].grad = torch.ones(2)
        made.step()

    before = make_optimizer(parameter_groups(), recipe, was_captured)
    step(before, 0.1)
    file = io.BytesIO()
    torch.save(before.state_dict(), file)
    file.seek(0)
    after = make_optimizer(parameter_groups(), recipe, is_captured)
    restore_optimizer(after, torch.load(file, weights_only=True))
    rates = [group["lr"] for group in after.param_groups]
    step(after, 0.2)
    assert [isinstance(group["lr"], Tensor) for group in after.param_groups] == [is_captured] * 2
    assert [float(group["lr"]) for group in after.param_groups] == pytest.approx([0.2, 0.1])
    assert all(kept is group["lr"] for kept, group in zip(rates, after.param_groups, strict=True)) or not is_captured
    assert all(group.get("capturable", is_captured) == is_captured for group in after.param_groups)
    # The second step of SGD with Nesterov momentum 0.9 on gradients of 1 moves by lr x (1 + 0.9 x 1.9); Adam's by lr.
    moved = 2.71 if optimizer == "sgd" else 1.0
    for group, lr in zip(after.param_groups, (0.2, 0.1), strict=True):
        assert group["params"][0].tolist() == pytest.approx([1 - lr * moved] * 2, rel=1e-4)


def test_a_first_step_that_the_scaler_of_float16_skips_leaves_no_trace() -> None:
    parameter = torch.nn.Parameter(torch.ones(64))
    torch.use_deterministic_algorithms(True)  # fills memory that nobody has written with NaN
    try:
        optimizer = make_optimizer([{"params": [parameter], "weight_decay": 0.0, "factor": 1.0}], Recipe())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        set_learning_rate(optimizer, 0.1)
        for gradient in (float("inf"), 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale((parameter * gradient).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    finally:
        torch.use_deterministic_algorithms(False)
    expected = 1 - 0.1 * (1.9 + 2.71)
    assert parameter.tolist() == pytest.approx([expected] * 64)


def test_a_trial_that_reserves_no_gpu_uses_none(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [trial_device(gpus).type for gpus in (0, 0.25, 1, None)] == ["cpu", "cuda", "cuda", "cuda"]
    trial = TrialTrainable.__new__(TrialTrainable)
    config = {"trial": 0, "architecture": TINY.to_dict(), "lr": None}
    trial.setup(config, TrialSpec(Recipe(epochs=1, cuda_graph="off"), 1, 3), to_arrays(splits))
    assert trial.step()["device"] == "cpu"


def test_more_than_one_gpu_per_trial_is_refused_rather_than_left_idle() -> None:
    study = Study.from_dict({"space": {"grid": {"depth": [8], "width": 4}}, "resources": {"gpus_per_trial": 4}})
    with pytest.raises(ResourceError, match="4 GPUs per trial, but a trial trains on one: expected at most 1"):
        trial_resources(study, cpus=8, gpus=8)


@pytest.mark.parametrize(("gpus_per_trial", "at_once"), [(0, 200), (0.5, 4), (0.3, 6), (1, 2), (1 / 49, 98)])
def test_fractions_of_gpus_bound_how_many_trials_run_at_once(gpus_per_trial: float, at_once: int) -> None:
    study = Study.from_dict(
        {"space": {"grid": {"depth": [8], "width": 4}}, "resources": {"gpus_per_trial": gpus_per_trial}}
    )
    assert trial_resources(study, cpus=200, gpus=2).concurrency == at_once
