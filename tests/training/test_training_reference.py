"""Training against a loop in plain torch, written here from the recipe's documentation alone.

Every step sees all examples, so their order makes no difference, and numbers are float64: what is left between the two
is rounding. The network is the package's own (others test it); all that is done with it is written out here.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ressearch import Architecture, registry
from ressearch.data import Mixing, Resident, Split, augmentation
from ressearch.networks.build import build
from ressearch.training import Recipe
from ressearch.training.replicates import Diverged, Replicates, learning_rate

CLASSES, EXAMPLES, STEPS = 3, 30, 8
NETWORKS = {
    "vector": (Architecture("mlp", (2,), (6,), norm="batch"), (5,)),
    "image": (Architecture("basic", (1, 1), (4, 6)), (2, 6, 6)),
}


def examples(shape: tuple[int, ...], seed: int) -> Resident:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(EXAMPLES, *shape, generator=generator, dtype=torch.float64)
    labels = (inputs.flatten(1)[:, :2] > 0).long().sum(1)
    return Resident(Split(inputs, labels), torch.full((1,), 0.5), torch.full((1,), 2.0), torch.float64)


def normalised(data: Resident) -> tuple[Tensor, Tensor]:
    return (data.split.load(slice(None)) - 0.5) / 2.0, data.labels


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean of -sum t log p, t the targets moved towards 1/C by `smoothing` (Szegedy et al. 2016)."""
    log = logits - logits.exp().sum(1, keepdim=True).log()
    return -(((1 - smoothing) * targets + smoothing / targets.shape[1]) * log).sum(1).mean()


def rate(step: int, recipe: dict[str, Any]) -> float:
    """The schedules as `Recipe` describes them; a step is an epoch here."""
    peak, schedule = recipe.get("lr", 0.1), recipe.get("schedule", "one_cycle")
    if (meant := recipe.get("lr_batch_size")) is not None:
        ratio = EXAMPLES / meant
        peak *= ratio if recipe.get("lr_rule", "linear") == "linear" else math.sqrt(ratio)
    warm = recipe.get("warmup_epochs", 0.3 * STEPS if schedule == "one_cycle" else 0.0)
    if step < warm:
        return float(peak * (step + 1) / (warm + 1))
    if schedule == "constant":
        return float(peak)
    return float(peak * (1 + math.cos(math.pi * (step - warm) / (STEPS - warm))) / 2)


