"""Results that were obtained elsewhere: a table with one row for each network and seed, as evidence for a report.

Columns: ``val_accuracy`` (a fraction, or per cent in every row), and what tells networks apart: ``name`` (of an
Architecture or a preset, whose fields and costs are filled in; else any name), ``depth``, ``width``, ``skip``,
``params``, ``macs``, and any other column. Optional: ``seed``, ``epoch`` (the last one of each seed counts),
``train_accuracy``, ``test_accuracy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ressearch.errors import RessearchError, StudyError, nearest
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
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", skipinitialspace=True)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except OSError as error:
        raise StudyError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except Exception as error:  # pandas and pyarrow raise many kinds for what is no table
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StudyError(f"{path}: is no {path.suffix[1:]} table: {problem}") from None


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
    table = _with_names(table, renamed or {}, source)
    table, notes = _checked(table, source)
    table = _described(table, input_shape)
    if "epoch" in table:
        keys = [key for key in table if key not in _PER_SEED] + (["seed"] if "seed" in table else [])
        table = table.sort_values("epoch", kind="stable").groupby(keys, dropna=False, sort=False).tail(1).sort_index()
    table, measured = _without_measurements(table)
    identity = [str(key) for key in table if key not in _PER_SEED]
    if not identity:
        raise StudyError(
            f"{source}: no column tells its networks apart; expected name, depth, width, skip, … beside val_accuracy"
        )
    number = table.groupby(identity, dropna=False, sort=False).ngroup()
    networks = table.assign(network=number).drop_duplicates("network")[["network", *identity]].reset_index(drop=True)
    networks = _plain_types(with_options(networks))
    if "name" not in networks:
        told = varying(networks, [str(key) for key in networks if key != "network"]) or tuple(identity)
        networks.insert(1, "name", [_name(row, told) for row in networks.to_dict("records")])
    replicates = table.assign(network=number)
    if "seed" not in replicates:
        replicates = replicates.assign(seed=replicates.groupby("network").cumcount())
    again = replicates.duplicated(["network", "seed"])
    if again.any():
        seed, number = (replicates[key][again].iloc[0] for key in ("seed", "network"))
        raise StudyError(
            f"{source}: seed {seed} of network {networks['name'].iloc[int(number)]!r} stands twice; expected one "
            "row for each "
            "network and seed (and epoch)"
        )
    kept = ["network", "seed", *(key for key in RESULTS if key in replicates)]
    described = set(axes_of_architecture(Architecture()))
    axes = varying(
        networks,
        [
            str(key)
            for key in networks
            if key not in ("network", "name", *COSTS)
            and (key in described or not pd.api.types.is_float_dtype(networks[key]))  # a measure, and no choice
        ],
    )
    return Evidence(
        title=source,
        question=question,
        networks=networks,
        replicates=replicates[kept].sort_values("network", kind="stable"),
        axes=axes,
        is_search=not _is_grid(networks, axes),
        examples=examples,
        chance=chance,
        notes=(*notes, *measured),
    )


def _without_measurements(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out columns of numbers that differ between the seeds of what is one network by all others."""
    known = {"name", *axes_of_architecture(Architecture()), *COSTS, *_PER_SEED}
    measured = [
        str(key)
        for key in table
        if key not in known and pd.api.types.is_float_dtype(table[key]) and not (table[key] == table[key].round()).all()
    ]
    kept = [key for key in table if key not in (*_PER_SEED, *measured)]
    if not measured or not kept or len(table.drop_duplicates(kept)) == len(table):
        return table, []
    told = [key for key in measured if table.groupby(kept, dropna=False)[key].nunique().max() > 1]
    notes = [f"Columns taken for measurements of single seeds, and left out: {', '.join(told)}."] if told else []
    return table.drop(columns=told), notes


def _with_names(table: pd.DataFrame, renamed: Mapping[str, str], source: str) -> pd.DataFrame:
    columns = [str(column).strip() for column in table.columns]
    table = table.set_axis(columns, axis=1)
    for old, new in renamed.items():
        if old not in columns:
            raise StudyError(f"{source}: has no column {old!r} to take as {new}; {nearest(old, columns)}")
        if new in columns and new != old:
            raise StudyError(f"{source}: {old!r} cannot be taken as {new}: there is a column {new} already")
    table = table.rename(columns=dict(renamed))
    if table.columns.duplicated().any():
        raise StudyError(f"{source}: column {table.columns[table.columns.duplicated()][0]!r} stands twice")
    if "val_accuracy" not in table:
        raise StudyError(
            f"{source}: has no column val_accuracy; {nearest('val_accuracy', columns)} "
            "(--map COLUMN=val_accuracy names the column that holds it)"
        )
    if table.empty:
        raise StudyError(f"{source}: has no rows")
    return table


