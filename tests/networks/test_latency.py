"""A network's latency and training memory: what is run, what comes of given times, what is kept; never real times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import benchmark

import ressearch
from ressearch import Architecture
from ressearch.errors import ArchitectureError, ResourceError
from ressearch.networks import latency
from ressearch.networks.latency import Latency, find_device, measure_latency, time_briefly, time_passes
from ressearch.networks.memory import measure_memory
from ressearch.remembered import cpu_model

MLP = Architecture("mlp", (1,), (4,))


class Seen(nn.Module):
    """A network that notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], bool, bool, int]] = []

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        mode = torch.is_inference_mode_enabled()
        self.calls.append((tuple(input.shape), self.training, mode, torch.get_num_threads()))
        return input


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that remembers nothing yet."""
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path))


@pytest.fixture
def threads() -> Iterator[None]:
    """Torch computes with two threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stands for the timer: notes what it is asked, calls once, and tells five times."""
    found: list[tuple[Any, ...]] = []

    def tell(call: Callable[[], object], threads: int, min_run_time: float) -> list[float]:
        found.append((threads, min_run_time, call()))
        return [0.005, 0.001, 0.002, 0.004, 0.003]

    monkeypatch.setattr(latency, "time_passes", tell)
    return found


def test_a_latency_is_the_median_between_the_quartiles(asked: list[Any], threads: None) -> None:
    found = measure_latency(MLP, (8,), 3, batch_size=4, threads=1, min_run_time=0.25)
    assert found == Latency(0.003, 0.002, 0.004, 5, 4, cpu_model(), 1, False)
    ((threads_asked, seconds, logits),) = asked
    assert (threads_asked, seconds) == (1, 0.25)
    assert logits.shape == (4, 3)
    assert str(found) == f"3 ms (quartiles 2 to 4, 5 runs), batch 4, {cpu_model()}, 1 thread"
    plain = dataclasses.replace(found, threads=0, exported=True, device="GPU")
    assert str(plain) == "3 ms (quartiles 2 to 4, 5 runs), batch 4, GPU, exported"


def test_it_is_of_one_input_for_half_a_second_with_torchs_threads_unless_said_otherwise(
    asked: list[Any], threads: None
) -> None:
    found = measure_latency(MLP, (8,))
    assert (found.batch_size, found.threads, found.exported) == (1, 2, False)
    assert asked[0][:2] == (2, 0.5)
    assert asked[0][2].shape == (1, 10)
    assert "2 threads" in str(found)


def test_building_a_network_leaves_torchs_random_state_as_it_was(asked: list[Any]) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    measure_latency(MLP, (8,))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_is_in_evaluation_mode(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    monkeypatch.setattr(latency, "build", lambda *arguments: seen)
    measure_latency(Architecture("transformer", (1,), (4,)), (5, 2), batch_size=3)
    assert [(shape, training) for shape, training, *_ in seen.calls] == [((3, 5, 2), False)]


def test_an_exported_program_runs_where_one_is_asked_for(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[Any] = []
    export = torch.export.export

    def noted(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
        exported.append(tuple(inputs[0].shape))
        return export(module, inputs)

    monkeypatch.setattr(torch.export, "export", noted)
    assert not measure_latency(MLP, (8,), 3).exported
    assert exported == []
    assert measure_latency(MLP, (8,), 3, batch_size=2, exported=True).exported
    assert exported == [(2, 8)]
    assert asked[-1][2].shape == (2, 3)


def test_what_was_measured_before_is_told_to_who_asks_for_it_and_measured_again_for_others(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure_latency(MLP, (8,), 3, threads=1)
    assert measure_latency(MLP, (8,), 3, threads=1, remember=True) == first
    assert len(asked) == 1
    monkeypatch.setattr(latency, "time_passes", lambda *given: [1.0, 1.0])
    assert measure_latency(MLP, (8,), 3, threads=1).median == 1
    assert measure_latency(MLP, (8,), 3, threads=1, remember=True).median == 1
    for other in ({"threads": 2}, {"batch_size": 2}, {"exported": True}, {"num_classes": 4}, {"input_shape": (9,)}):
        monkeypatch.setattr(latency, "time_passes", lambda *given: [7.0])
        given: dict[str, Any] = {"input_shape": (8,), "num_classes": 3, "threads": 1, **other}
        assert measure_latency(MLP, **given, remember=True).median == 7
        monkeypatch.setattr(latency, "time_passes", lambda *given: pytest.fail("measured again"))
        assert measure_latency(MLP, **given, remember=True).median == 7
    monkeypatch.setattr(latency, "device_name", lambda device: "another")
    with pytest.raises(pytest.fail.Exception):
        measure_latency(MLP, (8,), 3, threads=1, remember=True)


def test_a_device_that_is_not_here_and_a_wrong_input_are_refused_in_words() -> None:
    with pytest.raises(ResourceError, match=r"^device 'banana' is not here \(Expected one of .*\); there is cpu"):
        measure_latency(MLP, (8,), device="banana")
    with pytest.raises(ArchitectureError, match="input shape"):
        measure_latency(MLP, (3, 8, 8))
    with pytest.raises(ResourceError, match="'cuda:99' is not here"):
        measure_memory(MLP, (8,), device="cuda:99")
    with pytest.raises(ArchitectureError, match="input shape"):
        measure_memory(MLP, (3, 8, 8))
    assert find_device("cpu") == torch.device("cpu")


class Clock:
    """Stands for `benchmark.Timer`: each pass takes a given time, each block the mean of its own."""

    def __init__(self, blocks: list[float], passes: list[float]) -> None:
        self.blocks, self.passes, self.ran = blocks, iter(passes), []  # type: ignore[var-annotated]

    def timeit(self, number: int) -> Any:
        self.ran.append(number)
        return _Measurement([next(self.passes)])

    def blocked_autorange(self, min_run_time: float) -> Any:
        self.ran.append(min_run_time)
        return _Measurement(self.blocks)


class _Measurement:
    def __init__(self, times: list[float]) -> None:
        self.times, self.median = times, times[0]


def test_a_network_is_warmed_up_and_run_five_times_at_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([0.1, 0.2, 0.3], [9.0, 0.4, 0.5])
    monkeypatch.setattr(latency, "_timer", lambda call, threads: clock)
    assert time_passes(lambda: None, 1, 0.7) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert clock.ran == [2, 0.7, 1, 1]


def test_the_quickest_short_block_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([], [0.0004, 0.3, 0.1, 0.2])
    monkeypatch.setattr(latency, "_timer", lambda call, threads: clock)
    assert time_briefly(lambda: None, 1) == 0.1
    assert clock.ran == [2, 3, 3, 3]  # 3 x 0.4 ms fill a millisecond
    long = Clock([], [2.0, 2.5, 2.25])
    monkeypatch.setattr(latency, "_timer", lambda call, threads: long)
    assert time_briefly(lambda: None, 1, blocks=2) == 2.25
    assert long.ran == [2, 1, 1]
    frozen = Clock([], [0.0, 0.0])
    monkeypatch.setattr(latency, "_timer", lambda call, threads: frozen)
    assert time_briefly(lambda: None, 1, blocks=1) == 0
    assert frozen.ran == [2, 1]


def test_the_timer_calls_in_inference_mode_with_the_threads_asked_for_and_leaves_torch_its_own(threads: None) -> None:
    network, inputs = Seen(), torch.zeros(2, 3)
    times = time_passes(lambda: network(inputs), 1, 0.001)
    assert len(times) >= 5
    assert min(times) > 0
    time_briefly(lambda: network(inputs), 1, block_time=1e-5)
    assert {call[1:] for call in network.calls} == {(True, True, 1)}
    assert torch.get_num_threads() == 2
    assert isinstance(latency._timer(lambda: None, 2), benchmark.Timer)


def test_training_memory_is_what_tensors_hold_at_once_counted_by_hand() -> None:
    params = sum(one.numel() for one in ressearch.build(MLP, 8, 10).parameters())
    least = {states: measure_memory(MLP, (8,), 10, batch_size=2, optimizer_states=states) for states in (0, 1, 2)}
    assert least[1] - least[0] == 4 * params
    # AdamW keeps two numbers for each parameter and a step count for each tensor.
    assert least[2] - least[1] >= 4 * params
    assert least[0] >= 2 * 4 * params
    big = measure_memory(MLP, (8,), 10, batch_size=1002)
    assert big - least[1] > 4 * 1000 * 8  # the inputs, and more


def test_training_memory_lies_near_its_bound() -> None:
    network = Architecture.preset("resnet20-cifar")
    price = ressearch.cost(network, (3, 16, 16), 10)
    measured = measure_memory(network, (3, 16, 16), 10, batch_size=32)
    # When the activations are most, the last step's gradients are gone and the next ones are not there yet.
    assert price.training_memory(32) - 4 * price.params < measured < 1.3 * price.training_memory(32)
    assert measure_memory(network, (3, 16, 16), 10) > 1.8 * measured  # of batches of 64


def test_another_number_of_states_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^optimizer_states: 3 is not 0 \(SGD\), 1 \(momentum\) or 2 \(AdamW\)$"):
        measure_memory(MLP, (8,), optimizer_states=3)


def test_tensors_count_once_and_no_longer_than_they_are_there() -> None:
    from ressearch.networks.memory import _Held

    with _Held() as held:
        one = torch.zeros(1000)
        view = one.view(10, 100)
        one.add_(1)
        assert (held.now, held.peak) == (4000, 4000)
        two = torch.zeros(500)
        assert held.now == 6000
        del two
        assert (held.now, held.peak) == (4000, 6000)
        del one
        assert held.now == 4000
        del view
        assert held.now == 0
        three = torch.zeros(250)
    assert (held.now, held.peak) == (1000, 6000)
    del three


def test_inputs_are_small_images_where_nobody_says_otherwise(asked: list[Any]) -> None:
    network = Architecture("basic", (1,), (4,))
    measure_latency(network)
    measure_latency(network, (3, 32, 32), remember=True)
    assert len(asked) == 1
    assert measure_memory(network, batch_size=2) == measure_memory(network, (3, 32, 32), batch_size=2)


def test_threads_count_on_a_cpu_alone(asked: list[Any]) -> None:
    assert measure_latency(MLP, (8,), device="meta", threads=2).threads == 0
    assert asked[0][0] == 1
    assert asked[0][2].device.type == "meta"