class Reference:
    """One network and a training loop without torch's optimizers, losses or averages."""

    def __init__(self, network: nn.Module, recipe: dict[str, Any]) -> None:
        self.network, self.recipe = network, recipe
        self.moments: dict[str, Tensor] = {}
        self.squares: dict[str, Tensor] = {}
        self.average: dict[str, Tensor] | None = None

    def step(self, number: int, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
        """Train one step; returns the loss, and the share of examples that were right."""
        self.network.train()
        logits = self.network(inputs)
        loss = cross_entropy(logits, targets, self.recipe.get("label_smoothing", 0.0))
        named = dict(self.network.named_parameters())
        gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
        if (most := self.recipe.get("gradient_clip")) is not None:
            norm = math.sqrt(sum(float((one**2).sum()) for one in gradients.values()))
            self.clipped = norm > most
            gradients = {name: one * min(1.0, most / (norm + 1e-6)) for name, one in gradients.items()}
        lr, decay = rate(number, self.recipe), self.recipe.get("weight_decay", 5e-4)
        with torch.no_grad():
            for name, weight in named.items():
                own = decay if weight.ndim > 1 else 0.0
                if self.recipe.get("optimizer", "sgd") == "sgd":
                    self._sgd(name, weight, gradients[name], lr, own)
                else:
                    self._adamw(name, weight, gradients[name], lr, own, number + 1)
        self._average()
        return loss.item(), float((logits.argmax(1) == targets.argmax(1)).double().mean())

    def _sgd(self, name: str, weight: Tensor, gradient: Tensor, lr: float, decay: float) -> None:
        """Sutskever et al. 2013 in torch's form: v = m v + g; w -= lr (g + m v)."""
        momentum = self.recipe.get("momentum", 0.9)
        gradient = gradient + decay * weight
        moment = momentum * self.moments.get(name, torch.zeros_like(weight)) + gradient
        self.moments[name] = moment
        weight -= lr * (gradient + momentum * moment)

    def _adamw(self, name: str, weight: Tensor, gradient: Tensor, lr: float, decay: float, count: int) -> None:
        """Loshchilov and Hutter 2019, with beta 0.9 and 0.999, epsilon 1e-8."""
        zeros = torch.zeros_like(weight)
        self.moments[name] = 0.9 * self.moments.get(name, zeros) + 0.1 * gradient
        self.squares[name] = 0.999 * self.squares.get(name, zeros) + 0.001 * gradient**2
        weight *= 1 - lr * decay
        mean, square = self.moments[name] / (1 - 0.9**count), self.squares[name] / (1 - 0.999**count)
        weight -= lr * mean / (square.sqrt() + 1e-8)

    def _average(self) -> None:
        if (kept := self.recipe.get("ema")) is None:
            return
        now = {name: one.clone() for name, one in self.network.state_dict().items()}
        if self.average is None:
            self.average = now
        for name, one in now.items():
            if one.is_floating_point():
                self.average[name] = kept * self.average[name] + (1 - kept) * one

    def score(self, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
        """Loss (never smoothed) and accuracy of what is to be evaluated."""
        network = copy.deepcopy(self.network)
        if self.average is not None:
            network.load_state_dict(self.average)
        network.eval()
        with torch.no_grad():
            logits = network(inputs)
        loss = cross_entropy(logits, nn.functional.one_hot(labels, CLASSES).double())
        return loss.item(), float((logits.argmax(1) == labels).double().mean())


RECIPES: list[dict[str, Any]] = [
    {},
    {"momentum": 0.0},
    {"momentum": 0.5, "weight_decay": 0.2},
    {"weight_decay": 0.0},
    {"schedule": "constant"},
    {"schedule": "cosine"},
    {"schedule": "cosine", "warmup_epochs": 3.0},
    {"schedule": "constant", "warmup_epochs": 2.5},
    {"schedule": "one_cycle", "warmup_epochs": 0.0},
    {"label_smoothing": 0.2},
    {"gradient_clip": 0.05},
    {"gradient_clip": 1e6},
    {"ema": 0.6},
    {"optimizer": "adamw", "lr": 0.01},
    {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.5},
    {"lr": 0.02, "lr_batch_size": 10},
    {"lr": 0.02, "lr_batch_size": 120, "lr_rule": "sqrt"},
    {"optimizer": "adamw", "lr": 0.02, "gradient_clip": 0.1, "label_smoothing": 0.1, "ema": 0.9, "schedule": "cosine"},
]


def group(kind: str, recipe: dict[str, Any], **further: Any) -> tuple[Replicates, Resident, Resident]:
    network, shape = NETWORKS[kind]
    train, validation = examples(shape, 1), examples(shape, 2)
    full = Recipe(**{"epochs": STEPS, "batch_size": EXAMPLES, "precision": "float64", **recipe, **further})
    return Replicates(network, train, validation, CLASSES, full, (7,)), train, validation


@pytest.mark.parametrize(
    "recipe", RECIPES, ids=lambda recipe: "-".join(f"{k}={v}" for k, v in recipe.items()) or "plain"
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_option_trains_as_its_formula_says(kind: str, recipe: dict[str, Any]) -> None:
    ours, train, validation = group(kind, recipe)
    theirs = Reference(copy.deepcopy(ours.network), recipe)
    inputs, labels = normalised(train)
    for step in range(STEPS):
        (result,) = ours.train_epoch()
        loss, accuracy = theirs.step(step, inputs, nn.functional.one_hot(labels, CLASSES).double())
        val_loss, val_accuracy = theirs.score(*normalised(validation))
        assert result.lr == pytest.approx(rate(step, recipe), rel=1e-12)
        assert result.train_loss == pytest.approx(loss, rel=1e-8)
        assert result.val_loss == pytest.approx(val_loss, rel=1e-8)
        assert result.train_accuracy == pytest.approx(accuracy)
        assert result.val_accuracy == pytest.approx(val_accuracy)
        assert (result.seed, result.epoch) == (7, step + 1)
    expected = theirs.network.state_dict() if theirs.average is None else theirs.average
    for name, value in ours.state(0).items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name], rtol=1e-7, atol=1e-10, msg=name)
    if "gradient_clip" in recipe:
        assert theirs.clipped == (recipe["gradient_clip"] < 1)
    if "ema" in recipe:
        (name, *_) = dict(theirs.network.named_parameters())
        assert not torch.allclose(theirs.network.state_dict()[name], expected[name])


def test_mixed_labels_are_what_is_learned() -> None:
    with registry.unchanged():

        @augmentation("blurred_labels")
        class Blurred(Mixing):
            """Labels of which a third is spread over all classes; the same for every order of a batch."""

            def draw(self, count: int, shape: Any, generator: torch.Generator) -> tuple[Tensor, ...]:
                return (torch.arange(count),)

            def mix(self, inputs: Tensor, targets: Tensor, draws: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
                return 2 * inputs, (2 * targets + 1 / CLASSES) / 3

        recipe = {"label_smoothing": 0.1}
        ours, train, _ = group("image", recipe, augmentation=("blurred_labels",))
        theirs = Reference(copy.deepcopy(ours.network), recipe)
        inputs, labels = normalised(train)
        targets = (2 * nn.functional.one_hot(labels, CLASSES).double() + 1 / CLASSES) / 3
        for step in range(3):
            (result,) = ours.train_epoch()
            loss, accuracy = theirs.step(step, 2 * inputs, targets)
            assert result.train_loss == pytest.approx(loss, rel=1e-8)
            assert result.train_accuracy == pytest.approx(accuracy)


def test_a_mean_over_steps_is_reported_and_the_last_incomplete_batch_is_left_out() -> None:
    network, shape = NETWORKS["vector"]
    train = examples(shape, 1)
    recipe = Recipe(epochs=2, batch_size=8, precision="float64", seeds=(7,), schedule="constant", lr=1e-12)
    trained = Replicates(network, train, train, CLASSES, recipe, (7,))
    seen: list[Tensor] = []
    step = trained.step

    def watched(batch: Any) -> Any:
        seen.append(batch.labels.clone())
        return step(batch)

    trained.step = watched  # type: ignore[method-assign]
    still = copy.deepcopy(trained.network)
    (result,) = trained.train_epoch()
    assert [tuple(labels.shape) for labels in seen] == [(1, 8)] * 3  # 30 examples: 6 are left out
    order = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(7))[:24]
    inputs, labels = normalised(train)
    assert torch.equal(torch.cat(seen, 1)[0], labels[order])
    still.train()
    losses, hits = [], 0
    for chosen in order.split(8):  # the rate is so small that the network stays
        logits = still(inputs[chosen])
        losses.append(cross_entropy(logits, nn.functional.one_hot(labels[chosen], CLASSES).double()).item())
        hits += int((logits.argmax(1) == labels[chosen]).sum())
    assert result.train_loss == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert result.train_accuracy == pytest.approx(hits / 24)


def test_a_loss_above_ten_thousand_nats_is_a_divergence_and_one_below_is_none() -> None:
    for size, is_sane in ((9_000.0, True), (11_000.0, False), (math.nan, False), (math.inf, False)):
        ours, _, _ = group("vector", {})
        ours._step = 5
        losses = [torch.tensor([1.0]), torch.tensor([size])]
        if is_sane:
            ours._require_sane(losses)
            continue
        with pytest.raises(Diverged, match=r"^seed 7: loss is (1.1e\+04|nan|inf) at step 5$"):
            ours._require_sane(losses)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1, 1]),
        ({"schedule": "cosine"}, [1, 0.9045, 0.6545, 0.3455, 0.0955]),
        ({"schedule": "cosine", "warmup_epochs": 1}, [0.5, 1, 0.8536, 0.5, 0.1464]),
        ({"schedule": "constant", "warmup_epochs": 2}, [1 / 3, 2 / 3, 1, 1, 1]),
        ({"schedule": "one_cycle"}, [0.4, 0.8, 0.9505, 0.6113, 0.1883]),
    ],
)
def test_rates_of_five_steps_by_hand(recipe: dict[str, Any], expected: list[float]) -> None:
    """One step each of five epochs; by a pocket calculator, from the schedules' formulas."""
    full = Recipe(epochs=5, lr=1.0, **recipe)
    assert [learning_rate(full, step, 1) for step in range(5)] == pytest.approx(expected, abs=5e-5)
    for steps in (3, 10):  # schedules count steps, not epochs
        finer = [learning_rate(full, step, steps) for step in range(5 * steps)]
        assert max(finer) <= 1 + 1e-12
        assert len(finer) == 5 * steps
        assert learning_rate(full, 4 * steps, steps) == pytest.approx(
            {"constant": 1.0}.get(recipe["schedule"], finer[4 * steps]), rel=1e-9
        )


