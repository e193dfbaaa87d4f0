"""Several studies side by side: what is the same network, how far apart the studies are, and whether they agree."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_tables import evidence, line
from scipy import stats

import ressearch
from ressearch.cli import main
from ressearch.errors import StudyError
from ressearch.reporting import compare
from ressearch.reporting.claims import Claim, claims_of
from ressearch.reporting.claims.agreement import shared
from ressearch.reporting.claims.headline import headline
from ressearch.reporting.evidence import Evidence
from ressearch.reporting.side_by_side import settings_that_differ, side_by_side

DEGRADATION = Path(__file__).parents[2] / "reports" / "degradation"


def of(analysis: str, **tables: list[pd.DataFrame]) -> list[Claim]:
    return claims_of(both(**tables))[analysis]


def both(**tables: list[pd.DataFrame]) -> Evidence:
    return side_by_side({name: evidence(*parts) for name, parts in tables.items()})


def ranks(*means: float) -> list[pd.DataFrame]:
    """Return networks a, b, c, … of those means."""
    return [line({8: mean}, name="abcdefghij"[at]) for at, mean in enumerate(means)]


def test_one_network_differs_as_in_the_t_test_of_its_seeds() -> None:
    (first,) = of("agreement", old=[line({8: 0.80}, name="a")], new=[line({8: 0.81}, spread=0.003, name="a")])
    expected = stats.ttest_ind([0.807, 0.81, 0.813], [0.798, 0.80, 0.802])  # variances alike: one shared variance
    interval = expected.confidence_interval()
    assert first.kind == "mean_difference"
    assert first.subject == {"study": "new", "against": "old"}
    assert first.estimate == pytest.approx(0.01)
    assert (first.low, first.high, first.p) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert first.more == {"covers": ["seeds"], "examples_share": None}
    assert (first.n, first.confidence) == (1, 0.95)
    assert first.sentence == (
        "On the network that both have, new is 0.010 more accurate than old (difference +0.010, 95 % interval "
        "+0.004 to +0.016)."
    )


def test_the_mean_difference_is_over_shared_networks_alone() -> None:
    """Two shared networks, 0.01 and 0.03 lower in the new study; what only one study has counts nothing."""
    old = [line({8: 0.80}, name="a"), line({8: 0.90}, name="b"), line({8: 0.10}, name="only old")]
    new = [line({8: 0.79}, name="a"), line({8: 0.87}, name="b"), line({8: 0.99}, name="only new")]
    first, order, leader = of("agreement", old=old, new=new)
    assert first.estimate == pytest.approx(-0.02)
    assert first.method.endswith("(Bartlett 1937), one shared variance; the mean over networks")
    # four means of one shared variance 0.002²: the standard error is 0.002·sqrt(4/3)/2 with 8 degrees of freedom
    reach = stats.t.isf(0.025, 8) * 0.002 * np.sqrt(4 / 3) / 2
    assert (first.low, first.high) == pytest.approx((-0.02 - reach, -0.02 + reach))
    assert first.sentence.startswith("On the 2 networks that both have, new is 0.020 less accurate than old on average")
    assert order.estimate is None
    assert order.sentence == (
        "Whether new and old rank networks alike cannot be said: 2 shared networks are too few (of 5)."
    )
    assert leader.subject["name"] == "b"
    assert leader.sentence == (
        "Of the 2 shared networks, the one of the highest mean in old, b, has the highest mean in new too, by means "
        "that chance orders too."
    )


def test_a_small_difference_is_none_that_can_be_told() -> None:
    first, *_ = of("agreement", old=ranks(0.800, 0.9), new=ranks(0.802, 0.9))
    assert "which cannot be told from none (difference +0.001, 95 % interval -0.00" in first.sentence
    assert first.low < 0 < first.high


def test_single_seeds_of_few_networks_have_no_interval() -> None:
    old, new = ([line({8: mean}, seeds=1, spread=0, name=name)] for mean, name in ((0.8, "a"), (0.7, "a")))
    (first,) = of("agreement", old=old, new=new)
    assert (first.low, first.high, first.p) == (None, None, None)
    assert first.sentence == (
        "On the network that both have, new is 0.100 less accurate than old; one seed per network cannot say whether "
        "that is more than chance."
    )
    assert of("network_by_network", old=old, new=new) == []


def test_single_seeds_of_ten_networks_are_a_sample_of_networks() -> None:
    gaps = [0.01, 0.02, 0.03, 0.01, 0.02, 0.03, 0.01, 0.02, 0.03, 0.02]
    names = "abcdefghij"
    old = [line({8: 0.80}, seeds=1, spread=0, name=one) for one in names]
    new = [line({8: 0.80 + gap}, seeds=1, spread=0, name=one) for gap, one in zip(gaps, names, strict=True)]
    first, order, _ = of("agreement", old=old, new=new)
    expected = stats.ttest_1samp(gaps, 0)
    interval = expected.confidence_interval()
    assert (first.low, first.high, first.p) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert first.more == {"covers": ["networks"]}
    assert first.method.startswith("paired t-interval over the networks")
    assert order.estimate is None
    assert order.sentence.endswith("all networks of one study are equally accurate, which is no order.")


def test_rank_correlation_has_bonett_and_wrights_interval() -> None:
    """Ranks 1 2 3 4 5 6 against 1 2 3 4 6 5: ρ = 1 - 6·2/(6·35) = 0.942857, τ = 13/15; the interval by hand."""
    _, order, leader = of(
        "agreement", old=ranks(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), new=ranks(0.2, 0.3, 0.4, 0.5, 0.7, 0.65)
    )
    reach = 1.959964 * np.sqrt((1 + 0.942857**2 / 2) / 3)
    low, high = np.tanh(np.arctanh(0.942857) - reach), np.tanh(np.arctanh(0.942857) + reach)
    assert order.estimate == pytest.approx(0.942857, abs=1e-6)
    assert (order.low, order.high) == pytest.approx((low, high), abs=1e-5)
    assert order.more == {"kendall_tau": pytest.approx(13 / 15)}
    assert order.p == pytest.approx(0.004805, abs=1e-6)  # t = ρ·sqrt(4/(1-ρ²)) = 5.6569, of 4 degrees of freedom
    assert (order.n, leader.n) == (6, 6)
    assert order.method == "Spearman 1904's rank correlation of mean accuracies; interval of Bonett and Wright 2000"
    assert leader.method == "order of means over seeds; descriptive"
    assert order.sentence == (
        "new and old rank them alike (rank correlation +0.94, 95 % interval +0.38 to +1.00); networks that differ by "
        "less than their seeds do lower it."
    )
    assert leader.estimate == 2
    assert leader.more["below_best"] == pytest.approx(0.05)
    assert leader.sentence == (
        "Of the 6 shared networks, the one of the highest mean in old, f, is number 2 in new, 0.050 below its best, by "
        "means that chance orders too."
    )


def test_the_same_order_is_told_with_an_interval() -> None:
    order = of("agreement", old=ranks(0.1, 0.2, 0.3, 0.4, 0.5), new=ranks(0.3, 0.4, 0.5, 0.6, 0.7))[1]
    assert order.estimate == pytest.approx(1)
    assert 0.99 < order.low <= order.high <= 1
    assert order.sentence.startswith(
        "new and old rank them alike (rank correlation +1.00, 95 % interval +1.00 to +1.00)"
    )


def test_an_opposite_and_an_unclear_order_are_said_to_be() -> None:
    means = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert of("agreement", old=ranks(*means), new=ranks(*(1 - one for one in means)))[1].sentence.startswith(
        "new and old rank them in opposite order (rank correlation -1.00,"
    )
    unclear = of("agreement", old=ranks(*means), new=ranks(0.3, 0.1, 0.2, 0.6, 0.4, 0.55))[1]
    assert unclear.low < 0 < unclear.high
    assert unclear.sentence.startswith("Whether new and old rank them alike cannot be told (rank correlation +0.")


def test_a_copy_is_no_agreement() -> None:
    (only,) = of("agreement", old=ranks(0.1, 0.2), new=ranks(0.1, 0.2))
    assert (only.kind, only.estimate, only.n) == ("same_results", 2, 2)
    assert only.sentence == (
        "Every seed of the 2 networks that both have reached the same in new as in old: one is a copy of the other, or "
        "the same runs made again."
    )


def test_a_copy_of_one_network_is_said_as_one() -> None:
    (only,) = of("agreement", old=ranks(0.1), new=ranks(0.1))
    assert only.sentence.startswith("Every seed of the network that both have reached the same in new as in old:")


def test_every_statement_says_which_studies_it_is_of() -> None:
    """Whoever reads `claims.json` finds both studies in the subject, and how many networks or seeds it rests on."""
    made = both(old=ranks(0.1, 0.2, 0.3, 0.4, 0.5), new=ranks(0.2, 0.3, 0.4, 0.5, 0.6))
    (copied,) = of("agreement", old=ranks(0.1), new=ranks(0.1))
    (apart,) = of("agreement", old=ranks(0.1), new=[line({8: 0.8}, name="z")])
    found = claims_of(made)
    for one in (*found["agreement"], *found["network_by_network"], copied, apart):
        assert (one.subject["study"], one.subject["against"]) == ("new", "old")
        assert set(one.subject) <= {"study", "against", "name"}
        assert one.method
    assert [one.n for one in found["agreement"]] == [5, 5, 5]
    assert {one.n for one in found["network_by_network"]} == {3}  # seeds of each
    assert apart.n == 0


def test_two_seeds_are_enough_for_an_interval() -> None:
    old, new = ([line({8: mean}, seeds=2, name=one) for one in "ab"] for mean in (0.8, 0.81))
    (first, *_), found = of("agreement", old=old, new=new), of("network_by_network", old=old, new=new)
    assert first.low is not None
    assert [one.estimate for one in found] == pytest.approx([0.01, 0.01])


def test_a_copys_differences_are_not_listed() -> None:
    """Intervals of differences between runs and themselves would say that they could have come out otherwise."""
    parts = [line({8: 0.80, 32: 0.70}, skip="none"), line({8: 0.81, 32: 0.80}, skip="identity")]
    made = claims_of(both(old=parts, new=parts))
    assert made["network_by_network"] == made["choices"] == []
    assert [one.kind for one in made["agreement"]] == ["same_results"]


def test_few_different_accuracies_can_be_alike_by_chance() -> None:
    once = [line({8: 0.8}, seeds=1, spread=0, name="a")]
    perfect = [line({8: 1.0}, spread=0, name=name) for name in "abc"]
    for parts in (once, perfect):
        (only,) = of("agreement", old=parts, new=parts)
        assert only.sentence.endswith(
            "in new as in old: one may be a copy of the other, but so few different accuracies can be alike by chance."
        )


def test_means_alike_are_neither_more_nor_less_accurate() -> None:
    old, new = ([line({8: mean}, seeds=1, spread=0, name=name) for name, mean in zip("ab", means, strict=True)]
                for means in ((0.7, 0.8), (0.8, 0.7)))  # fmt: skip
    assert of("agreement", old=old, new=new)[0].sentence == (
        "On the 2 networks that both have, new is to 0.001 as accurate as old on average; one seed per network cannot "
        "say by how much chance moves that."
    )


def test_three_seeds_beside_one_are_not_said_to_be_one() -> None:
    old, new = [line({8: 0.8}, name="a", norm="batch")], [line({8: 0.9}, seeds=1, spread=0, name="a")]
    assert "one seed per network" not in of("agreement", old=old, new=new)[0].sentence


def test_networks_that_tie_for_the_lead_are_said_to() -> None:
    leader = of("agreement", old=ranks(0.8, 0.8, 0.7), new=ranks(0.8, 0.9, 0.7))[2]
    assert leader.sentence.startswith(
        "Of the 3 shared networks, a, one of the 2 of the highest mean in old, is number 2 in new"
    )


def test_studies_without_a_network_in_common_are_not_compared() -> None:
    made = both(old=[line({8: 0.8}, name="a")], new=[line({8: 0.8}, name="b")])
    (only,) = claims_of(made)["agreement"]
    assert (only.kind, only.estimate) == ("shared_networks", 0)
    assert only.sentence == "new and old have no network in common, so their accuracies are not compared."
    assert claims_of(made)["choices"] == claims_of(made)["network_by_network"] == []


def test_generated_names_do_not_make_different_networks_the_same() -> None:
    """Neither table gives names, and each has one skip style: both are called «depth 8», and are not the same."""
    made = both(old=[line({8: 0.8, 14: 0.8}, skip="none")], new=[line({8: 0.9, 14: 0.9}, skip="identity")])
    assert shared(made) == {"new": []}
    same = both(old=[line({8: 0.8, 14: 0.8}, skip="none")], new=[line({8: 0.9, 20: 0.9}, skip="none")])
    assert [[same.rows[one]["depth"] for one in pair] for pair in shared(same)["new"]] == [[8, 8]]


def test_options_that_a_study_says_beside_its_skips_do_not_hide_a_network() -> None:
    """A study with two rates of stochastic depth says them beside the skip, one with a single rate does not."""
    name = "basic-d1.1.1-w8.16.32+skip=stochastic_depth{}"
    old = [line({8: 0.8}, name=name.format("")), line({8: 0.8}, name=name.format("(max_drop=0.2)"))]
    new = [line({8: 0.9}, name=name.format(""))]
    old_only = both(old=[pd.concat(old)], new=new)
    assert len(shared(old_only)["new"]) == 1


def test_each_network_is_compared_and_held_together() -> None:
    found = of("network_by_network", old=ranks(0.8, 0.8), new=ranks(0.9, 0.801))
    assert [one.subject for one in found] == [
        {"study": "new", "against": "old", "name": "a"},
        {"study": "new", "against": "old", "name": "b"},
    ]
    assert [one.estimate for one in found] == pytest.approx([0.1, 0.001])
    alone = stats.t.isf(0.025, 8) * 0.002 * np.sqrt(2 / 3)  # four networks of one shared variance
    for one in found:
        assert alone < (one.high - one.low) / 2 < 1.5 * alone  # two together: wider, within what Bonferroni would give
    assert found[0].sentence.startswith("a reaches 0.900 in new and 0.800 in old: a difference of +0.100 (95 %")
    assert "a difference that cannot be told from none, +0.001" in found[1].sentence
    assert found[1].sentence.endswith("held together over 2 networks).")


def test_a_choice_that_pays_in_one_study_alone_is_found() -> None:
    """Identity skips: +0.01 at depth 8 and +0.10 at depth 32 in the old study; +0.01 at both in the new one."""
    old = [line({8: 0.80, 32: 0.70}, skip="none"), line({8: 0.81, 32: 0.80}, skip="identity")]
    new = [line({8: 0.60, 32: 0.60}, skip="none"), line({8: 0.61, 32: 0.61}, skip="identity")]
    deep, shallow = of("choices", old=old, new=new)
    assert deep.subject == {
        "skip": "identity", "against": "none", "depth": 32, "study": "new", "against_study": "old",
    }  # fmt: skip
    assert deep.estimate == pytest.approx(-0.09)
    assert deep.high < 0
    assert deep.sentence.startswith(
        "At depth 32, identity skips instead of plain networks changes accuracy by +0.010 in new and by +0.100 in old: "
        "a difference of -0.090 (95 % interval -0.0"
    )
    assert deep.sentence.endswith("held together over 2 such choices).")
    assert shallow.estimate == pytest.approx(0, abs=1e-12)
    assert "a difference that cannot be told from none" in shallow.sentence
    # eight means of one shared variance 0.002² (16 degrees), four in each contrast
    alone = stats.t.isf(0.025, 16) * 0.002 * np.sqrt(4 / 3)
    assert alone < (deep.high - deep.low) / 2 < 1.5 * alone


def test_a_choice_is_said_with_what_it_stands_in() -> None:
    """The order of activations of the skip, and the width, where these are choices too."""
    old, new = (
        [
            line({8: base + gain + width / 1e4}, skip=skip, norm_order=order, width=width)
            for width in (16, 32)
            for skip, order, gain in (("none", "post", 0), ("identity", "post", 0.01), ("identity", "pre", 0.02))
        ]
        for base in (0.8, 0.7)
    )
    said = {one.sentence.partition(" changes")[0] for one in of("choices", old=old, new=new)}
    assert said == {
        f"At depth 8, identity skips, {order}-activation instead of plain networks (width {width})"
        for width in (16, 32)
        for order in ("pre", "post")
    }


def test_another_choice_than_the_skip_is_said_by_its_name() -> None:
    old, new = ([line({8: base}, block="basic"), line({8: base + 0.01}, block="bottleneck")] for base in (0.8, 0.7))
    (only,) = of("choices", old=old, new=new)
    assert only.sentence.startswith(
        "At depth 8, bottleneck blocks instead of basic blocks changes accuracy by +0.010 in new and by +0.010 in old: "
        "a difference that cannot be told from none, "
    )


def test_depth_is_said_of_each_study_as_in_its_own_report() -> None:
    tables = {"old": [line({8: 0.80, 14: 0.85, 20: 0.90})], "new": [line({8: 0.9, 14: 0.85, 20: 0.6})]}
    found = of("depth_in_each", **tables)
    for name, parts in tables.items():
        own = claims_of(evidence(*parts))["depth"]
        ours = [one for one in found if one.subject["study"] == name]
        assert sorted(one.sentence for one in ours) == sorted(f"{name}: {one.sentence}" for one in own)
        assert {one.kind: one.estimate for one in ours} == {one.kind: one.estimate for one in own}
    assert [one.kind for one in found[:2]] == ["degradation_onset"] * 2


def _with_bits(seed: int, mean: float, noise: float = 0.1) -> tuple[Evidence, np.ndarray]:
    """Return one network of three seeds over 400 examples, and which each had right: hard examples are hard for all."""
    rng = np.random.default_rng(seed)
    hard = rng.random(400) > mean
    bits = np.stack([np.where(rng.random(400) < noise, rng.random(400) < mean, ~hard) for _ in range(3)])
    rows = [{"name": "a", "depth": 8, "seed": at, "val_accuracy": one.mean()} for at, one in enumerate(bits)]
    return dataclasses.replace(evidence(pd.DataFrame(rows)), correct=lambda network: bits, examples=400), bits


def _of_examples(bits: np.ndarray) -> float:
    """Return the variance of a mean accuracy from the choice of examples, by the expected mean squares of two ways."""
    seeds, count = bits.shape
    centred = bits - bits.mean(axis=0) - bits.mean(axis=1, keepdims=True) + bits.mean()
    residual = (centred**2).sum() / ((seeds - 1) * (count - 1))
    between = seeds * bits.mean(axis=0).var(ddof=1)
    return float((between - residual) / seeds / count)


def test_other_examples_are_drawn_apart_and_the_same_ones_together() -> None:
    (old, old_bits), (new, new_bits) = _with_bits(0, 0.7), _with_bits(1, 0.8)
    (apart, *_) = claims_of(side_by_side({"old": old, "new": new}))["agreement"]
    scores = [bits.mean(axis=1) for bits in (new_bits, old_bits)]
    of_seeds = (scores[0].var(ddof=1) + scores[1].var(ddof=1)) / 3
    of_examples = _of_examples(new_bits) + _of_examples(old_bits)
    assert apart.more["covers"] == ["seeds", "examples"]
    assert apart.more["examples_share"] == pytest.approx(of_examples / (of_seeds + of_examples))
    run = {"split_fingerprint": "f", "study": {"data": {"name": "digits"}, "recipe": {"lr": 0.1}}}
    alike = {
        name: dataclasses.replace(one, results=SimpleNamespace(run=run))  # type: ignore[arg-type]
        for name, one in {
            "old": old,
            "new": dataclasses.replace(new, correct=lambda network: old_bits | new_bits),
        }.items()
    }
    together = claims_of(side_by_side(alike))["agreement"][0]
    assert together.more["covers"] == ["seeds", "examples"]
    assert together.high - together.low < apart.high - apart.low


def test_bits_of_one_study_alone_do_not_count() -> None:
    (old, _), (new, _) = _with_bits(0, 0.7), _with_bits(1, 0.8)
    made = side_by_side({"old": old, "new": dataclasses.replace(new, correct=lambda network: None)})
    assert claims_of(made)["agreement"][0].more == {"covers": ["seeds"], "examples_share": None}


def test_three_studies_are_each_compared_with_the_first() -> None:
    made = both(a=ranks(0.8), b=ranks(0.81), c=ranks(0.82))
    assert made.title == "a, b and c"
    found = [one for one in claims_of(made)["agreement"] if one.kind == "mean_difference"]
    assert [(one.subject["study"], one.subject["against"]) for one in found] == [("b", "a"), ("c", "a")]
    assert [one.estimate for one in found] == pytest.approx([0.01, 0.02])
    assert headline(made, claims_of(made)) == claims_of(made)["agreement"]


def _study(directory: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Return a copy of a real study whose run says something else, and whose accuracies are 0.01 lower."""
    shutil.copytree(DEGRADATION, directory)
    run = json.loads((directory / "run.json").read_text())
    change(run)
    (directory / "run.json").write_text(json.dumps(run))
    curves = pd.read_parquet(directory / "curves.parquet")
    curves["val_accuracy"] = (curves["val_accuracy"] - 0.01).clip(0)
    curves.to_parquet(directory / "curves.parquet")
    return directory


