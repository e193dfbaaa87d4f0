"""Hooks of MkDocs: files outside docs/ that pages link to are added, and links rewritten to where they lie on the site.

On the site `docs/space.md` is `space.md` and `README.md` is `index.md`; all else keeps its path. A link that works
in the repository works on the site too.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
START = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def linked(path: str) -> list[str]:
    """Return what a Markdown file links to in the repository, as paths from its top."""
    targets = [resolved(path, target) for target in LINK.findall((ROOT / path).read_text("utf-8"))]
    return [one for one in targets if (ROOT / one).is_file()]


def resolved(path: str, target: str) -> str:
    """Return a link's target, as a path from the top of the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def site_path(path: str) -> str:
    """Return where a file of the repository lies on the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def repository_path(path: str) -> str:
    """Undo `site_path`."""
    if path == "index.md":
        return "README.md"
    return f"docs/{path}" if (ROOT / "docs" / path).is_file() else path


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, and all that any page links to."""
    waiting = [*START, *(repository_path(one.src_uri) for one in files if one.src_uri.endswith(".md"))]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if files.get_file_from_path(site_path(path)) is None:
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            new = set(linked(path)) - seen
            seen |= new
            waiting += sorted(new)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have links go where their targets lie on the site."""
    here = repository_path(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target = resolved(here, match[1])
        if not (ROOT / target).is_file():
            return match[1]
        return posixpath.relpath(site_path(target), posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(moved, markdown)
