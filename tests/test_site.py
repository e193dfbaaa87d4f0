"""The site: every page of docs/ has its place, it builds without a warning, and every public name has its anchor.

Building needs the extra `docs` (`make docs`); without it those tests are skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import ressearch

ROOT = Path(__file__).parents[1]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
NO_PAGES = {".png", ".css"}


def pages(entry: Any) -> Iterator[str]:
    """Yield the pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for one in entry.values() if isinstance(entry, dict) else entry:
            yield from pages(one)


def test_every_page_of_docs_is_in_the_navigation_once() -> None:
    named = list(pages(SITE["nav"]))
    assert len(named) == len(set(named))
    docs = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert docs <= set(named)
    elsewhere = {"index.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md"}
    assert set(named) - docs == elsewhere


def test_nothing_but_pages_pictures_and_the_theme_lies_in_docs() -> None:
    for path in (ROOT / "docs").rglob("*"):
        if path.is_file() and "theme" not in path.parts and path.suffix != ".md":
            assert path.suffix in NO_PAGES, path


def test_every_room_has_its_page_of_the_reference() -> None:
    rooms = {path.parent.name for path in (ROOT / "ressearch").glob("*/__init__.py")} - {"cli", "export"}
    assert rooms <= {path.stem for path in (ROOT / "docs" / "api").glob("*.md")}


def test_links_of_the_pages_lead_somewhere_in_the_repository() -> None:
    for page in [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="the extra `docs` is not installed")
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's notice about another project
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return place


def test_every_public_name_has_an_anchor(site: Path) -> None:
    text = (site / "api" / "index.html").read_text()
    for name in ressearch.__all__:
        assert f'id="ressearch.{name}"' in text, name


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?(https?:[^\s\">]+)", page.read_text())
        styled = re.findall(
            r"<link[^>]+rel=\"?(?:stylesheet|preconnect|icon)\"?[^>]+href=\"?(https?:[^\s\">]+)", page.read_text()
        )
        assert not loaded + styled, page


def test_docstrings_leave_no_markup_behind(site: Path) -> None:
    """Sections that are not Google's (`Example:`) end as text; doctests would be quotations in it."""
    for page in (site / "api").glob("*.html"):
        assert "&gt;&gt;&gt; " not in re.sub(r"<pre.*?</pre>", "", page.read_text(), flags=re.DOTALL), page
        assert "<blockquote>" not in page.read_text(), page