def _more_epochs(run: dict[str, Any]) -> None:
    run["name"] = "longer"
    run["study"]["recipe"]["epochs"] = 40


def test_what_differs_is_named(tmp_path: Path) -> None:
    def more(run: dict[str, Any]) -> None:
        _more_epochs(run)
        run["study"]["data"]["name"] = "fashion_mnist"
        run["study"]["recipe"]["augmentation"] = ["flip", "crop"]
        run["study"]["recipe"]["lr_batch_size"] = 256
        run["study"]["recipe"]["lr"] = 0.05000001
        run["study"]["search"]["trials"] = 7
        run["study"]["resources"]["concurrency"] = 9

    one, other = _study(tmp_path / "one", _more_epochs), _study(tmp_path / "other", more)
    page = ressearch.compare([DEGRADATION, one], tmp_path / "out")
    claims = json.loads((page.parent / "claims.json").read_text())
    (told,) = [claim for claim in claims if claim["kind"] == "settings"]
    assert told["differ"] == {"recipe.epochs": [20, 40]}
    assert told["sentence"] == (
        "The studies differ in recipe.epochs (degradation: 20; longer: 40) alone, and in which networks they trained."
    )
    page = compare([DEGRADATION, other], tmp_path / "out")
    claims = json.loads((page.parent / "claims.json").read_text())
    (told,) = [claim for claim in claims if claim["kind"] == "settings"]
    assert told["sentence"] == (
        "The studies differ in data.name (degradation: digits; longer: fashion_mnist), recipe.lr (degradation: 0.1; "
        "longer: 0.05), recipe.lr_batch_size (degradation: none; longer: 256), recipe.epochs (degradation: 20; "
        "longer: 40), recipe.augmentation (degradation: none; longer: flip, crop); any of it may be behind a "
        "difference."
    )