STARTS: list[tuple[str, dict[str, Any]]] = [
    ("basic", {}),
    ("bottleneck", {"group_width": 16}),
    ("mlp", {}),
    ("transformer", {}),
]


@pytest.mark.parametrize(("block", "fields"), STARTS, ids=[block for block, _ in STARTS])
def test_networks_start_as_their_papers_say(block: str, fields: dict[str, Any]) -> None:
    """He et al. 2015b: convolutions normal with 2 / fan-out, linear layers with 2 / fan-in; attention Xavier uniform
    (Vaswani et al. 2017); the classifier uniform within 1 / sqrt(fan-in), as torch has it; norms 1 and 0, biases 0."""
    torch.manual_seed(3)
    widths = (64, 128)
    net = build(Architecture(block, (2, 2), widths, **fields), 16 if block not in ("basic", "bottleneck") else 3, 10)
    checked = set()
    attention = {id(part) for one in net.modules() if type(one).__name__ == "SelfAttention" for part in one.children()}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            spread = math.sqrt(
                2 / (module.kernel_size[0] * module.kernel_size[1] * module.out_channels / module.groups)
            )
        elif isinstance(module, nn.Linear) and module is not net.classifier and id(module) not in attention:
            spread = math.sqrt(2 / module.in_features)
        elif isinstance(module, nn.Linear) and module is net.classifier:
            bound = 1 / math.sqrt(module.in_features)
            assert module.weight.abs().max() <= bound
            assert float(module.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
            checked.add("classifier")
            continue
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())
            checked.add("norm")
            continue
        elif isinstance(module, nn.Linear):
            fan = module.in_features + (module.out_features // (3 if module.out_features > module.in_features else 1))
            bound = math.sqrt(6 / fan)
            assert module.weight.abs().max() <= bound * (1 + 1e-6)
            assert float(module.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
            checked.add("attention")
            continue
        else:
            continue
        weight = module.weight.detach()
        error = 5 / math.sqrt(weight.numel())
        assert float(weight.std()) == pytest.approx(spread, rel=error), name
        assert abs(float(weight.mean())) < spread * error, name
        assert float((weight.abs() > 2 * spread).double().mean()) == pytest.approx(0.0455, abs=0.03), name  # normal
        assert module.bias is None or bool((module.bias == 0).all())
        checked.add("convolution" if isinstance(module, nn.Conv2d) else "linear")
    assert {"norm", "classifier"} < checked
    assert ("attention" in checked) == (block == "transformer")
