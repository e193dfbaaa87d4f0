"""Reports: what a study found, in figures with a sentence each, tables, and the exact study behind them."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ressearch.errors import StudyError
from ressearch.plugins import load_kept
from ressearch.results import load
from ressearch.results.storage import is_url

if TYPE_CHECKING:
    import pandas as pd

    from ressearch.reporting.evidence import Evidence

_MARK = "· ressearch</title>"
"""What every report's HTML says, and nobody else's."""


def report(
    source: str | Path | pd.DataFrame,
    out: str | Path | None = None,
    force: bool = False,
    allow_plugins: bool = False,
    **table: Any,
) -> Path:
    """Write the report of a study, finished or not, or of results that were obtained elsewhere.

    Args:
        source: a study directory; or a table with one row for each network and seed: a DataFrame, or a ``.csv``,
            ``.tsv`` or ``.parquet`` file (`ressearch.reporting.any_table.of_table` says which columns).
        out: where `report.html`, `report.md`, `claims.json`, `figures/` and `tables/` go [``report`` in the study
            directory; ``NAME-report`` beside a table's file]: a new or empty directory, or one that holds a report,
            which is written anew.
        force: write even if `out` holds files that are not a report's.
        allow_plugins: run the plugins that came with the study, for plots that they bring; they are code. Nothing else
            of a report needs them.
        table: of a table alone: `renamed`, `input_shape`, `examples`, `chance`, `question`, as `of_table` takes them.

    Returns:
        The path of the HTML file, which needs no other file.

    Raises:
        PluginError: a plugin is missing or was changed.
        StudyError: `source` holds neither a study nor a table of results, or `out` holds something else.
    """
    from ressearch.reporting.page import write

    with _uncollected():
        evidence, place = _read(source, out, allow_plugins, table)
        if not force:
            _require_ours(place)
        try:
            return write(evidence, place)
        except PermissionError as error:
            problem = f"{error.filename}: {(error.strerror or str(error)).lower()}"
            raise StudyError(f"{problem}; --out names another directory for the report") from None
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            raise StudyError(f"{place}: read-only file system; --out names another directory for the report") from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave cyclic garbage where it lies within the block: looking for it among thousands of rows takes seconds."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(
    source: str | Path | pd.DataFrame, out: str | Path | None, allow_plugins: bool, table: dict[str, Any]
) -> tuple[Evidence, Path]:
    """Return the evidence of a study or a table, and where its report goes."""
    from ressearch.reporting import run_facts
    from ressearch.reporting.any_table import FORMATS, of_table, read
    from ressearch.reporting.evidence import of_results

    if not isinstance(source, str | Path):
        if out is None:
            raise StudyError("report: `out` names a directory for the report of a table")
        return of_table(source, **{"source": "the table", **table}), Path(out)
    if Path(source).suffix.lower() in FORMATS and not Path(source).is_dir():
        file = Path(source)
        return of_table(read(file), source=file.name, **table), Path(out) if out else file.with_name(
            f"{file.stem}-report"
        )
    if table:
        raise StudyError(f"{source}: is a study; {', '.join(table)} can be said of a table only ({', '.join(FORMATS)})")
    results = load(source)
    if allow_plugins:
        load_kept(results.directory, results.run, allow_plugins, source)
    run_facts.require(results.run, results.directory / "run.json")
    if is_url(source) and out is None:
        raise StudyError(f"{source}: is elsewhere; --out names a local directory for the report")
    return of_results(results), Path(out) if out is not None else results.directory / "report"


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
