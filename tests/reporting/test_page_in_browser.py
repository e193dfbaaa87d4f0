"""The page of a report in a real browser: at two widths, in each scheme, printed and without scripts.

Skipped where no Chromium or Chrome is installed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import NAMES, PROGRAM, Browser
from made_tables import search

from ressearch.reporting import report

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=f"no browser on PATH ({', '.join(NAMES)})")

ROOT = Path(__file__).parents[2]
STUDIES = ("fashion_mnist_search", "fashion_mnist_depth")
"""A search and a depth study."""

NARROW, WIDE, PAPER = 390, 1280, 718
"""Pixels: a phone, a desk, and A4 between a browser's margins."""

SHOWN = [
    *((width, scheme, "") for width in (NARROW, WIDE) for scheme in ("light", "dark")),
    (PAPER, "light", "print"),
    (PAPER, "dark", "print"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    one = Browser(PROGRAM, tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    made = {name: report(ROOT / "reports" / name, out=place / name) for name in STUDIES}
    table = search(networks=60)
    table["params"] = table["depth"] * table["width"]
    table = table[(table["seed"] == 0) | (table["depth"] > 20)]  # one seed has no interval
    return {**made, "table": report(table, out=place / "table")}


def too_wide(browser: Browser, width: int) -> list[Any]:
    """Return how far the page reaches beyond a window, and which elements do; a phone's window widens with it."""
    found: list[Any] = browser.tell(f"{_TOO_WIDE}({width})")
    return found


study = pytest.mark.parametrize("name", [*STUDIES, "table"])


@study
def test_the_page_fits_complains_of_nothing_and_asks_for_nothing(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    for width, scheme, media in SHOWN:
        browser.open(pages[name], width, scheme, media)
        wide = too_wide(browser, width)
        assert wide == [], f"{width} px, {scheme}, {media}: wider than the window"
        browser.tell("document.querySelector('th').click(), document.querySelector('use[data-n]').dispatchEvent("
                     "new MouseEvent('click', {bubbles: true}))")  # fmt: skip
        assert browser.complaints == [], f"{width} px, {scheme}, {media}"
        assert browser.requests == [pages[name].as_uri()], f"{width} px, {scheme}, {media}"


@study
def test_every_text_stands_out_from_its_background(browser: Browser, pages: dict[str, Path], name: str) -> None:
    for width, scheme, media in SHOWN[2:]:
        browser.open(pages[name], width, scheme, media)
        assert browser.tell(_FAINT) == [], f"{scheme}, {media}: contrast below 4.5 to 1 (WCAG 2.2, 1.4.3)"
        is_dark = browser.tell("lightness(ground(document.body)) < 0.2")
        assert is_dark == (scheme == "dark" and not media)


@study
def test_panels_stack_on_a_phone_and_stand_side_by_side_on_a_desk(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    for width in (NARROW, WIDE):
        browser.open(pages[name], width)
        figures = browser.tell(
            "[...document.querySelectorAll('.panels')].map(one => [...one.querySelectorAll(':scope > svg')].map(svg =>"
            " (({left, top, width, height}) => [left, top, width, height])(svg.getBoundingClientRect())))"
        )
        assert max(len(panels) for panels in figures) > 1
        for panels in figures:
            assert all(w > 200 and h > 100 for _, _, w, h in panels)
            rows = {round(top) for _, top, _, _ in panels}
            assert len(rows) == (len(panels) if width == NARROW else -(-len(panels) // 2))


@study
def test_hover_tells_the_network_and_leaving_hides_it(browser: Browser, pages: dict[str, Path], name: str) -> None:
    for width in (NARROW, WIDE):
        browser.open(pages[name], width)
        number, x, y = browser.tell(_POINT)
        told = browser.tell(f"JSON.parse(document.getElementById('networks').textContent)[{number!r}]")
        browser.point(x, y)
        tip = browser.tell(_TIP)
        assert tip["text"].startswith(told[0])
        assert told[1] in tip["text"]
        assert re.search(r"accuracy [01]\.\d{3}", tip["text"])
        assert 0 <= tip["left"] < tip["right"] <= width
        assert too_wide(browser, width) == []
        browser.point(1, 1)
        assert browser.tell(_TIP) is None


@study
def test_a_click_marks_the_network_in_every_figure_and_table(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name])
    number, x, y = browser.tell(_POINT)
    plain = browser.tell(f"getComputedStyle(document.querySelector('use[data-n=\"{number}\"]')).strokeWidth")
    browser.click(x, y)
    marked = browser.tell(_MARKED)
    assert {one for one, _ in marked} == {number}
    assert len(marked) == browser.tell(f"document.querySelectorAll('[data-n=\"{number}\"]').length")
    assert len({place for _, place in marked}) >= 3, "in two panels or more and a table"
    browser.point(1, 1)
    strong = browser.tell(f"getComputedStyle(document.querySelector('use[data-n=\"{number}\"]')).strokeWidth")
    assert strong != plain
    other = browser.tell(
        f"[...document.querySelectorAll('tr[data-n]')].find(one => one.dataset.n != {number!r}).dataset.n"
    )
    browser.tell(f"document.querySelector('tr[data-n=\"{other}\"] td').click()")
    assert {one for one, _ in browser.tell(_MARKED)} == {other}
    browser.tell(f"document.querySelector('tr[data-n=\"{other}\"] td').click()")
    assert browser.tell(_MARKED) == []


@study
def test_tables_sort_by_click_and_by_key(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    for at, table in enumerate(browser.tell("[...document.querySelectorAll('table')].map(one => one.tHead.innerText)")):
        for column, title in enumerate(table.split("\t")):
            where = f"document.querySelectorAll('table')[{at}]"
            head = f"{where}.tHead.rows[0].cells[{column}]"
            cells = f"[...{where}.tBodies[0].rows].map(row => row.cells[{column}].innerText.trim())"
            before = browser.tell(cells)
            for press in ("click()", "dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}))"):
                browser.tell(f"{head}.{press}")
                after = browser.tell(cells)
                order = browser.tell(f"{head}.getAttribute('aria-sort')")
                assert sorted(after) == sorted(before)
                known = [one for one in after if one not in ("", "–")]
                assert after[: len(known)] == known, f"{title}: what is not known comes last"
                keys = [_key(one) for one in known]
                if all(isinstance(one, float) for one in keys):
                    assert keys == sorted(keys, reverse=order == "descending"), title
                assert browser.tell(f"{where}.querySelectorAll('[aria-sort]').length") == 1
            assert order == "ascending"


def _key(text: str) -> Any:
    """Return a cell's number, or its text."""
    found = re.fullmatch(r"([-+−]?[\d.,]+(?:e[-+]?\d+)?)([kMGT]?)( ?%)?", text)
    if found is None:
        return text
    return float(found[1].replace("−", "-").replace(",", "")) * {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(
        found[2], 1
    )


@pytest.mark.parametrize("name", ["fashion_mnist_depth", "table"])  # which have tables long enough
def test_tables_filter_by_what_is_typed(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    rows = (
        "[...document.querySelector('input[type=search]').nextElementSibling.querySelectorAll('tbody tr')].map(row =>"
        " [[...row.cells].map(cell => cell.textContent).join('\\n'), row.getBoundingClientRect().height > 0])"
    )
    assert all(is_shown for _, is_shown in browser.tell(rows))
    word = browser.tell(rows)[0][0].split()[0]
    browser.tell("document.querySelector('input[type=search]').focus()")
    browser.write(f"{word.upper()} ")
    shown = browser.tell(rows)
    assert sum(is_shown for _, is_shown in shown) > 0
    assert [is_shown for _, is_shown in shown] == [word.lower() in text.lower() for text, _ in shown]
    browser.write("no such row")
    assert not any(is_shown for _, is_shown in browser.tell(rows))
    browser.tell("document.querySelector('input[type=search]').select()")
    browser.write(" ")
    assert all(is_shown for _, is_shown in browser.tell(rows))


@study
def test_without_scripts_every_section_is_readable(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], NARROW, scripts=False)
    assert browser.tell(_HEADINGS) == re.findall(r"<h2>([^<]*)</h2>", pages[name].read_text("utf-8"))
    assert browser.tell("document.querySelectorAll('input').length") == 0
    assert browser.tell(_TIP) is None
    assert too_wide(browser, NARROW) == []
    assert browser.tell("[...document.querySelectorAll('th')].every(one => getComputedStyle(one).cursor != 'pointer')")
    for at in range(browser.tell("document.querySelectorAll('details').length")):
        details = f"document.querySelectorAll('details')[{at}]"
        browser.tell(f"{details}.scrollIntoView({{block: 'center'}})")
        box = browser.tell(f"(({{left, top}}) => [left, top])({details}.firstElementChild.getBoundingClientRect())")
        browser.click(box[0] + 10, box[1] + 8)
        assert browser.tell(f"{details}.open")
    assert browser.tell(_UNSEEN) == []
    assert browser.complaints == []


@study
def test_a_printed_page_has_what_is_folded_and_nothing_to_press(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    browser.open(pages[name], PAPER, media="print")
    assert browser.tell(_UNSEEN) == []
    inputs = "[...document.querySelectorAll('input, #tip')].map(one => getComputedStyle(one).display)"
    assert set(browser.tell(inputs)) == {"none"}
    cut = "[...document.querySelectorAll('pre, .scroll')].filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert browser.tell(cut) == 0, "paper does not scroll"
    pdf = base64.b64decode(browser.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"])
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 50_000


_TOO_WIDE = """(width => {
  const far = document.scrollingElement.scrollWidth;
  if (far <= width) return [];
  return [far, ...[...document.body.querySelectorAll('*')].filter(one => one.getBoundingClientRect().right > width + 1
    && !one.closest('.scroll *, pre *, svg *')).slice(0, 3).map(one => one.outerHTML.slice(0, 80))];
})"""

_FAINT = r"""(() => {
  globalThis.colour = text => (([r, g, b, a = 1]) => [r, g, b, a])(text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0]);
  globalThis.lightness = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(one => (one /= 255) <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  globalThis.ground = one => {
    for (; one; one = one.parentElement) {
      const found = colour(getComputedStyle(one).backgroundColor);
      if (found[3] > 0.9) return found;
    }
    return [255, 255, 255, 1];
  };
  const faint = new Set();
  for (const one of document.body.querySelectorAll('*')) {
    if (![...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    if (!one.getClientRects().length || one.closest('script, style')) continue;
    const style = getComputedStyle(one), text = colour(one.ownerSVGElement ? style.fill : style.color);
    const pair = [lightness(text), lightness(ground(one))].sort((a, b) => a - b);
    const ratio = (pair[1] + 0.05) / (pair[0] + 0.05);
    if (ratio < 4.5) faint.add(`${one.tagName} ${one.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return [...faint].slice(0, 8);
})()"""

_POINT = """(() => {
  for (const one of document.querySelectorAll('use[data-n]')) {
    one.scrollIntoView({block: 'center'});
    const box = one.getBoundingClientRect(), x = box.left + box.width / 2, y = box.top + box.height / 2;
    const number = document.elementFromPoint(x, y)?.closest('[data-n]')?.dataset.n;
    const panels = new Set([...document.querySelectorAll(`use[data-n="${number}"]`)].map(it => it.closest('svg')));
    if (number && panels.size > 1 && document.querySelector(`tr[data-n="${number}"]`)) return [number, x, y];
  }
})()"""

_TIP = """(() => {
  const tip = document.getElementById('tip'), box = tip.getBoundingClientRect();
  return box.height ? {text: tip.innerText, left: box.left, right: box.right} : null;
})()"""

_MARKED = """[...document.querySelectorAll('.on')].map(one =>
  [one.dataset.n, [...document.querySelectorAll('svg, table')].indexOf(one.closest('svg, table'))])"""

_HEADINGS = """[...document.querySelectorAll('h2')].filter(one => {
  const next = one.nextElementSibling;
  return one.getBoundingClientRect().height && next && next.getBoundingClientRect().height;
}).map(one => one.innerHTML)"""

_UNSEEN = """[...document.querySelectorAll('p, li, dt, dd, td, figcaption, pre')].filter(one =>
  one.textContent.trim() &&
  !(one.getBoundingClientRect().height && one.checkVisibility({contentVisibilityAuto: true}))
).map(one => one.outerHTML.slice(0, 80)).slice(0, 5)"""
