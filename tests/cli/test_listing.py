"""`ressearch list`: every kind, every entry, as the registries have them."""

from __future__ import annotations

import importlib
import json

import pytest

from ressearch.cli import main
from ressearch.cli.listing import KINDS, rows_of
from ressearch.errors import nearest


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["list", *arguments])
    return capsys.readouterr().out


def test_alone_it_lists_the_kinds_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)
    assert all(len(line) <= 80 and len(line.split()) > 3 for line in lines)
    assert json.loads(printed(capsys, "--json")) == [
        {"kind": name, "summary": kind.summary} for name, kind in KINDS.items()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_lists_its_whole_registry(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    module, _, name = KINDS[kind].registry.partition(":")
    rows = json.loads(printed(capsys, kind, "--json"))
    assert [row["name"] for row in rows] == list(getattr(importlib.import_module(module), name))
    assert len(rows) >= 3
    for row in rows:
        assert set(row) == {"name", "summary", "source"}
        assert len(row["summary"]) > 10, row
        assert "\n" not in row["summary"]
        assert row["source"] == "ressearch"
    assert len({row["summary"] for row in rows}) > 1
    table = printed(capsys, kind)
    assert all(row["name"] in table for row in rows)
    assert max(map(len, table.splitlines())) <= 80


def test_plots_are_listed_by_what_their_functions_say() -> None:
    rows = {row.name: row.summary for row in rows_of("plots")}
    assert rows["cost_accuracy"] == (
        "Validation accuracy against MACs, parameters and, where it was measured, latency, with the Pareto front."
    )


def test_brackets_in_a_summary_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ressearch.cli import listing

    monkeypatch.setattr(listing, "rows_of", lambda kind: [listing.Row("mine", "one [b]or[/b] two", "mine.py")])
    assert "one [b]or[/b] two" in printed(capsys, "skips")


def test_an_unknown_kind_is_one_line_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["list", "skpis"])
    out, err = capsys.readouterr()
    assert (done.value.code, out, err.count("\n")) == (2, "", 1)
    assert f"'skpis' is unknown; {nearest('skpis', KINDS)}" in err
    assert "did you mean 'skips'?" in err
