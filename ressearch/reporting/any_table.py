"""Results that were obtained elsewhere: a table with one row for each network and seed, as evidence for a report.

Columns: ``val_accuracy`` (a fraction, or per cent in every row), and what tells networks apart: ``name`` (of an
Architecture or a preset, whose fields and costs are filled in; else any name), ``depth``, ``width``, ``skip``,
``params``, ``macs``, and any other column. Optional: ``seed``, ``epoch`` (the last one of each seed counts),
``train_accuracy``, ``test_accuracy``. Columns without a name, as `DataFrame.to_csv` writes its index, are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ressearch.errors import RessearchError, StudyError, first_line, nearest
from ressearch.limits import short
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import cost
from ressearch.networks.presets import presets
from ressearch.reporting.evidence import COSTS, Evidence, axes_of_architecture, varying, with_options

FORMATS = (".csv", ".tsv", ".parquet")

RESULTS = ("val_accuracy", "train_accuracy", "test_accuracy")
"""Columns of results; each row is one seed."""

_PER_SEED = ("seed", "epoch", *RESULTS, "val_loss", "train_loss", "test_loss", "seconds", "train_seconds", "lr")
"""Columns that do not tell networks apart."""


def read(path: Path) -> pd.DataFrame:
    """Return the table of a CSV, TSV or Parquet file. Raises StudyError naming the file if it holds none."""
    suffix = path.suffix.lower()
    try:
        return pd.read_parquet(path) if suffix == ".parquet" else _read_text(path, "\t" if suffix == ".tsv" else ",")
    except StudyError:
        raise
    except UnicodeDecodeError:
        raise StudyError(f"{path}: is not UTF-8 text") from None
    except pd.errors.EmptyDataError:
        raise StudyError(f"{path}: is empty") from None
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except OSError as error:
        raise StudyError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except Exception as error:  # pandas and pyarrow raise many kinds for what is no table
        problem = first_line(error).removeprefix("Error tokenizing data. C error: ")
        raise StudyError(f"{path}: is no {suffix[1:]} table: {problem}") from None


_EMPTY = ["", "nan", "NaN", "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL"]
"""What a file writes for no value. `None` is none of them: it is a skip style."""


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    layout: dict[str, Any] = {"sep": separator, "skipinitialspace": True}
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **layout)
    names = [str(name).strip() for name in header.iloc[0]]
    for name in names:
        if name and names.count(name) > 1:
            raise StudyError(f"{path}: column {name!r} stands twice")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            table = pd.read_csv(path, keep_default_na=False, na_values=_EMPTY, index_col=False, **layout)
        except pd.errors.ParserWarning:
            raise StudyError(f"{path}: its rows have more fields than its header, which names {len(names)}") from None
    kept: pd.DataFrame = table[[column for column, name in zip(table.columns, names, strict=True) if name]]
    return kept


def of_table(
    table: pd.DataFrame,
    source: str = "the table",
    renamed: Mapping[str, str] | None = None,
    input_shape: tuple[int, ...] = (3, 32, 32),
    examples: int | None = None,
    chance: float | None = None,
    question: str = "",
) -> Evidence:
    """Return the evidence of a table of results.

    Args:
        table: one row for each network and seed.
        source: what messages and the report call it.
        renamed: the standard name of columns that are called otherwise, such as ``{"top1": "val_accuracy"}``.
        input_shape: of one input; costs of architectures that the table does not give are counted for it.
        examples: how many examples `val_accuracy` counts, if known.
        chance: the accuracy of guessing, if known.
        question: that the report answers.

    Raises:
        StudyError: a column is missing or holds what it cannot.
    """
    for key, value, is_right, expected in (
        ("examples", examples, examples is None or examples > 0, "a number above 0"),
        ("chance", chance, chance is None or 0 <= chance <= 1, "a fraction from 0 to 1"),
    ):
        if not is_right:
            raise StudyError(f"{source}: {key} is {value}, expected {expected}")
    table = _with_names(table, renamed or {}, source)
    table, notes = _checked(table, source)
    table = _plain_columns(table, source)
    _require_sizes(table, source)
    table, filled = _described(table, input_shape, source)
    table, measured = _without_measurements(table)
    identity = [key for key in _columns(table) if key not in _PER_SEED]
    if not identity:
        raise StudyError(
            f"{source}: no column tells its networks apart; expected name, depth, width, skip, … beside val_accuracy"
        )
    table = table.assign(network=table.groupby(identity, dropna=False, sort=False).ngroup())
    networks = table.drop_duplicates("network")[["network", *identity]].reset_index(drop=True)
    networks = _named(_plain_types(with_options(networks)), identity)
    table, last = _last_epochs(table, networks, source)
    replicates = _seeds(table, networks, source)
    kept = ["network", "seed", *(key for key in RESULTS if key in replicates)]
    axes = varying(networks, [key for key in _columns(networks) if _is_choice(networks, key)])
    return Evidence(
        title=source,
        question=question,
        networks=networks,
        replicates=replicates[kept].sort_values("network", kind="stable"),
        axes=axes,
        is_search=not _is_grid(networks, axes),
        examples=examples,
        chance=chance,
        notes=(*notes, *filled, *measured, *last),
    )


_GREATEST = 1e50
"""Beyond this numbers are slips, and their squares overflow."""


def _require_sizes(table: pd.DataFrame, source: str) -> None:
    """Raise StudyError if a number that may tell networks apart is infinite, or so great that no model holds it."""
    for key in _columns(table):
        if key in _PER_SEED or not pd.api.types.is_numeric_dtype(table[key]):
            continue
        too_great = np.abs(table[key].to_numpy(dtype=float, na_value=np.nan)) > _GREATEST
        if too_great.any():
            place = int(too_great.argmax())
            raise StudyError(f"{source}: {key}: row {place + 1} is {table[key].iloc[place]}, expected a finite number")


def _columns(table: pd.DataFrame) -> list[str]:
    return [str(key) for key in table.columns]


def _is_choice(networks: pd.DataFrame, key: str) -> bool:
    """Return whether a column is a choice that was made of networks, and no measurement of each."""
    if key in ("network", "name", *COSTS):
        return False
    if key in axes_of_architecture(Architecture()) or not pd.api.types.is_float_dtype(networks[key]):
        return True
    if "depth" in networks and networks.groupby("depth")[key].nunique().median() <= 1:
        return False  # a size that goes with depth
    return networks[key].nunique(dropna=False) * 2 <= len(networks)


def _named(networks: pd.DataFrame, identity: Sequence[str]) -> pd.DataFrame:
    """Return the networks with a name each: the table's, with what tells apart those of one name."""
    told = [key for key in varying(networks, _columns(networks)) if key not in ("network", "name")]
    choices = [key for key in told if _is_choice(networks, key)]
    if choices and not networks.duplicated(choices).any():
        told = choices
    told = told or [key for key in identity if key in networks and key != "name"]
    rows: list[Any] = networks.to_dict("records")
    if "name" not in networks:
        networks.insert(1, "name", [_said(row, told) for row in rows])
        return networks
    again = networks["name"].duplicated(keep=False)
    for name, group in networks[again].groupby("name"):
        ours = [key for key in told if group[key].nunique(dropna=False) > 1]
        networks.loc[group.index, "name"] = [f"{name}, {_said(rows[at], ours)}" for at in group.index]
    return networks


