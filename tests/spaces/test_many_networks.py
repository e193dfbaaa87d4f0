"""Networks as columns are those of the space, with the costs that `cost` gives each, however they were found."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ressearch.spaces.resolve
from ressearch import Architecture, SearchSpace, cost
from ressearch.errors import ArchitectureError, BudgetError, SpaceError
from ressearch.networks.cost import Budget, Cost, input_channels
from ressearch.networks.layers import Layer, pointwise
from ressearch.networks.plan import plan
from ressearch.networks.skips import SKIPS, Identity, Skip
from ressearch.spaces.columns import Columns, columns
from ressearch.spaces.points import grid_points
from ressearch.spaces.sections import pack

SHAPE = (3, 16, 16)

GRIDS: list[dict[str, Any]] = [
    {"depth": [8, 14, 20], "width": {"low": 4, "high": 8}, "skip": ["none", "identity"]},
    {"block": ["basic", "bottleneck"], "depth": [8, 11, 14], "width": [4, 8]},
    {"blocks_per_stage": {"low": 1, "high": 4}, "width": {"low": 4, "high": 12, "step": 4}, "stages": [1, 2, 4]},
    {"depths": {"low": 1, "high": 3}, "widths": {"low": 4, "high": 6}, "stages": {"low": 1, "high": 2}},
    {"depths": {"low": 1, "high": 2}, "widths": [[4, 8], [4, 8, 8]]},
    {"depths": [[1, 2], [2, 1], [1, 1, 3]], "width": [4, 6]},
    {"depths": [[2, 2], [1, 1, 1]], "widths": {"low": 4, "high": 5}},
    {"depths": [[2, 2], [1, 1, 1]], "widths": [[4, 8], [8, 4, 4]]},
    {"depths": [[2, 2]], "widths": [[4, 8], [8, 8]], "stages": [2, 3]},
    {"depths": [2, 2], "width": [4, 8], "stages": {"low": 2, "high": 3}},
    {"widths": {"low": 4, "high": 12, "step": 4}, "group_width": [None, 4, [4, 8]], "stages": 2},
    {"block": ["bottleneck", "inverted"], "widths": {"low": 4, "high": 8}, "group_width": [None, 2], "stages": 2,
     "depths": {"low": 1, "high": 2}},
    {"kernel_size": [3, 5, [3, 5]], "strides": [[1, 1], [1, 2], [2, 2]], "blocks_per_stage": [1, 2], "width": [4, 6]},
    {"bottleneck_ratio": [0.5, 1.0, [0.5, 2.0]], "width": [4, 5], "stages": 2, "block": ["basic", "bottleneck"]},
    {"se_ratio": [0.0, 0.25], "se_position": ["inner", "outer"], "head_width": [None, 6], "width": [4, 8]},
    {"shortcut": ["pad", "projection", "avgpool_projection"], "skip": ["none", "identity"], "width": 4,
     "norm_order": ["pre", "post"]},
    {"widths": {"low": 4, "high": 8, "step": 2}, "shortcut": ["pad", "projection"]},
    {"skip": ["identity", {"scaled": {"alpha": [0.1, 0.5], "beta": {"low": 0.5, "high": 1.0, "step": 0.5}}}],
     "depth": [8, 14], "width": 4},
    {"skip": ["identity", {"scaled": {"alpha": {"low": 0.1, "high": 1.0, "step": 0.05}}}], "width": [4, 6]},
    {"skip": ["identity", {"dense": {"growth_rate": [0.0, 2.0, 5.0]}}], "depths": {"low": 1, "high": 2},
     "stages": [1, 2]},
    {"skip": ["dense", "identity"], "widths": {"low": 8, "high": 10}, "depths": {"low": 1, "high": 3}, "stages": 2},
    {"skip": ["fixup", "identity"], "norm": ["none", "batch", "group"], "width": [4, 8], "zero_gamma": [False, True]},
    {"stem": ["cifar", "imagenet", "simple", "patch"], "stem_width": [3, 8], "width": [4, 8]},
    {"stem_width": {"low": 2, "high": 6, "log": True}, "width": [4, 8]},
    {"block": "convnext", "widths": {"low": 4, "high": 6}, "blocks_per_stage": [1, 3], "stages": 2},
    {"block": "convnext", "depth": {"low": 9, "high": 24}, "width": [4, 6]},
    {"strides": [[1, 2, 2], [2, 2, 2]], "stem": ["imagenet", "cifar"], "kernel_size": [3, 5], "width": 12,
     "skip": ["identity", "dense"], "block": ["basic", "bottleneck"]},
    {"w0": [8, 16], "wa": {"low": 4.0, "high": 8.0, "step": 4.0}, "wm": 2.0, "depth": {"low": 3, "high": 6},
     "block": "bottleneck", "group_width": [None, 4]},
    {"depth": {"low": 8, "high": 15}, "width": {"match": "params", "target": 9000, "tolerance": 0.2}},
    {"width": {"match": "params", "target": 9000, "tolerance": 0.2}},
    {"activation": ["relu", "gelu"], "dropout": {"low": 0.0, "high": 0.6, "step": 0.05}, "width": 4},
]  # fmt: skip


@contextlib.contextmanager
def registered(name: str, style: type[Skip]) -> Iterator[None]:
    """A skip style that is there for one test."""
    entries = SKIPS._entries
    SKIPS.add(name, style)
    try:
        yield
    finally:
        del entries[name]


def priced(architecture: Architecture, space: SearchSpace) -> Cost:
    return cost(architecture, space.input_shape, space.num_classes)


def in_full(found: Columns) -> list[tuple[Architecture, Cost]]:
    """Every row's network and cost."""
    costs = np.column_stack(found.cost).tolist()
    return [(found.architecture(row), Cost(*costs[row])) for row in range(len(found))]