def test_settings_that_are_alike_or_many_are_said_so(tmp_path: Path) -> None:
    def many(run: dict[str, Any]) -> None:
        recipe = run["study"]["recipe"]
        for key in ("lr", "momentum", "weight_decay", "warmup_epochs", "epochs", "batch_size", "label_smoothing"):
            recipe[key] = 17

    alike, other = _study(tmp_path / "alike", lambda run: None), _study(tmp_path / "other", many)
    for place, sentence in ((alike, "The study files say the same of data, recipe and seeds."), (other, None)):
        page = compare([DEGRADATION, place], tmp_path / "out")
        (told,) = [one for one in json.loads((page.parent / "claims.json").read_text()) if one["kind"] == "settings"]
        assert (told["n"], told["subject"]) == (2, {"studies": ["degradation", place.name]})
        assert sentence is None or told["sentence"] == sentence
    assert told["estimate"] == 7
    assert told["sentence"].endswith(
        "batch_size (degradation: 64; other: 17) and 1 more; any of it may be behind a difference."
    )


def test_settings_of_tables_are_not_known() -> None:
    tables = {"a": evidence(*ranks(0.8)), "b": evidence(*ranks(0.9))}
    assert settings_that_differ(tables) == {}
    assert all(one.kind != "settings" for one in claims_of(side_by_side(tables))["agreement"])