def _checked(table: pd.DataFrame, source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    notes = []
    for key in [one for one in (*RESULTS, "depth", "width", "epoch", *COSTS) if one in table]:
        values = pd.to_numeric(table[key], errors="coerce")
        wrong = values.isna() & table[key].notna() if key != "val_accuracy" else values.isna()
        wrong |= np.isinf(values)
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            found = table[key].iloc[place]
            held = "is empty" if pd.isna(found) else f"holds {str(found)!r}"
            raise StudyError(f"{source}: {key}: row {place + 1} {held}, expected a number")
        table = table.assign(**{key: values})
        if key in RESULTS:
            table, note = _fractions(table, key, source)
            notes += note
        elif (values <= 0).any():
            place = int(np.flatnonzero(values <= 0)[0])
            raise StudyError(
                f"{source}: {key}: row {place + 1} holds {values.iloc[place]:g}, expected a number above 0"
            )
    if "seed" in table and table["seed"].isna().any():
        raise StudyError(f"{source}: seed: row {int(np.flatnonzero(table['seed'].isna())[0]) + 1} is empty")
    return table, tuple(notes)


def _fractions(table: pd.DataFrame, key: str, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with an accuracy as a fraction; per cent are recognised by a value above 1."""
    values = table[key]
    if values.max() > 100 or values.min() < 0:
        place = int(np.flatnonzero((values > 100) | (values < 0))[0])
        raise StudyError(
            f"{source}: {key}: row {place + 1} holds {values.iloc[place]:g}, expected a fraction from 0 to 1, or "
            "per cent"
        )
    if values.max() <= 1:
        return table, []
    if values.min() <= 1 < 50 < values.max() and (values <= 1).mean() > 0.2:
        place = int(np.flatnonzero(values <= 1)[0])
        raise StudyError(
            f"{source}: {key}: row {place + 1} holds {values.iloc[place]:g} where others hold per cent, such as "
            f"{values.max():g}; expected "
            "fractions throughout, or per cent throughout"
        )
    return table.assign(**{key: values / 100}), [
        f"{key} is given in per cent, up to {values.max():g}; it is shown as a fraction."
    ]


def _described(table: pd.DataFrame, input_shape: tuple[int, ...]) -> pd.DataFrame:
    """Fill in the fields and costs of networks whose name is an architecture's or a preset's."""
    if "name" not in table:
        return table
    known = set(presets())
    found: dict[str, dict[str, Any]] = {}
    for name in table["name"].dropna().astype(str).unique():
        try:
            architecture = Architecture.preset(name) if name in known else Architecture.from_name(name)
            found[name] = {**axes_of_architecture(architecture), **_cost(architecture, input_shape)}
        except RessearchError:
            continue
    if len(found) < table["name"].nunique():  # of some alone the fields would tell networks apart that nothing does
        return table
    names = table["name"].astype(str)
    filled = {key: [found[name][key] for name in names] for key in next(iter(found.values())) if key not in table}
    return table.assign(**filled)


def _cost(architecture: Architecture, input_shape: tuple[int, ...]) -> dict[str, int]:
    try:
        return dict(cost(architecture, input_shape)._asdict())
    except RessearchError:
        return dict(cost(architecture, (input_shape[0], 224, 224))._asdict())


def _plain_types(networks: pd.DataFrame) -> pd.DataFrame:
    """Return whole numbers as such, so that a depth is 20 and not 20.0."""
    for key in networks:
        values = networks[key]
        if pd.api.types.is_float_dtype(values) and values.notna().all() and (values == values.round()).all():
            networks = networks.assign(**{str(key): values.astype(int)})
    return networks


def _name(row: Mapping[Any, Any], told: Sequence[str]) -> str:
    return ", ".join(f"{key} {row[key]}" for key in told)


def _is_grid(networks: pd.DataFrame, axes: Sequence[str]) -> bool:
    """Return whether every value of an axis stands with nearly every value of the others, as in a grid."""
    keys = [axis for axis in axes if axis not in COSTS]
    if not keys:
        return True
    points = int(np.prod([networks[key].nunique(dropna=False) for key in keys], dtype=float))
    return len(networks) * 2 >= points or len(keys) == 1