@pytest.mark.parametrize("parameters", GRIDS, ids=str)
def test_all_points_of_a_grid_are_its_networks_in_order_with_their_costs(parameters: dict[str, Any]) -> None:
    space = SearchSpace(parameters, input_shape=SHAPE, num_classes=7)
    found = columns(space, int(space.size))
    assert in_full(found) == [(one, priced(one, space)) for one in space.enumerate()]
    for row in range(len(found)):
        architecture, stages = found.architecture(row), len(found.architecture(row).depths)
        padding = [0] * (found.rows.depths.shape[1] - stages)
        assert found.rows.depths[row].tolist() == [*architecture.depths, *padding]
        assert found.rows.widths[row].tolist() == [*architecture.widths, *padding]


@pytest.mark.parametrize("parameters", [one for one in GRIDS if "match" not in str(one)], ids=str)
def test_a_grid_has_each_point_once(parameters: dict[str, Any]) -> None:
    space = SearchSpace(parameters, input_shape=SHAPE)
    points = grid_points(space)
    rows = set(zip(*(column.tolist() for column in points.values()), strict=True))
    assert len(rows) == len(next(iter(points.values()))) <= space.size


@pytest.mark.parametrize("parameters", GRIDS, ids=str)
def test_within_the_spaces_budget(parameters: dict[str, Any]) -> None:
    unbounded = columns(SearchSpace(parameters, input_shape=SHAPE), 10**6)
    bound = int(np.median(unbounded.cost.macs))
    space = SearchSpace(parameters, Budget(max_macs=bound), input_shape=SHAPE)
    assert in_full(columns(space, 10**6)) == [(one, priced(one, space)) for one in space.enumerate()]


