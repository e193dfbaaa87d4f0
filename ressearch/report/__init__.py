"""Reports: what a study found, in figures with a sentence each, tables, and the exact study behind them."""

from __future__ import annotations

from pathlib import Path

from ressearch.errors import StudyError
from ressearch.results import load
from ressearch.results.storage import is_url


def report(directory: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a study, finished or not.

    Args:
        directory: a study directory.
        out: where `report.html`, `report.md`, `figures/` and `tables/` go [``report`` in the study directory].

    Returns:
        The path of the HTML file, which needs no other file.

    Raises:
        StudyError: the directory holds no study, or no trial has trained an epoch.
    """
    from ressearch.report.page import write

    results = load(directory)
    if is_url(directory) and out is None:
        raise StudyError(f"{directory}: is elsewhere; --out names a local directory for the report")
    return write(results, Path(out) if out is not None else results.directory / "report")


__all__ = ["report"]