def _said(row: Mapping[Any, Any], told: Sequence[str]) -> str:
    values = {key: row[key] for key in told if not pd.isna(row[key])}
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )


def _last_epochs(table: pd.DataFrame, networks: pd.DataFrame, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the last epoch of each seed."""
    if "epoch" not in table:
        return table, []
    keys = ["network", "seed"] if "seed" in table else ["network"]
    again = table.duplicated([*keys, "epoch"])
    if again.any():
        place = int(np.flatnonzero(again)[0])
        name = networks["name"].iloc[int(table["network"].iloc[place])]
        of = f"seed {table['seed'].iloc[place]} of " if "seed" in table else ""
        tail = " twice" if of else " twice; a column seed tells its seeds apart"
        raise StudyError(
            f"{source}: row {place + 1}: epoch {table['epoch'].iloc[place]:g} of {of}network {name!r} stands{tail}"
        )
    last = table.sort_values("epoch", kind="stable").groupby(keys, sort=False).tail(1).sort_index()
    first, latest = last["epoch"].min(), last["epoch"].max()
    if first == latest:
        return last, []
    return last, [f"The last epoch of each seed counts; it is {first:g} of some and {latest:g} of others."]


def _seeds(table: pd.DataFrame, networks: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the table with a number for each seed; by their order where it gives none."""
    if "seed" not in table:
        return table.assign(seed=table.groupby("network").cumcount())
    again = table.duplicated(["network", "seed"])
    if again.any():
        place = int(np.flatnonzero(again)[0])
        name = networks["name"].iloc[int(table["network"].iloc[place])]
        raise StudyError(
            f"{source}: row {int(table.index[place]) + 1}: seed {table['seed'].iloc[place]} of network {name!r} stands "
            "twice; expected one row for each network and seed (and epoch)"
        )
    return table


def _without_measurements(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out columns of fractions that differ between the seeds of what is one network by all others.

    With a column of seeds, networks and seeds must be told apart without them; else they differ in nearly every row.
    """
    known = {"name", *axes_of_architecture(Architecture()), *COSTS, *_PER_SEED}
    suspects = [
        key
        for key in _columns(table)
        if key not in known and pd.api.types.is_float_dtype(table[key]) and not (table[key] == table[key].round()).all()
    ]
    kept = [key for key in _columns(table) if key not in (*_PER_SEED, *suspects)]
    if not suspects or not kept:
        return table, []
    each = [*kept, *(key for key in ("seed", "epoch") if key in table)]
    groups = table.groupby(kept, dropna=False)
    is_told = "seed" in table and not table.duplicated(each).any()
    told = [
        key
        for key in suspects
        if groups[key].nunique().max() > 1 and (is_told or table[key].nunique() * 2 > len(table))
    ]
    notes = [f"Columns taken for measurements of single seeds, and left out: {', '.join(told)}."] if told else []
    return table.drop(columns=told), notes


def _with_names(given: Any, renamed: Mapping[str, str], source: str) -> pd.DataFrame:
    """Return the table with columns by their standard names."""
    if not isinstance(given, pd.DataFrame):
        raise StudyError(
            f"{source}: is a {type(given).__name__}, expected a study directory, a table's file or a DataFrame"
        )
    named = given.reset_index() if any(name is not None for name in given.index.names) else given
    columns = [str(column).strip() for column in named.columns]
    table = named.set_axis(columns, axis=1).reset_index(drop=True)
    for old, new in renamed.items():
        if old not in columns:
            raise StudyError(f"{source}: has no column {old!r} to take as {new}; {nearest(old, columns)}")
        if new in columns and new != old:
            raise StudyError(f"{source}: {old!r} cannot be taken as {new}: there is a column {new} already")
    table = table.rename(columns=dict(renamed))
    if table.columns.duplicated().any():
        raise StudyError(f"{source}: column {table.columns[table.columns.duplicated()][0]!r} stands twice")
    if "val_accuracy" not in table:
        near = nearest("val_accuracy", columns) if columns else "it has none at all"
        raise StudyError(
            f"{source}: has no column val_accuracy; {near} (--map COLUMN=val_accuracy names the column that holds it)"
        )
    if table.empty:
        raise StudyError(f"{source}: has no rows")
    if "network" in table:  # a name that evidence uses for numbers of its own
        table = table.rename(columns={"network": "name" if "name" not in table else "network given"})
    return table


def _plain_columns(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the table with every column of numbers, of booleans or of text on one line."""
    for key in ("name", "seed"):
        if key not in table:
            continue
        is_empty = table[key].isna() | (table[key].astype(str).str.strip() == "")
        if is_empty.any():
            raise StudyError(f"{source}: {key}: row {int(np.flatnonzero(is_empty)[0]) + 1} is empty")
    for key in _columns(table):
        values = table[key]
        if key in _PER_SEED or (
            (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values))
            and key not in ("name", "skip", "skip_options")
            and not pd.api.types.is_complex_dtype(values)
        ):
            continue
        text = [_one_line(value) for value in values]
        table = table.assign(**{key: ["none" if key == "skip" and one == "None" else one for one in text]})
    return table


def _one_line(value: Any) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return "not given"
    return " ".join("".join(one if one.isprintable() else " " for one in str(value)).split())


def _checked(table: pd.DataFrame, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    notes: list[str] = []
    for key in [one for one in (*RESULTS, "depth", "width", "epoch", *COSTS) if one in table]:
        table = table.assign(**{key: _numbers(table[key], key, source)})
        if key in RESULTS:
            table, note = _fractions(table, key, source)
            notes += note
            continue
        values = table[key]
        for wrong, expected in (
            (values < 0 if key == "epoch" else values <= 0, f"a number {'from' if key == 'epoch' else 'above'} 0"),
            ((values != values.round()) & (key == "depth"), "a whole number"),
            ((values > 1e9) & (key == "depth"), "at most 1e+09"),
        ):
            if wrong.any():
                place = int(np.flatnonzero(wrong)[0])
                raise StudyError(f"{source}: {key}: row {place + 1} holds {values.iloc[place]:g}, expected {expected}")
    return table, tuple(notes)


_FILLED = ("val_accuracy", "depth", "epoch")
"""Columns of numbers that say nothing with a value missing."""


def _numbers(values: pd.Series, key: str, source: str) -> pd.Series:
    """Return a column as numbers, whole ones where all are. Raises StudyError for any other value."""
    told = values.notna().to_numpy()
    numbers = pd.to_numeric(values, errors="coerce")
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_complex_dtype(values):
        wrong = told
    else:
        numbers = numbers.astype(int if pd.api.types.is_integer_dtype(numbers) and told.all() else float)
        wrong = (told & numbers.isna().to_numpy()) | np.isinf(numbers.to_numpy())
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        value = values.iloc[place]
        said = short(value.item() if isinstance(value, np.generic) else value)
        raise StudyError(f"{source}: {key}: row {place + 1} holds {said}, expected a number")
    if key in _FILLED and not told.all():
        raise StudyError(f"{source}: {key}: row {int(np.flatnonzero(~told)[0]) + 1} is empty, expected a number")
    return numbers


def _fractions(table: pd.DataFrame, key: str, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with an accuracy as a fraction; per cent are recognised by a value above 1."""
    values = table[key]
    if values.max() > 100 or values.min() < 0:
        place = int(np.flatnonzero((values > 100) | (values < 0))[0])
        raise StudyError(
            f"{source}: {key}: row {place + 1} holds {values.iloc[place]:g}, expected a fraction from 0 to 1, "
            "or per cent"
        )
    if values.max() <= 1:
        return table, []
    if values.min() <= 1 < 50 < values.max() and (values <= 1).mean() > 0.2:
        place = int(np.flatnonzero(values <= 1)[0])
        raise StudyError(
            f"{source}: {key}: row {place + 1} holds {values.iloc[place]:g} where others hold per cent, such as "
            f"{values.max():g}; expected fractions throughout, or per cent throughout"
        )
    return table.assign(**{key: values / 100}), [
        f"{key} is given in per cent, up to {values.max():g}; it is shown as a fraction."
    ]


def _described(table: pd.DataFrame, input_shape: tuple[int, ...], source: str) -> tuple[pd.DataFrame, list[str]]:
    """Fill in the fields and costs of networks whose name is an architecture's or a preset's."""
    if "name" not in table:
        return table, []
    known = set(presets())
    found: dict[str, Architecture] = {}
    for name in table["name"].unique():
        try:
            found[name] = Architecture.preset(name) if name in known else Architecture.from_name(name)
        except RessearchError:  # of some alone the fields would tell networks apart that nothing does
            return table, []
    fields = {name: axes_of_architecture(one) for name, one in found.items()}
    filled = {
        key: [fields[name][key] for name in table["name"]]
        for key in axes_of_architecture(Architecture())
        if key not in table
    }
    missing = [key for key in COSTS if key not in table]
    if not missing:
        return table.assign(**filled), []
    try:
        costs = {name: cost(one, input_shape)._asdict() for name, one in found.items()}
    except RessearchError as error:
        raise StudyError(f"{source}: costs cannot be counted: {error}; --input gives the shape of one input") from None
    filled |= {key: [costs[name][key] for name in table["name"]] for key in missing}
    shape = "x".join(map(str, input_shape))
    return table.assign(**filled), [f"Counted by the networks' names, for an input of {shape}: {', '.join(missing)}."]


def _plain_types(networks: pd.DataFrame) -> pd.DataFrame:
    """Return whole numbers as such, so that a depth is 20 and not 20.0."""
    for key in networks:
        values = networks[key]
        if (
            pd.api.types.is_float_dtype(values)
            and values.notna().all()
            and (values == values.round()).all()
            and (abs(values) < 2**53).all()
        ):
            networks = networks.assign(**{str(key): values.astype(int)})
    return networks


def _is_grid(networks: pd.DataFrame, axes: Sequence[str]) -> bool:
    """Return whether every value of an axis stands with nearly every value of the others, as in a grid."""
    keys = [axis for axis in axes if axis not in COSTS]
    if not keys:
        return True
    points = int(np.prod([networks[key].nunique(dropna=False) for key in keys], dtype=float))
    return len(networks) * 2 >= points or len(keys) == 1
