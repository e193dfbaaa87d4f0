"""What the report says of the way from a reference to the best network, on tables whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_tables import claimed, evidence, line, search

from ressearch.networks.presets import PRESETS
from ressearch.reporting.claims import Claim
from ressearch.reporting.claims.ablation import ablation_path, best_place, reference_place


def path(table: pd.DataFrame) -> Claim:
    (found,) = ablation_path(replace(evidence(table), is_search=True))
    return found


def laid(rows: list[tuple[int, str, str, float]], seeds: int = 3, spread: float = 0.001) -> pd.DataFrame:
    """Return networks of (depth, skip, norm, mean), named n0, n1, …"""
    return pd.DataFrame(
        [
            {"name": f"n{at}", "depth": depth, "skip": skip, "norm": norm, "seed": seed}
            | {"val_accuracy": mean + spread * (seed - (seeds - 1) / 2)}
            for at, (depth, skip, norm, mean) in enumerate(rows)
            for seed in range(seeds)
        ]
    )


def test_steps_are_the_models_the_most_gainful_first_and_sum_to_its_difference() -> None:
    table = search()
    found = path(table)
    ends = table.groupby("name").first()
    doublings = np.log2(ends.loc["n45", "depth"] / ends.loc["n24", "depth"])
    steps = {step["axes"]: step for step in found.more["steps"]}
    assert list(steps) == [("depth",), ("skip",), ("width",)]
    assert steps["depth",]["gain"] == pytest.approx(0.02 * doublings, abs=0.001)
    assert steps["skip",]["gain"] == pytest.approx(0.03, abs=0.001)
    assert (steps["skip",]["before"], steps["skip",]["after"]) == ("none", "identity")
    assert sum(step["gain"] for step in steps.values()) == pytest.approx(found.estimate)
    assert all(step["low"] < step["gain"] < step["high"] for step in steps.values())
    assert found.low < found.estimate < found.high
    assert found.subject == {"from": "n24", "to": "n45", "reference": "plainest network"}
    assert found.more["by"] == "model"
    assert found.sentence == (
        "By the model of all networks, accuracy changes by +0.082 (95 % interval +0.081 to +0.084) from n24, the "
        "plainest network trained, to the best network, n45: depth +0.053 (10 to 62) and skip +0.030 (none to "
        "identity); what width adds cannot be told from nothing."
    )


def test_one_seed_each_is_enough_for_the_model() -> None:
    found = path(search(seeds=1))
    assert found.estimate == pytest.approx(path(search()).estimate, abs=1e-9)
    assert found.low is not None


def test_the_gain_does_not_have_the_luck_of_the_best_network() -> None:
    table = search(100, seeds=1, of_depth=0.0)
    table.loc[table["name"] == "n7", "val_accuracy"] += 0.2  # lucky, and with skips
    found = path(table)
    assert found.subject["to"] == "n7"
    assert found.estimate < 0.06


def test_confounded_axes_are_refused() -> None:
    found = path(search(is_square=True))
    assert found.sentence == (
        "What each choice adds on the way to the best network is not said: this search cannot tell the effect of depth "
        "from that of width, with which it went together."
    )
    assert (found.estimate, found.low, found.high) == (None, None, None)


def test_few_networks_are_refused() -> None:
    assert path(search(13)).sentence == (
        "What each choice adds on the way to the best network is not said: that takes 14 fully trained networks, for a "
        "model of 3 effects, and there are 13."
    )


def test_the_plainest_network_may_be_the_best() -> None:
    found = path(search(of_depth=-0.02, of_skips=-0.2).assign(width=16))
    assert found.estimate is None
    assert found.sentence.endswith(f"is not said: {found.subject['to']} is itself the plainest network trained.")


def test_an_axis_that_follows_another_moves_with_it() -> None:
    table = search().rename(columns={"skip": "block"})
    table["block"] = np.where(table["block"] == "identity", "bottleneck", "basic")
    table["bottleneck_ratio"] = np.where(table["block"] == "basic", 1.0, 0.25)
    found = path(table)
    assert [step["axes"] for step in found.more["steps"]] == [("depth",), ("block", "bottleneck_ratio"), ("width",)]
    assert found.more["steps"][1]["gain"] == pytest.approx(0.03, abs=0.001)
    assert " and block with bottleneck ratio +0.030 (basic to bottleneck);" in found.sentence


def test_a_value_of_one_network_alone_is_left_out_and_said_to_be() -> None:
    table = search().assign(norm="batch")
    table.loc[table["name"] == "n45", "norm"] = "layer"
    found = path(table)
    assert found.more["left_out"] == ["norm"]
    assert found.sentence.endswith(" They differ in norm too, which is left out: too few networks share the value.")
    assert found.estimate == pytest.approx(path(search()).estimate)


def test_a_path_begins_at_a_published_network_where_one_was_trained() -> None:
    names = ["resnet20-cifar", "resnet56-cifar"]
    table = search(20)
    at = {f"n{number}": PRESETS.find(name).name for number, name in zip((2, 4), names, strict=True)}
    found = evidence(table)
    renamed = found.networks.assign(name=found.networks["name"].replace(at))
    found = replace(found, networks=renamed)
    place, kind = reference_place(found, list(found.axes), best_place(found))
    assert renamed["name"].iloc[place] in at.values()
    assert kind in {f"preset {name}" for name in names}


def test_where_every_network_on_the_way_was_trained_their_means_are_used() -> None:
    """On the way from (8, none, batch) by depth, then skip, then norm; the others do not lie on it."""
    rng = np.random.default_rng(0)
    way = [(8, "none", "batch", 0.60), (64, "none", "batch", 0.70), (64, "identity", "batch", 0.76)]
    way += [(64, "identity", "layer", 0.78)]
    others = [
        (depth, skip, norm, 0.6 + 0.033 * np.log2(depth / 8) + 0.06 * (skip == "identity") + 0.02 * (norm == "layer"))
        for depth in (16, 24, 32, 40, 48)
        for skip in ("none", "identity")
        for norm in ("batch", "layer")
    ]
    kept = [others[int(at)] for at in rng.permutation(len(others))[:14]]
    found = path(laid([*way, *kept]))
    assert found.more["by"] == "means"
    assert [step["axes"] for step in found.more["steps"]] == [("depth",), ("skip",), ("norm",)]
    assert [step["gain"] for step in found.more["steps"]] == pytest.approx([0.10, 0.06, 0.02])
    assert found.estimate == pytest.approx(0.18)
    assert found.sentence.startswith("By the means of the networks on the way, accuracy changes by +0.180 (95 % int")
    one_seed = path(laid([*way, *kept], seeds=1))
    assert one_seed.low is None
    assert one_seed.sentence.startswith("By the means of the networks on the way, accuracy changes by +0.180 (no inter")
    assert one_seed.sentence.endswith(", of which one seed each cannot say whether it is more than chance.")


def test_a_grid_has_no_path_to_tell() -> None:
    table = pd.concat([line({8: 0.8, 14: 0.85, 20: 0.86}, skip=skip) for skip in ("none", "identity", "dense")])
    assert [one for one in claimed("axes", table) if one.kind == "ablation_path"] == []
    assert ablation_path(evidence(table)) == []
