"""One group of replicates: its parts one by one, with numbers worked out by hand or by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ressearch import Architecture
from ressearch.data import Resident, Split
from ressearch.data.batches import Batch
from ressearch.training import Recipe, replicates
from ressearch.training.replicates import Diverged, Replicates, learning_rate

SHAPES = {"vector": (5,), "sequence": (4, 3), "image": (2, 4, 4)}
NETWORKS = {
    "vector": Architecture("mlp", (1,), (6,)),
    "sequence": Architecture("transformer", (1,), (8,)),
    "image": Architecture("basic", (1,), (4,)),
}


def made(kind: str = "vector", seeds: tuple[int, ...] = (7,), examples: int = 24, **recipe: Any) -> Replicates:
    inputs = torch.randn(examples, *SHAPES[kind], generator=torch.Generator().manual_seed(1))
    data = Resident(Split(inputs, torch.arange(examples) % 3), torch.zeros(1), torch.ones(1))
    how = Recipe(**{"seeds": seeds, "batch_size": 8, **recipe})
    return Replicates(NETWORKS[kind], data, data, 3, how, seeds, recipe.get("channels_last", True))


def test_rates_end_at_the_last_step() -> None:
    recipe = Recipe(epochs=2, lr=1.0, warmup_epochs=1.5)  # 1.5 steps of 2
    assert [learning_rate(recipe, step, 1) for step in (0, 1)] == pytest.approx([1 / 2.5, 2 / 2.5])
    cosine = Recipe(epochs=2, lr=1.0, schedule="cosine")
    assert [learning_rate(cosine, step, 1) for step in (0, 1)] == pytest.approx([1, 0.5])
    quick = Recipe(epochs=2, lr=1.0, schedule="cosine", warmup_epochs=0.25)
    assert learning_rate(quick, 1, 1) == pytest.approx(0.5 * (1 + np.cos(np.pi * 0.75 / 1.75)))


def test_inputs_of_replicates_lie_side_by_side_along_the_channels() -> None:
    for shape, expected in (
        ((2, 3, 5), (3, 10)),  # vectors: replicates, batch, features
        ((2, 3, 4, 5), (3, 4, 10)),  # sequences: replicates, batch, tokens, features
        ((2, 3, 4, 5, 6), (3, 8, 5, 6)),  # images: replicates, batch, channels, height, width
    ):
        inputs = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        axis = 1 if len(shape) == 5 else -1
        joined = made()._join(torch.from_numpy(inputs)).numpy()
        assert joined.shape == expected
        assert np.array_equal(joined, np.concatenate([inputs[0], inputs[1]], axis))


@pytest.mark.parametrize(
    ("precision", "cast", "dtype"),
    [
        ("float32", None, torch.float32),
        ("bfloat16", torch.bfloat16, torch.float32),
        ("float16", torch.float16, torch.float32),
        ("float64", None, torch.float64),
    ],
)
def test_logits_are_of_replicates_batch_and_classes_and_never_of_half_precision(
    precision: str, cast: torch.dtype | None, dtype: torch.dtype
) -> None:
    group, seen = made(seeds=(1, 2), precision=precision), []

    def network(inputs: Tensor) -> Tensor:
        seen.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None)
        out = torch.arange(24.0).view(4, 6)
        return out.double() if precision == "float64" else out.to(cast or torch.float32)

    logits = group._logits(network, torch.zeros(4, 10))  # type: ignore[arg-type]
    assert seen == [cast]
    assert logits.dtype == dtype
    # Of each example: the classes of the first replicate, then those of the second.
    assert logits[0].tolist() == [[0, 1, 2], [6, 7, 8], [12, 13, 14], [18, 19, 20]]
    assert logits[1].tolist() == [[3, 4, 5], [9, 10, 11], [15, 16, 17], [21, 22, 23]]


@pytest.mark.parametrize("is_last", [True, False])
def test_images_and_filters_are_laid_out_as_chosen(is_last: bool) -> None:
    group, seen = made("image", channels_last=is_last), []
    for parameter in group.network.parameters():
        if parameter.ndim == 4:
            assert parameter.is_contiguous(memory_format=torch.channels_last) == is_last

    def network(inputs: Tensor) -> Tensor:
        seen.append(inputs.is_contiguous(memory_format=torch.channels_last))
        return torch.zeros(len(inputs), 3)

    for layout in (torch.channels_last, torch.contiguous_format):
        group._logits(network, torch.zeros(3, 2, 4, 4).contiguous(memory_format=layout))  # type: ignore[arg-type]
    assert seen == [is_last] * 2
    assert made("sequence", channels_last=is_last)._layout == torch.contiguous_format


def test_generators_of_order_and_noise_are_the_seeds_own() -> None:
    group = made(seeds=(3, 11), precision="float16")
    assert [one.initial_seed() for one in group._order] == [3, 11]
    assert [one.initial_seed() for one in group._noise] == [3 + 0x5EED, 11 + 0x5EED]
    assert group._scaler.is_enabled()
    assert not made(precision="bfloat16")._scaler.is_enabled()
    assert made("image")._steps_per_epoch == 3
    assert (made(examples=20)._steps_per_epoch, made(examples=5)._steps_per_epoch) == (2, 1)


def test_dropout_draws_from_the_noise_of_the_seed() -> None:
    network = NETWORKS["vector"].replace(dropout=0.5)
    data = made().train_data
    drawn = []
    for _ in range(2):
        group = Replicates(network, data, data, 3, Recipe(), (7,))
        state = group._noise[0].get_state()
        torch.manual_seed(len(drawn))  # the process' own stream says nothing
        drawn.append(group.step(Batch(data.inputs(slice(0, 8)), data.labels[None, :8], None))[0])
        assert not torch.equal(group._noise[0].get_state(), state)
        assert torch.equal(group._order[0].get_state(), torch.Generator().manual_seed(7).get_state())
    assert torch.equal(*drawn)


def test_gradients_are_clipped_for_each_replicate_by_its_own_norm() -> None:
    group = made(seeds=(1, 2, 3))
    for parameter in group.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight, other = [one for one in group.network.parameters() if one.shape[0] % 3 == 0][:2]
    assert weight.grad is not None
    assert other.grad is not None
    rows, more = weight.grad.view(3, -1), other.grad.view(3, -1)
    rows[0, 0], more[0, 1] = 3.0, 4.0  # norm 5
    rows[1, 0] = 0.5  # below 1
    rows[2, 1], more[2, 0] = 3e-6, 0.0
    group._clip(1.0)
    assert rows[0, 0].item() == pytest.approx(3 / (5 + 1e-6), rel=1e-6)
    assert more[0, 1].item() == pytest.approx(4 / (5 + 1e-6), rel=1e-6)
    assert rows[1, 0].item() == 0.5
    assert rows[2, 1].item() == pytest.approx(3e-6)
    group._clip(1e-6)
    assert rows[2, 1].item() == pytest.approx(3e-6 * 1e-6 / 4e-6, rel=1e-4)  # epsilon as torch has it
    assert rows[0, 1:].abs().sum() == 0


def test_a_gradient_alone_is_clipped_by_torch_and_none_is_touched_below_the_bound() -> None:
    alone = made(seeds=(4,))
    for parameter in alone.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    first = next(iter(alone.network.parameters()))
    assert first.grad is not None
    first.grad.view(-1)[:2] = torch.tensor([3.0, 4.0])
    alone._clip(1.0)
    assert first.grad.view(-1)[:2].tolist() == pytest.approx([0.6, 0.8], rel=1e-5)
    together = made(seeds=(4, 5))
    *some, last = together.network.parameters()
    for parameter in some:
        parameter.grad = torch.full_like(parameter, 1e-3)
    before = [parameter.grad.clone() for parameter in some if parameter.grad is not None]
    versions = [parameter.grad._version for parameter in some if parameter.grad is not None]
    together._clip(1.0)
    assert last.grad is None  # a parameter without gradient is passed over
    for parameter, was, version in zip(some, before, versions, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, was)
        assert parameter.grad._version == version  # nothing is multiplied by 1 on a CPU


class Scaler:
    """Stands in for the gradient scaler of float16: scales by 8 and writes down what it is asked."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def scale(self, loss: Tensor) -> Tensor:
        self.log.append("scale")
        return loss * 8

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        self.log.append("unscale")
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad.div_(8)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self.log.append("step")
        optimizer.step()

    def update(self) -> None:
        self.log.append("update")


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_step_unscales_before_it_clips_and_forgets_the_former_gradients(
    clip: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = made(gradient_clip=clip)
    scaler = Scaler()
    group._scaler = scaler  # type: ignore[assignment]
    cleared: list[Any] = []
    zero = group._optimizer.zero_grad
    monkeypatch.setattr(group._optimizer, "zero_grad", lambda **how: cleared.append(how) or zero(**how))
    clipped: list[float] = []
    monkeypatch.setattr(group, "_clip", lambda largest: clipped.append(largest) or scaler.log.append("clip"))
    data = group.train_data
    losses, hits = group.step(Batch(data.inputs(slice(0, 8)), data.labels[None, :8], None))
    assert scaler.log == ["scale", *(["unscale", "clip"] if clip else []), "step", "update"]
    assert clipped == ([clip] if clip else [])
    assert cleared == [{"set_to_none": True}]
    assert not losses.requires_grad
    assert losses.shape == hits.shape == (1,)


def test_losses_are_looked_at_each_step_on_a_cpu_and_every_sixteen_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Device(str):
        """The CPU, which says that it is a GPU."""

        type = "cuda"
        __slots__ = ()

    for examples, expected in ((8 * 40, [16, 16, 8]), (8 * 32, [16, 16, 0]), (8 * 3, [3])):
        group = made(examples=examples)
        group.device = Device("cpu")  # type: ignore[assignment]
        looked: list[list[float]] = []
        losses = iter(range(1000))
        monkeypatch.setattr(group, "_run_step", lambda batch, losses=losses: (torch.ones(1) * next(losses), 1))
        monkeypatch.setattr(group, "_evaluate", lambda data: (torch.zeros(1), torch.zeros(1, 4, dtype=torch.bool)))
        monkeypatch.setattr(group, "_require_sane", lambda some, looked=looked: looked.append([*map(float, some)]))
        (result,) = group.train_epoch()
        assert [len(some) for some in looked] == expected
        steps = examples // 8
        assert [one for some in looked for one in some] == list(range(steps))
        assert result.train_loss == pytest.approx((steps - 1) / 2)
        assert result.train_accuracy == pytest.approx(1 / 8)
        group.device = torch.device("cpu")
        looked.clear()
        group.train_epoch()
        assert [len(some) for some in looked] == [1] * steps + [0]


def test_a_divergence_names_the_first_step_and_the_seed_of_it() -> None:
    group = made(seeds=(4, 9))
    group._step = 10
    fine, bad, worse = torch.tensor([1.0, 2.0]), torch.tensor([1.0, float("nan")]), torch.tensor([2e4, 3.0])
    group._require_sane([])
    group._require_sane([fine])
    group._require_sane([fine, fine])
    for losses, said in (
        ([fine, bad, worse], "seed 9: loss is nan at step 9"),
        ([fine, fine, worse], "seed 4: loss is 2e+04 at step 10"),
        ([worse], "seed 4: loss is 2e+04 at step 10"),
        ([torch.tensor([12345.6, 1.0]), fine], "seed 4: loss is 1.235e+04 at step 9"),
        ([torch.tensor([1.0, 1e4])], "seed 9: loss is 1e+04 at step 10"),
    ):
        with pytest.raises(Diverged) as raised:
            group._require_sane(losses)
        assert str(raised.value) == said


def test_an_epoch_reports_each_seeds_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    group = made(seeds=(4, 9))
    ticks = iter([100.0, 107.0])
    monkeypatch.setattr(replicates.time, "perf_counter", lambda: next(ticks))
    assert [(one.seed, one.epoch, one.seconds) for one in group.train_epoch()] == [(4, 1, 3.5), (9, 1, 3.5)]


def test_training_mode_returns_after_an_evaluation() -> None:
    group = made()
    group.train_epoch()
    assert not group.network.training
    seen: list[bool] = []
    step = group.step
    group.step = lambda batch: seen.append(group.network.training) or step(batch)  # type: ignore[method-assign]
    group.train_epoch()
    assert seen == [True] * 3


def test_evaluation_of_many_batches_is_of_all_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    group = made(seeds=(4, 9))
    data = group.validation_data
    whole = group.evaluate(data)
    pieces = [(data.inputs(slice(at, at + 7)), data.labels[at : at + 7]) for at in range(0, 24, 7)]
    monkeypatch.setattr(replicates, "evaluation_batches", lambda data: iter(pieces))
    again = group.evaluate(data)
    assert again.losses == pytest.approx(whole.losses, rel=1e-5)
    assert again.accuracies == whole.accuracies
    assert again.correct.tolist() == whole.correct.tolist()


@pytest.mark.parametrize("kind", NETWORKS)
def test_matrices_and_filters_alone_are_decayed_whatever_the_replicates(kind: str) -> None:
    counts = set()
    for seeds in ((1,), (1, 2), (1, 2, 3, 4)):
        group = made(kind, seeds, weight_decay=0.3)
        decayed, free = sorted(group._parameter_groups(), key=lambda one: -one["weight_decay"])  # type: ignore[operator]
        assert (decayed["weight_decay"], free["weight_decay"], decayed["factor"], free["factor"]) == (0.3, 0.0, 1, 1)
        names = {id(parameter): name for name, parameter in group.network.named_parameters()}
        counts.add(tuple(sorted(names[id(one)] for one in decayed["params"])))  # type: ignore[attr-defined]
    (weights,) = counts
    assert all(name.endswith("weight") for name in weights)
