"""Reports: what a study found, in figures with a sentence each, tables, and the exact study behind them."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator, Mapping, Sequence
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


@_uncollected()
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
    evidence, place = _read(source, out, allow_plugins, table)
    if not force:
        _require_ours(place)
    return _write(evidence, place)


def _write(evidence: Evidence, place: Path) -> Path:
    from ressearch.reporting.page import write

    try:
        return write(evidence, place)
    except PermissionError as error:
        problem = f"{error.filename}: {(error.strerror or str(error)).lower()}"
        raise StudyError(f"{problem}; --out names another directory for the report") from None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise StudyError(f"{place}: read-only file system; --out names another directory for the report") from None


@_uncollected()
def compare(
    sources: Sequence[str | Path | pd.DataFrame] | Mapping[str, str | Path | pd.DataFrame],
    out: str | Path,
    force: bool = False,
    allow_plugins: bool = False,
    **table: Any,
) -> Path:
    """Write the report of several studies side by side: how far they agree on the networks that they share.

    Args:
        sources: two or more study directories, or tables as `report` takes them; by the names they are to go by, or
            else by those that their files give. The first is the one that the others are compared with.
        out, force, allow_plugins: as of `report`.
        table: of the tables among them: `renamed`, `input_shape`, `examples`, `chance`, as `report` takes them.

    Returns:
        The path of the HTML file, which needs no other file.

    Raises:
        PluginError: a plugin is missing or was changed.
        StudyError: there are fewer than two sources, one holds neither a study nor a table of results, or `out` holds
            something else.
    """
    from ressearch.reporting.side_by_side import side_by_side

    named = sources if isinstance(sources, Mapping) else None
    given: list[Any] = list(sources.values()) if isinstance(sources, Mapping) else list(sources)
    if isinstance(sources, str) or hasattr(sources, "columns"):
        given = [sources]  # a frequent slip, which a list of its letters or columns would hide
    if len(given) < 2:
        raise StudyError(
            f"compare: {len(given) or 'no'} {'study' if len(given) == 1 else 'studies'}, expected two or more"
        )
    for name in named or ():
        if not isinstance(name, str) or not name.strip():
            raise StudyError(f"compare: {name!r}: expected text, the name that a study is to go by")
    _require_distinct(given)
    tables = [_is_table(one) for one in given]
    if table and not any(tables):
        raise StudyError(f"compare: {', '.join(table)} can be said of tables only ({_formats()}); none is given")
    told = [table if is_table else {} for is_table in tables]
    parts = [_read(source, out, allow_plugins, said)[0] for source, said in zip(given, told, strict=True)]
    names = [*named] if named is not None else _names_of(given, [part.title for part in parts])
    place = Path(out)
    if not force:
        _require_ours(place)
    return _write(side_by_side(dict(zip(names, parts, strict=True))), place)


def _is_table(source: str | Path | pd.DataFrame) -> bool:
    from ressearch.reporting.any_table import FORMATS

    if not isinstance(source, str | Path):
        return True
    return Path(source).suffix.lower() in FORMATS and not Path(source).is_dir()


def _formats() -> str:
    from ressearch.reporting.any_table import FORMATS

    return ", ".join(FORMATS)


def _names_of(sources: Sequence[Any], titles: Sequence[str]) -> list[str]:
    """Return a name for each source: its own; where two have one name, the directories' or files' names, or paths."""
    paths = [str(one) if isinstance(one, str | Path) else f"table {place + 1}" for place, one in enumerate(sources)]
    shorter = [Path(one).name or one for one in paths]
    return next((names for names in (list(titles), shorter) if len(set(names)) == len(names)), paths)


def _require_distinct(sources: Sequence[Any]) -> None:
    """Raise StudyError if two sources are the same place, however it is written."""
    seen: list[str | Path] = []
    for one in sources:
        if not isinstance(one, str | Path):
            continue
        local = str(one).removeprefix("file://")
        place = str(one).rstrip("/") if is_url(local) else Path(local).resolve()
        if place in seen:
            raise StudyError(f"compare: {one} is given twice")
        seen.append(place)


def _read(
    source: str | Path | pd.DataFrame, out: str | Path | None, allow_plugins: bool, table: dict[str, Any]
) -> tuple[Evidence, Path]:
    """Return the evidence of a study or a table, and where its report goes."""
    from ressearch.reporting import run_facts
    from ressearch.reporting.any_table import of_table, read
    from ressearch.reporting.evidence import of_results

    if not isinstance(source, str | Path):
        if out is None:
            raise StudyError("report: `out` names a directory for the report of a table")
        return of_table(source, **{"source": "the table", **table}), Path(out)
    if _is_table(source):
        file = Path(source)
        return of_table(read(file), source=file.name, **table), Path(out) if out else file.with_name(
            f"{file.stem}-report"
        )
    if table:
        raise StudyError(f"{source}: is a study; {', '.join(table)} can be said of a table only ({_formats()})")
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


__all__ = ["compare", "report"]
