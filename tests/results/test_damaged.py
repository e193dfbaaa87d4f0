"""Study directories that fuzzing damaged: every command refuses them in one line, or reads what is left."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ressearch import Study, load, pick, report
from ressearch.errors import StudyError
from ressearch.reporting import run_facts
from ressearch.results.run_file import read_run
from ressearch.results.schema import architecture_columns, architecture_of
from ressearch.search import optuna_file
from ressearch.search.recorded import answers_of, recipe_of, recipe_values
from ressearch.training import Recipe

KEYS = ("split_fingerprint", "examples", "machine", "versions", "started_at", "overrides", "study", "class_counts")
PARTS = (["recipe", "lr"], ["recipe", "seeds"], ["search"], ["search", "scheduler"], ["space"], ["search", "objective"])


def test_a_run_file_is_refused_by_key_or_a_report_can_be_made_of_it(small_run: Path) -> None:
    file = small_run / "run.json"
    whole = json.loads(file.read_text())
    accepted = dict(whole)
    for key in (*KEYS, "memory", "concurrency", "cpus_per_trial", "gpus_per_trial", "ended_at"):
        for value in ("absent", None, 3, [], {}, "x", [None]):
            run = {name: kept for name, kept in whole.items() if name != key}
            run |= {} if value == "absent" else {key: value}
            file.write_text(json.dumps(run))
            try:
                run_facts.require(read_run(small_run), file)
            except StudyError as error:
                problem = str(error)
                assert problem.startswith(f"{file}: damaged: {key}"), problem
                continue
            accepted.pop(key, None)
            accepted.update({key: run[key]} if key in run else {})
    assert sum(accepted.get(key) != whole[key] for key in whole) >= 5
    file.write_text(json.dumps(accepted))
    assert report(small_run).is_file()


def test_a_report_names_the_part_of_the_study_that_is_damaged(small_run: Path) -> None:
    file = small_run / "run.json"
    whole = file.read_text()
    for path in PARTS:
        run = json.loads(whole)
        part = run["study"]
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = "x"
        file.write_text(json.dumps(run))
        with pytest.raises(StudyError, match=r"run\.json: damaged: study\." + r"\.".join(path)):
            report(small_run)


def test_tables_without_what_makes_a_row_are_refused(small_run: Path) -> None:
    (small_run / "journal.jsonl").unlink()
    whole = pq.read_table(small_run / "trials.parquet")
    for key in ("status", "epochs", "macs"):
        at = whole.column_names.index(key)
        for spoilt in (whole.drop_columns([key]), whole.set_column(at, key, pa.nulls(len(whole), whole[key].type))):
            pq.write_table(spoilt, small_run / "trials.parquet")
            with pytest.raises(StudyError, match=rf"trials\.parquet: damaged: 4 rows have no {key}"):
                load(small_run)


def test_a_row_that_describes_no_network_is_refused(small_run: Path) -> None:
    row = {"trial": 7, **architecture_columns(pick(small_run).architecture)}
    wrong = {"skip_options": "{", "depths": ["x"], "widths": [2**40] * 3, "block": "basc", "dropout": [1]}
    for key, value in wrong.items():
        with pytest.raises(StudyError, match="trial 7: what is on record is no network: "):
            architecture_of({**row, key: value})


@pytest.mark.parametrize(
    "line", ['{"op_code": 99}', '{"op_code": null}', "[]", "{}", '{"op_code": 4, "study_id": 1e9}']
)
def test_an_optuna_journal_of_other_operations_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "optuna.journal"
    file.write_text(f'{line}\n{{"op_code": 0, "worker_id": "x", "study_name": "s", "directions": [1]}}\n')
    with pytest.raises(StudyError, match=r"optuna\.journal: damaged"):
        optuna_file.open_file(file)


def test_a_row_without_a_recipe_or_answers_is_refused() -> None:
    whole = Recipe().model_dump_json()
    assert recipe_of({"trial": 3, "recipe": whole}) == Recipe()
    assert recipe_values({"trial": 3, "recipe": whole})["epochs"] == 20
    for recipe in ("", "x", "[]", "{}", None, 3, "[" * 100_000, '{"lr": 0.1}', '{"lr": [], "epochs": 3}'):
        for read in (recipe_of, recipe_values):
            with pytest.raises(StudyError, match="trial 3: what is on record"):
                read({"trial": 3, "recipe": recipe})
    with pytest.raises(StudyError, match="trial 3: what is on record is no recipe: momentum"):
        recipe_of({"trial": 3, "recipe": whole.replace("0.9", '"x"')})
    with pytest.raises(StudyError, match="trial 3: what is on record in 'answers' is no mapping"):
        answers_of({"trial": 3, "answers": "[1]"})


def test_a_run_file_without_overrides_has_none(small_run: Path) -> None:
    run = json.loads((small_run / "run.json").read_text())
    del run["overrides"]
    (small_run / "run.json").write_text(json.dumps(run))
    assert Study.from_directory(small_run).overrides == {}
