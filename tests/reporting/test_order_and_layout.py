"""The one order of a report's networks, and figures that are laid out once for all files they are saved to."""

from __future__ import annotations

import io
import random
from unittest.mock import Mock

import numpy as np
import pytest
from made_tables import evidence, line
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from picking.test_limits import seeded, study

from ressearch.reporting.evidence import of_results
from ressearch.reporting.figures import lay_out, panels, style, svg
from ressearch.reporting.tables import best_table
from ressearch.results.ranking import Objective, rank, ranked_table

ROWS = [
    seeded(0, [0.80, 0.90], 100),
    seeded(1, [0.861, 0.862, 0.861], 200),
    seeded(2, [0.905, 0.925], 300),
    seeded(3, [0.70, 0.72], 400),
    seeded(4, [0.905, 0.925], 250),
    seeded(5, [0.99, 0.3], 80),
]
FINAL = seeded(6, [0.10, 0.12, 0.11], 300, name="basic-d1-w4", phase="final", of_trial=2)
OF_RUN = {"question": "", "examples": {"train": 1000, "validation": 400}}


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss", "macs"])
def test_a_report_has_the_order_of_status_and_pick(objective: str) -> None:
    rows = [{**row, "val_loss": 0.1 * ((7 * row["trial"]) % 5)} for row in [*ROWS, FINAL]]
    results = study(rows, **OF_RUN, study={"search": {"objective": [objective]}, "space": {"grid": None}})
    found = of_results(results)
    expected = ranked_table(results.trials, Objective.of(results.run))["trial"].tolist()
    assert [found.numbers[at] for at in found.order] == expected
    assert best_table(found)["trial"].tolist() == expected
    assert expected[0] == {"val_accuracy": 4, "val_loss": 5, "macs": 5}[objective]


def test_of_equal_networks_the_cheaper_stands_first() -> None:
    rows = [seeded(trial, [0.5, 0.6], macs) for trial, macs in ((0, 300), (1, 100), (2, 200))]
    found = of_results(study(rows, **OF_RUN, study={"space": {"grid": None}}))
    assert [found.numbers[at] for at in found.order] == [1, 2, 0]


def test_a_table_from_elsewhere_is_ranked_given_all_networks() -> None:
    table = line({8: 0.80, 14: 0.90, 20: 0.85, 32: 0.95}, seeds=3, spread=0.004, skip="identity")
    found = evidence(table, examples=5000)
    assert best_table(found)["depth"].tolist() == [32, 14, 20, 8]
    assert found.order == sorted(range(4), key=lambda at: -found.standing.estimate[at])


def test_the_order_of_rows_changes_no_rank() -> None:
    rng = np.random.default_rng(0)
    rows = [seeded(trial, [float(one) for one in rng.normal(0.8, 0.02, 3)], 1) for trial in range(2100)]
    objective = Objective("val_accuracy", True, 1000)
    first = rank(rows, objective)
    mixed = random.Random(0).sample(rows, len(rows))
    again = rank(mixed, objective)
    assert [row["trial"] for row in again.rows] == [row["trial"] for row in first.rows]
    assert first.standing is not None
    assert again.standing is not None
    assert (first.standing.estimate == again.standing.estimate).all()
    assert [list(one) for one in first.scores] == [row["seed_val_accuracies"] for row in rows]
    for place, row in zip(first.places, first.rows, strict=True):
        assert first.scores[place] == row["seed_val_accuracies"]


def drawing() -> Figure:
    whole, axes = panels(2)
    for one in axes:
        one.plot([0, 1], [0, 1000])
        one.set_xlabel("depth (weighted layers)")
        one.set_ylabel("validation accuracy")
    return whole


def test_a_figure_is_laid_out_once_for_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with style():
        whole, engine_laid_out = drawing(), drawing()
        engine_laid_out.savefig(io.BytesIO(), format="svg")
        engine = whole.get_layout_engine()
        assert engine is not None
        executed = Mock(side_effect=engine.execute)
        monkeypatch.setattr(engine, "execute", executed)
        lay_out(whole)
        first, second = svg(whole), svg(whole)
        assert executed.call_count == 1
        assert first == second
        renderer = FigureCanvasAgg(whole).get_renderer()  # type: ignore[no-untyped-call]
        whole.draw(renderer)
        for ours, theirs in zip(whole.axes, engine_laid_out.axes, strict=True):
            np.testing.assert_allclose(ours.get_position().bounds, theirs.get_position().bounds, atol=0.02)
            for label in (ours.xaxis.label, ours.yaxis.label):
                box = label.get_window_extent(renderer)
                assert box.x0 >= 0
                assert box.y0 >= 0
                assert box.x1 <= whole.bbox.x1
                assert box.y1 <= whole.bbox.y1


def test_a_figure_without_a_layout_engine_keeps_its_places() -> None:
    whole = Figure()
    axes = whole.add_axes((0.1, 0.2, 0.3, 0.4))
    lay_out(whole)
    assert axes.get_position().bounds == pytest.approx((0.1, 0.2, 0.3, 0.4))
