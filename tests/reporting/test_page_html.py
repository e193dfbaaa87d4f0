"""The page of a report: it says what its claims say, needs no other file, and takes nothing in a table for HTML."""

from __future__ import annotations

import csv
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_tables import line, search

from ressearch.reporting import report
from ressearch.reporting.page import _escaped, _latex, _markdown

SKIPS = ("none", "<script>alert(1)</script>", "$a_b%&# ~^\\é|日 <!--")
"""Names of skip styles that HTML, TeX, Markdown, or matplotlib would take for something else."""


class Page(HTMLParser):
    """The elements of a page with their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "img", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    means = ({8: 0.80, 14: 0.84, 20: 0.76}, {8: 0.80, 14: 0.85, 20: 0.88}, {8: 0.79, 14: 0.80, 20: 0.80})
    parts = [
        line(one, skip=skip, train={depth: mean + 0.05 for depth, mean in one.items()})
        for skip, one in zip(SKIPS, means, strict=True)
    ]
    table = pd.concat(parts, ignore_index=True)
    table["params"] = table["depth"] * 1000
    place = tmp_path_factory.mktemp("page") / "out"
    return report(table, out=place, question="Is </title><script>alert(2)</script> deep?").parent


@pytest.fixture(scope="module")
def text(written: Path) -> str:
    return (written / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture(scope="module")
def claims(written: Path) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads((written / "claims.json").read_text("utf-8"))
    return made


def test_every_sentence_of_the_answer_and_the_lists_is_a_claim_and_every_claim_is_said(
    text: str, claims: list[dict[str, Any]]
) -> None:
    sentences = {one["sentence"] for one in claims}
    answer = re.search(r'<div class="answer">(.*?)</div>', text, re.DOTALL)
    assert answer is not None
    said = [html.unescape(one) for one in re.findall(r"<p>(.*?)</p>", answer[1], re.DOTALL)]
    body = text[: text.index("<h2>How it was done</h2>")]
    said += [html.unescape(one) for one in re.findall(r"<li>(.*?)</li>", body, re.DOTALL)]
    said += [html.unescape(one) for one in re.findall(r"<h2>[^<]*</h2>\s*<p>(.*?)</p>", body, re.DOTALL)]
    assert said
    assert set(said) == sentences
    assert len(said) == len(claims)


def test_a_claim_has_its_estimate_interval_method_and_number_of_values(claims: list[dict[str, Any]]) -> None:
    for one in claims:
        keys = ["kind", "subject", "estimate", "low", "high", "confidence", "p", "method", "n", "sentence"]
        assert list(one)[:10] == keys
        assert one["sentence"].endswith((".", "%).")), one["sentence"]
        assert one["method"]
        assert one["confidence"] == 0.95
        if isinstance(one["estimate"], float) and one["low"] is not None:
            assert one["low"] <= one["estimate"] <= one["high"]


def test_the_page_loads_nothing(page: Page, text: str) -> None:
    for tag, attributes in page.found:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert "src" not in attributes
        for key in ("href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith("#")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "fetch(" not in text
    assert {one for one in re.findall(r"https?://[^\s\"'<>]+", text) if "w3.org" not in one} <= {
        "http://creativecommons.org/ns#",
        "http://purl.org/dc/elements/1.1/",
        "http://purl.org/dc/dcmitype/StillImage",
        "https://matplotlib.org/",
    }


def test_only_the_pages_own_scripts_are_scripts(page: Page, text: str) -> None:
    scripts = [attributes for tag, attributes in page.found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "networks"}, {}]
    assert [tag for tag, attributes in page.found if any(key.startswith("on") for key in attributes)] == []
    assert page.found[-2:] == [("script", scripts[0]), ("script", {})]
    assert "alert(1)" in text
    assert html.escape(SKIPS[1]) in text
    for opened, said in page.texts:
        if "alert(" in said:
            assert opened[-1:] != ("script",) or "\\u003cscript>" in said


def test_every_network_is_told_of_and_marked_in_the_figures_and_the_table(text: str, page: Page) -> None:
    told = json.loads(next(said for opened, said in page.texts if opened[-1:] == ("script",)))
    assert set(told) == {str(one) for one in range(9)}
    assert told["0"] == ["skip none, depth 8", "accuracy 0.800 ± 0.002 (sd), 3 seeds, depth 8, 8k parameters"]
    assert told["3"][0] == "skip <script>alert(1)</script>, depth 8"
    for tag in ("tr", "use"):
        marked = {attributes["data-n"] for kind, attributes in page.found if kind == tag and "data-n" in attributes}
        assert marked == {str(one) for one in range(9)}
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_page_follows_dark_schemes_prints_and_fits_small_screens(text: str) -> None:
    for one in (
        '<meta name="color-scheme" content="light dark">',
        "@media (prefers-color-scheme: dark)",
        "@media print",
        "@media (max-width: 40rem)",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<html lang="en">',
    ):
        assert one in text
    assert "var(--ink)" in text[text.index("<figure") :]
    assert "#262a2e" not in text


def test_the_page_is_small(written: Path) -> None:
    assert (written / "report.html").stat().st_size < 600_000
    assert (written / "claims.json").stat().st_size < 60_000


def test_the_title_the_question_and_the_state_stand_first(page: Page) -> None:
    assert [said for opened, said in page.texts if opened[-1:] == ("h1",)] == ["the table"]
    assert [said for opened, said in page.texts if opened[-1:] == ("title",)] == ["the table · ressearch"]
    paragraphs = [said for opened, said in page.texts if opened[-1:] == ("p",)]
    assert paragraphs[0] == "Is </title><script>alert(2)</script> deep?"
    assert "9 networks, 3 seeds each, from the table." in paragraphs


def test_markdown_says_the_same_and_holds_no_html(written: Path, claims: list[dict[str, Any]]) -> None:
    said = (written / "report.md").read_text("utf-8")
    assert said.startswith("# the table\n\n*Is &lt;/title>&lt;script>alert(2)&lt;/script> deep?*\n")
    assert "<" not in said
    for one in claims:
        assert one["sentence"].replace("&", "&amp;").replace("<", "&lt;") in said
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", said):
        assert (written / name).is_file()
    rows = [one for one in said.splitlines() if one.startswith("| ")]
    widths = {len(re.findall(r"(?<!\\)\|", one)) for one in rows}
    assert len(widths) <= 2  # of two tables


def test_every_figure_is_there_as_png_and_svg_and_none_shows_mathematics(written: Path, page: Page) -> None:
    shown = {str(attributes["id"]).removeprefix("figure-") for tag, attributes in page.found if tag == "figure"}
    assert shown
    assert {one.name for one in (written / "figures").iterdir()} == {
        f"{name}.{ending}" for name in shown for ending in ("png", "svg")
    }
    for one in (written / "figures").glob("*.svg"):
        assert "mathdefault" not in one.read_text("utf-8")


def test_tables_hold_every_network_and_seed_exactly(written: Path) -> None:
    with (written / "tables" / "seeds.csv").open(encoding="utf-8") as file:
        seeds = list(csv.DictReader(file))
    assert len(seeds) == 27
    assert {one["skip"] for one in seeds} == set(SKIPS)
    with (written / "tables" / "best.csv").open(encoding="utf-8") as file:
        best = list(csv.DictReader(file))
    assert len(best) == 9
    accuracies = [float(one["val_accuracy"]) for one in best]
    assert accuracies == sorted(accuracies, reverse=True)
    assert float(best[0]["val_accuracy"]) == pytest.approx(0.88)
    assert not (written / ".unfinished").exists()


def test_latex_escapes_what_tex_takes_for_commands(written: Path) -> None:
    best = (written / "tables" / "best.tex").read_text("utf-8")
    assert best.startswith("\\begin{tabular}{rl")
    assert r"\$a\_b\%\&\# \textasciitilde{}\textasciicircum{}\textbackslash{}é|日" in best
    assert best.rstrip().endswith("\\end{tabular}")
    assert _escaped("{–}") == r"\{--\}"


def test_a_table_in_latex_and_markdown() -> None:
    table = pd.DataFrame({"name": ["a|b_c"], "val accuracy": ["0.500"]})
    assert _latex(table) == (
        "\\begin{tabular}{lr}\n\\toprule\nname & val accuracy \\\\\n\\midrule\na|b\\_c & 0.500 \\\\\n\\bottomrule\n"
        "\\end{tabular}\n"
    )
    assert _markdown(table) == "| name | val accuracy |\n| --- | --- |\n| a\\|b_c | 0.500 |"


def test_a_report_is_written_anew_and_in_the_same_bytes(written: Path, tmp_path: Path) -> None:
    table = line({8: 0.8, 14: 0.81}, skip="none")
    first = report(table, out=tmp_path / "a").read_bytes()
    assert report(table, out=tmp_path / "a").read_bytes() == first


def test_a_page_of_many_networks_lists_the_first_fifty_and_says_where_the_rest_is(tmp_path: Path) -> None:
    said = report(search(60, seeds=1), out=tmp_path / "out").read_text("utf-8")
    assert "The first 50 of 60; all are in tables/best.csv." in said
    assert said.count("<tr data-n=") == 50
    assert len((tmp_path / "out" / "tables" / "best.csv").read_text().splitlines()) == 61