@pytest.mark.parametrize("parameters", GRIDS, ids=str)
def test_few_points_are_resolved_in_another_way_to_the_same(
    parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SearchSpace(parameters, input_shape=SHAPE)
    found = columns(space, 10**6)
    monkeypatch.setattr(ressearch.spaces.resolve._Points, "agrees", lambda self, found, row: False)
    alone = columns(space, 10**6)
    assert in_full(alone) == in_full(found)
    assert np.array_equal(alone.total(lambda part, shape: part.trace(shape)[0].saved), found.cost.saved)


def test_regular_spaces_are_never_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("made one by one")

    monkeypatch.setattr(ressearch.spaces.resolve._Points, "_make", refuse)
    for parameters in GRIDS:
        options = str(parameters)
        if not any(word in options for word in ("dense", "match", "w0")):
            assert len(columns(SearchSpace(parameters, input_shape=SHAPE), 10**6)) > 0


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters of spaces, most keys left out, many of them with points that are refused."""
    stages = draw(st.integers(1, 3))
    possible: dict[str, Any] = {
        "block": ["basic", "bottleneck", "inverted", "convnext", "single"],
        "skip": ["none", "identity", "rezero", "highway", "dense", {"scaled": {"alpha": {"low": 0.1, "high": 1.0}}}],
        "shortcut": ["pad", "projection", "projection_all", "avgpool_projection"],
        "norm": ["batch", "group", "none"],
        "norm_order": ["pre", "post"],
        "group_width": [None, 2, 4],
        "se_ratio": [0.0, 0.25],
        "kernel_size": [3, 5, [3] * stages, [1, 3, 5][:stages]],
        "bottleneck_ratio": [0.5, 1.0, 2.0],
        "stem": ["cifar", "imagenet", "simple"],
        "stem_width": [3, 4],
        "head_width": [None, 5],
        "dropout": [0.0, 0.2],
        "zero_gamma": [False, True],
    }
    found: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(sorted(possible)), unique=True, max_size=5)):
        found[key] = draw(st.lists(st.sampled_from(possible[key]), unique_by=str, min_size=1, max_size=3))
    blocks: list[Any] = [{"depths": {"low": 1, "high": 3}}, {"blocks_per_stage": [1, 2, 5]}, {}]
    blocks.append({"depth": {"low": 5, "high": 12}})
    channels: list[Any] = [{"widths": {"low": 4, "high": 8}}, {"width": {"low": 3, "high": 8}}, {}]
    channels.append({"widths": [[4, 8, 8][:stages]]})
    return {**found, **draw(st.sampled_from(blocks)), **draw(st.sampled_from(channels)), "stages": stages}


@given(parameters=spaces(), side=st.sampled_from([4, 9]), seed=st.integers(0, 99))
def test_random_points_of_any_space_are_its_networks(parameters: dict[str, Any], side: int, seed: int) -> None:
    try:
        space = SearchSpace(parameters, input_shape=(2, side, side), num_classes=5)
    except SpaceError:
        return
    found = columns(space, 60, seed)
    rows = in_full(found)
    assert rows == [(one, priced(one, space)) for one, _ in rows]
    assert len({one for one, _ in rows}) == len(rows) <= 60
    if space.size <= 60:
        assert [one for one, _ in rows] == list(space.enumerate())


def test_random_points_that_are_networks_are_all_kept() -> None:
    space = SearchSpace({"depth": {"low": 8, "high": 10}, "widths": {"low": 1, "high": 10**4}})
    assert 275 < len(columns(space, 1000)) < 392  # one of three depths: 333, with a standard deviation of 15


def drawn(parameters: dict[str, Any], key: str, count: int = 2000) -> np.ndarray:
    return columns(SearchSpace({"widths": {"low": 1, "high": 99}, "depth": 8, **parameters}), count).field(key)


def test_choices_are_drawn_evenly() -> None:
    counts = Counter(drawn({"norm": ["batch", "group", "layer", "none"]}, "norm"))
    assert all(abs(count - 500) < 80 for count in counts.values())
    assert len(counts) == 4


@pytest.mark.parametrize(
    ("domain", "median"),
    [
        ({"low": 0.0, "high": 0.8}, 0.4),
        ({"low": 0.01, "high": 0.64, "log": True}, 0.08),
        ({"low": 0.0, "high": 0.8, "step": 0.1}, 0.4),
    ],
)
def test_ranges_are_drawn_evenly_or_in_the_log(domain: dict[str, Any], median: float) -> None:
    rates = drawn({"dropout": domain}, "dropout").astype(float)
    assert domain["low"] <= rates.min() < 1.06 * domain["low"] + 0.01
    assert 0.95 * domain["high"] < rates.max() <= domain["high"] + 1e-9
    assert abs(np.mean(rates < median * 0.99) - 0.5) < 0.1


def test_whole_numbers_of_a_log_range_have_the_shares_that_the_samplers_give() -> None:
    parameters = {"width": {"low": 1, "high": 4, "log": True}, "dropout": {"low": 0.1, "high": 0.2}, "depth": 8}
    widths = columns(SearchSpace(parameters), 9000).rows.widths[:, 0]
    shares = [math.log((width + 0.5) / (width - 0.5)) / math.log(4.5 / 0.5) for width in range(1, 5)]
    assert np.allclose([np.mean(widths == width) for width in range(1, 5)], shares, atol=0.02)


def test_draws_follow_the_seed() -> None:
    space = SearchSpace({"widths": {"low": 4, "high": 400}, "depth": 8})
    one, same, other = (columns(space, 50, seed).rows.widths.tolist() for seed in (1, 1, 2))
    assert one == same != other
    assert len(set(map(tuple, one))) == 50


def test_a_mask_or_indices_select_rows() -> None:
    space = SearchSpace({"depth": [8, 14], "width": {"low": 4, "high": 8}, "skip": ["none", "identity"]})
    found = columns(space, 100)
    small = found[found.within(Budget(max_params=9000, max_macs="2M"))]
    expected = list(space.filter(max_params=9000, max_macs="2M").enumerate())
    assert [small.architecture(row) for row in range(len(small))] == expected
    assert in_full(small) == [(one, priced(one, space)) for one in expected]
    back = found[np.array([3, 0])]
    assert [back.architecture(0), back.architecture(1)] == [found.architecture(3), found.architecture(0)]
    assert back.field("skip").tolist() == [found.architecture(3).skip, found.architecture(0).skip]
    assert len(found[np.zeros(len(found), bool)]) == 0


def test_a_budget_of_training_memory_is_kept_exactly() -> None:
    space = SearchSpace({"depth": [8, 14], "width": {"low": 4, "high": 40}})
    found = columns(space, 1000)
    memory = [priced(one, space).training_memory(32, 2, 2) for one in space.enumerate()]
    budget = Budget(max_training_memory=sorted(memory)[20], batch_size=32, optimizer_states=2, bytes_per_number=2)
    assert found.within(budget).tolist() == [budget.allows(priced(one, space)) for one in space.enumerate()]
    assert found.within(budget).sum() == 21
    assert found.within(Budget()).all()
    budget = Budget(max_size="20k", bytes_per_weight=2)
    assert found.within(budget).tolist() == [budget.allows(priced(one, space)) for one in space.enumerate()]
    assert 0 < found.within(budget).sum() < len(found)


def test_totals_sum_any_value_over_the_parts() -> None:
    def layers(part: Any, shape: tuple[int, ...]) -> float:
        units = getattr(part, "units", None)
        listed: list[Layer] = list(part) if units is None else [one for unit in units for one in unit.branch]
        return len(listed) + shape[-1] / 7

    parameters = {"depths": {"low": 1, "high": 3}, "skip": ["none", "dense"], "widths": [[8, 16]]}
    space = SearchSpace({**parameters, "block": ["basic", "bottleneck"]}, input_shape=SHAPE)
    found = columns(space, 1000)
    expected = []
    for row in range(len(found)):
        total, shape = 0.0, SHAPE
        for part, count in plan(found.architecture(row), input_channels(SHAPE)).parts:
            total += layers(part, shape) * count
            _, shape = part.trace(shape)
        expected.append(total)
    assert np.allclose(found.total(layers), expected)
    assert np.allclose(
        found[found.field("skip") == "dense"].total(layers), np.array(expected)[found.field("skip") == "dense"]
    )


def test_fields_are_those_of_the_networks() -> None:
    parameters = {
        "skip": ["identity", {"scaled": {"alpha": {"low": 0.1, "high": 1.0}, "beta": [0.5, 1.0]}}],
        "dropout": {"low": 0.1, "high": 0.5},
        "kernel_size": [3, [3, 5, 3]],
        "width": {"low": 4, "high": 9},
    }
    found = columns(SearchSpace(parameters), 200)
    for row in range(len(found)):
        one = found.architecture(row)
        assert found.field("dropout")[row] == one.dropout
        assert found.field("kernel_size")[row] == one.kernel_size
        assert found.field("alpha")[row] == dict(one.skip_options).get("alpha")
        assert found.field("beta")[row] == dict(one.skip_options).get("beta")


@pytest.fixture
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are not resolved both ways: what is odd has to be noticed before."""
    monkeypatch.setattr(ressearch.spaces.resolve._Points, "agrees", lambda self, found, row: True)


@pytest.mark.usefixtures("_unchecked")
def test_styles_that_are_no_sections_are_noticed() -> None:
    """A plugin's style whose third block is two."""

    class Growing(Identity):
        def block_widths(self, in_width: int, width: int, blocks: int) -> Any:
            yield in_width, width, 1
            for block in range(1, blocks):
                yield width, width, 1 + (block == 2)

    with registered("growing", Growing):
        parameters = {"skip": ["growing", "identity"], "depths": {"low": 1, "high": 4}, "stages": 2}
        space = SearchSpace(parameters, input_shape=SHAPE)
        assert in_full(columns(space, 100)) == [(one, priced(one, space)) for one in space.enumerate()]


@pytest.mark.usefixtures("_unchecked")
def test_options_that_only_some_numbers_of_a_range_have_are_refused_as_by_the_space() -> None:
    @dataclass(frozen=True)
    class Narrow(Identity):
        share: float = 0.1

        def __post_init__(self) -> None:
            if self.share > 0.97:
                raise ArchitectureError("skip_options.share: too much")

    with registered("narrow", Narrow):
        for high in (0.9, 1.0):
            space = SearchSpace({"skip": [{"narrow": {"share": {"low": 0.0, "high": high}}}, "none"], "width": [4, 6]})
            found = columns(space, 400)
            shares = np.array([one or 0.0 for one in found.field("share")])
            assert 150 < np.count_nonzero(shares) <= len(found)
            assert shares.max() <= min(high, 0.97)
            assert in_full(found) == [(one, priced(one, space)) for one, _ in in_full(found)]


def test_costs_that_rest_on_a_continuous_option_are_exact_all_the_same() -> None:
    @dataclass(frozen=True)
    class Share(Identity):
        share: float = 0.1

        def branch(self, layers: Any, unit: Any) -> Any:
            return layers if self.share < 0.9 else (*layers, pointwise("image", unit.width, unit.width))

    with registered("share", Share):
        space = SearchSpace({"skip": [{"share": {"share": {"low": 0.0, "high": 1.0}}}], "width": [4, 6]})
        found = columns(space, 400)
        assert in_full(found) == [(one, priced(one, space)) for one, _ in in_full(found)]
        assert len(set(found.cost.params.tolist())) == 4


def test_no_points_are_refused() -> None:
    with pytest.raises(SpaceError, match="n: 0 is not a number of points; expected at least 1"):
        columns(SearchSpace({"depth": 8}), 0)


def test_a_budget_that_nothing_fits_is_refused_by_the_space() -> None:
    with pytest.raises(BudgetError):
        SearchSpace({"depth": 8, "width": 8}, Budget(max_params=10))


@pytest.mark.parametrize("most", [3, 2**19, 2**40])
def test_packed_rows_are_equal_where_all_their_columns_are(most: int) -> None:
    random = np.random.default_rng(0)
    table = random.integers(-1, most, (300, 12))[random.integers(300, size=900)]
    table[::7, 5] = table[::7, 0]
    numbers = random.uniform(size=4)[random.integers(4, size=900)]
    code = pack((*table.T, numbers))
    _, which = np.unique(np.column_stack((table, numbers)), axis=0, return_inverse=True)
    assert len(np.unique(code)) == len(np.unique(which)) == len(set(zip(code.tolist(), which.tolist(), strict=True)))
