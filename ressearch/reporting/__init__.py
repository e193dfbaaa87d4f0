"""Reports: what a study found, in figures with a sentence each, tables, and the exact study behind them."""

from __future__ import annotations

import errno
from pathlib import Path

from ressearch.errors import StudyError
from ressearch.plugins import load_kept
from ressearch.results import load
from ressearch.results.storage import is_url

_MARK = "· ressearch</title>"
"""What every report's HTML says, and nobody else's."""


def report(
    directory: str | Path, out: str | Path | None = None, force: bool = False, allow_plugins: bool = False
) -> Path:
    """Write the report of a study, finished or not.

    Args:
        directory: a study directory.
        out: where `report.html`, `report.md`, `figures/` and `tables/` go [``report`` in the study directory]: a new
            or empty directory, or one that holds a report, which is written anew.
        force: write even if `out` holds files that are not a report's.
        allow_plugins: run the plugins that came with the study, for plots that they bring; they are code. Nothing else
            of a report needs them.

    Returns:
        The path of the HTML file, which needs no other file.

    Raises:
        PluginError: a plugin is missing or was changed.
        StudyError: the directory holds no study, or no trial has trained an epoch, or `out` holds something else.
    """
    from ressearch.reporting import run_facts
    from ressearch.reporting.page import write

    results = load(directory)
    if allow_plugins:
        load_kept(results.directory, results.run, allow_plugins, directory)
    run_facts.require(results.run, results.directory / "run.json")
    if is_url(directory) and out is None:
        raise StudyError(f"{directory}: is elsewhere; --out names a local directory for the report")
    place = Path(out) if out is not None else results.directory / "report"
    if not force:
        _require_ours(place)
    try:
        return write(results, place)
    except PermissionError as error:
        problem = f"{error.filename}: {(error.strerror or str(error)).lower()}"
        raise StudyError(f"{problem}; --out names another directory for the report") from None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise StudyError(f"{place}: read-only file system; --out names another directory for the report") from None


def _require_ours(place: Path) -> None:
    """Raise StudyError if a report's files would lie among, or instead of, files that no report has."""
    from ressearch.reporting.page import UNFINISHED

    try:
        if not place.exists() or (place.is_dir() and all(one.name == UNFINISHED for one in place.iterdir())):
            return
        if not place.is_dir():
            raise StudyError(f"{place}: is a file; --out names a directory")
        is_ours = (place / "report.html").is_file() and _MARK in (place / "report.html").read_text("utf-8", "replace")
    except OSError as error:
        raise StudyError(f"{place}: {(error.strerror or str(error)).lower()}") from None
    if not is_ours:
        raise StudyError(f"{place}: holds other files than a report; --force writes the report among them")


__all__ = ["report"]