def test_the_page_says_what_claims_say_and_has_both_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = _study(tmp_path / "other", _more_epochs)
    main(["compare", str(DEGRADATION), str(other), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"{tmp_path}/out/report.html\n"
    out = tmp_path / "out"
    text = (out / "report.md").read_text()
    for one in json.loads((out / "claims.json").read_text()):
        assert one["sentence"].replace("<", "&lt;") in text
    assert "# degradation and longer" in text
    assert "8 networks of degradation (1,797 handwritten digits" in text
    assert "On the 8 networks that both have, longer is 0.010 less accurate than degradation on average" in text
    assert sorted(one.name for one in (out / "figures").glob("*.png")) == ["depth_by_study.png", "studies.png"]
    shared_csv = pd.read_csv(out / "tables" / "shared.csv")
    assert list(shared_csv["study"]) == ["longer"] * 8
    assert list(shared_csv["against"]) == ["degradation"] * 8
    gaps = shared_csv["val_accuracy"] - shared_csv["val_accuracy_against"]
    assert gaps.to_list() == pytest.approx([-0.01] * 8)
    assert "booktabs" not in text
    assert (out / "tables" / "shared.tex").read_text().startswith("\\begin{tabular}")
    seeds = pd.read_csv(out / "tables" / "seeds.csv")
    assert seeds.groupby("study").size().to_dict() == {"degradation": 24, "longer": 24}


def test_names_of_studies_tell_them_apart(tmp_path: Path) -> None:
    other = _study(tmp_path / "second", lambda run: None)  # of the same name
    page = compare([DEGRADATION, other], tmp_path / "out")
    assert "<h1>degradation and second</h1>" in page.read_text()
    page = compare({"short": DEGRADATION, "long": other}, tmp_path / "out")
    assert "<h1>short and long</h1>" in page.read_text()


REFUSED: dict[str, tuple[list[str], str]] = {
    "one": (["{study}"], "compare: 1 study, expected two or more"),
    "twice": (["{study}", "{study}"], "compare: {study} is given twice"),
    "twice, with a slash": (["{study}", "{study}/"], "compare: {study}/ is given twice"),
    "twice, as an address": (["{study}", "file://{study}"], "compare: file://{study} is given twice"),
    "twice, by another way": (["{study}", "{tmp}/../{tmp_name}/link"], "link is given twice"),
    "no study": (["{study}", "{tmp}"], "{tmp}: holds no study"),
    "no table": (["{study}", "{tmp}/none.csv"], "{tmp}/none.csv: no such file"),
    "no column": (["{study}", "{tmp}/table.csv"], "table.csv: has no column val_accuracy; known: model, top1 (--map"),
    "renaming": (["{study}", "{tmp}/table.csv", "--map", "top1"], "--map top1: expected COLUMN=NAME"),
    "renaming no table": (
        ["{study}", "{other}", "--map", "top1=val_accuracy"],
        "compare: renamed can be said of tables only (.csv, .tsv, .parquet); none is given",
    ),
    "not ours": (["{study}", "{other}", "--out", "{tmp}"], "{tmp}: holds other files than a report"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_writes_nothing(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = REFUSED[case]
    (tmp_path / "table.csv").write_text("model,top1\na,0.8\n")
    shutil.copytree(DEGRADATION, tmp_path / "other")
    (tmp_path / "link").symlink_to(DEGRADATION)
    places = {
        "study": str(DEGRADATION),
        "tmp_name": tmp_path.name,
        "other": str(tmp_path / "other"),
        "tmp": str(tmp_path),
    }
    given = [one.format(**places) for one in arguments]
    out = [] if "--out" in given else ["--out", str(tmp_path / "out")]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["compare", *given, *out])
    (error,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert message.format(**places) in error
    assert sorted(tmp_path.iterdir()) == before


def test_no_source_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"^compare: no studies, expected two or more$"):
        compare([], tmp_path / "out")
    for one in (str(DEGRADATION), pd.DataFrame({"name": ["a", "b"], "val_accuracy": [0.1, 0.2]})):
        with pytest.raises(StudyError, match=r"^compare: 1 study, expected two or more$"):
            compare(one, tmp_path / "out")  # type: ignore[arg-type]


def test_studies_that_trained_nothing_yet_are_compared(tmp_path: Path) -> None:
    for name in ("one", "two"):
        directory = _study(tmp_path / name, lambda run: run.update(ended_at=None, is_complete=False))
        for table in ("trials", "curves"):
            file = directory / f"{table}.parquet"
            pd.read_parquet(file).iloc[:0].to_parquet(file)
    page = compare([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert "two and one have no network in common" in page.read_text()


def test_names_and_places_of_a_mapping_are_checked(tmp_path: Path) -> None:
    for name in (1, "", " "):
        with pytest.raises(StudyError, match="expected text, the name that a study is to go by"):
            compare({name: DEGRADATION, "other": tmp_path}, tmp_path / "out")  # type: ignore[dict-item]
    with pytest.raises(StudyError, match="is given twice"):
        compare({"a": DEGRADATION, "b": str(DEGRADATION)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tables_and_studies_are_compared_together(tmp_path: Path) -> None:
    """A table of the same networks, by their architectures' names, elsewhere under another recipe."""
    rows = [
        {"model": one, "top1": 100 * score, "seed": seed}
        for one, score in (("basic-d1.1.1-w8.16.32", 0.95), ("basic-d3.3.3-w8.16.32", 0.96))
        for seed, score in enumerate([score, score + 0.01])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    maps = ["--map", "top1=val_accuracy", "--map", "model=name"]
    arguments = ["compare", str(DEGRADATION), str(tmp_path / "table.csv"), *maps, "--out", str(tmp_path / "out")]
    main(arguments)
    claims = json.loads((tmp_path / "out" / "claims.json").read_text())
    (told,) = [one for one in claims if one["kind"] == "mean_difference"]
    assert told["n"] == 2
    assert told["subject"] == {"study": "table.csv", "against": "degradation"}


def test_the_committed_comparison_is_the_readmes() -> None:
    claims = json.loads((DEGRADATION.parent / "two_data_sets" / "claims.json").read_text())
    (deep,) = [one for one in claims if one["kind"] == "difference_of_differences" and one["subject"]["depth"] == 110]
    assert "changes accuracy by +0.569 in fashion_mnist_depth and by +0.874 in degradation" in deep["sentence"]
    assert deep["low"] < 0 < deep["high"]
    readme = " ".join((DEGRADATION.parents[1] / "README.md").read_text().split())
    assert (
        "at depth 110 skips gain 0.569 there and 0.874 on digits, a difference that three seeds cannot tell" in readme
    )
