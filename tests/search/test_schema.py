"""The JSON Schema of study files takes what `Study` takes, and refuses what an editor should underline."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ressearch import Study
from ressearch.cli import main
from ressearch.errors import RessearchError
from ressearch.results.ranking import OBJECTIVES
from ressearch.search import documents
from ressearch.search.docstrings import texts_of
from ressearch.search.samplers import SAMPLERS
from ressearch.search.schedulers import SCHEDULERS
from ressearch.search.schema import schema_text, study_schema
from ressearch.spaces.domains import KEYS
from ressearch.units import (
    COUNT_PATTERN,
    DURATION_PATTERN,
    SIZE_PATTERN,
    parse_count,
    parse_duration,
    parse_size,
)

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "studies" / "study.schema.json"

FILES = [*sorted((ROOT / "studies").glob("*.yaml")), *sorted((ROOT / "reports").glob("*/study.yaml"))]
PAGES = {
    f"{page.name}-{number}": block
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
    if set(documents.parse(block, page.name).values) <= set(Study.model_fields) and "plugins" not in block
}
"""The study files of the pages, and the parts of study files; those with plugins need a schema that knows them."""


Refused = Callable[[Any], list[str]]
"""Says where the schema refuses something, and why."""


@pytest.fixture(scope="module")
def schema() -> Any:
    return study_schema()


@pytest.fixture(scope="module")
def refused(schema: Any) -> Refused:
    validator = jsonschema.Draft7Validator(schema)

    def complaints(values: Any) -> list[str]:
        return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(values)]

    return complaints


def study(override: str) -> Any:
    """Return the values of a small study with one key put to something else."""
    document = documents.parse("space: {search: {depth: [8, 14], width: {low: 4, high: 8}}}\nsearch: {trials: 2}", "x")
    key, _, text = override.partition("=")
    *path, last = key.split(".")
    place = document.values
    for part in path:
        place = place.setdefault(part, {})
    place[last] = documents.parse(f"value: {text}", "x").values["value"]
    return document.values


def test_it_is_a_schema_of_its_dialect(schema: Any) -> None:
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["$schema"] == jsonschema.Draft7Validator.META_SCHEMA["$schema"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_it_takes_every_study_of_the_project(refused: Refused, file: Path) -> None:
    assert refused(documents.parse(file.read_text(), file.name).values) == []


@pytest.mark.parametrize("name", PAGES)
def test_it_takes_every_study_of_the_pages(refused: Refused, name: str) -> None:
    values = documents.parse(PAGES[name], name).values
    assert refused({"space": {"grid": {"depth": [8]}}, **values}) == []


def test_the_pages_have_studies() -> None:
    assert len(FILES) >= 10
    assert {name.partition("-")[0] for name in PAGES} >= {
        "README.md",
        "data.md",
        "search.md",
        "space.md",
        "training.md",
    }


TAKEN = [
    "name=mine",
    "search.sampler=tpe",
    "search.sampler={name: tpe, n_startup_trials: 4, group: null}",
    "search.sampler=grid",
    "search.sampler=null",
    "search.scheduler={name: asha, grace_period: 3}",
    "search.objective=[val_accuracy, macs]",
    "search.objective=val_loss",
    "search.constraints={max_macs: 4M, max_params: 300_000, max_training_memory: 512MiB, max_latency: 5 ms}",
    "search.budget={epochs: 2k, wall_time: 1.5h, macs_trained: 5e15}",
    "search.points=[{depth: 8}]",
    "search.finalists={count: 2, seeds: 3}",
    "search.baseline=random",
    "resources={trial_time_limit: 90, gpus_per_trial: 0, cpus_per_trial: 0.5}",
    "recipe.lr=5e-2",
    "recipe.lr={transfer: mup, base: 0.1, base_width: 16}",
    "recipe.lr={tune: [0.03, 0.1]}",
    "recipe.seeds=3",
    "recipe.seeds=[4, 5]",
    "recipe.channels_last=auto",
    "recipe.channels_last=true",
    "recipe.augmentation=[crop, flip]",
    "recipe.precision=bfloat16",
    "data={name: synthetic, validation: null, test: 0.3, memory: auto}",
    "space.search.width={match: macs, target: 1M, tolerance: 0.2}",
    "space.search.skip=[identity, {scaled: {alpha: {low: 0.1, high: 1.0}}}]",
    "space.search.skip={stochastic_depth: {survival: [0.7, 0.9]}}",
    "space.search.strides=[1, 2, 2]",
    "space.search.strides=[[1, 2, 2], [1, 1, 2]]",
    "space.search.group_width=[null, 4]",
    "space.search.kernel_size=[3, [3, 5, 3]]",
    "space.search.zero_gamma=[true, false]",
    "space.search.se_ratio={low: 0.1, high: 0.5, log: true}",
    "space.search.head_width=null",
]


@pytest.mark.parametrize("override", TAKEN)
def test_it_takes_what_a_study_takes(refused: Refused, override: str) -> None:
    values = study(override)
    assert refused(values) == []
    Study.from_dict(values)


REFUSED = [
    ("recipe.epoch=3", "recipe: Additional properties are not allowed ('epoch' was unexpected)"),
    ("serach={}", ": Additional properties are not allowed ('serach' was unexpected)"),
    ("space.search.widht=8", "space.search: Additional properties are not allowed ('widht' was unexpected)"),
    ("search.constraints.max_flops=1M", "search.constraints: Additional"),
    ("recipe.epochs=many", "recipe.epochs: 'many' is not of type 'integer'"),
    ("recipe.epochs=1.5", "recipe.epochs: 1.5 is not of type 'integer'"),
    ("recipe.lr=-1", "recipe.lr: "),
    ("recipe.momentum=1", "recipe.momentum: 1 is greater than or equal to the maximum of 1"),
    ("recipe.optimizer=adam", "recipe.optimizer: 'adam' is not one of ['sgd', 'adamw']"),
    ("recipe.seeds=0", "recipe.seeds: "),
    ("recipe.seeds=[1, 1]", "recipe.seeds: "),
    ("recipe.augmentation=[spin]", "recipe.augmentation.0: 'spin' is not one of"),
    ("search.sampler=bayes", "search.sampler: 'bayes' is not valid under any of the given schemas"),
    ("search.sampler={name: bayes}", "search.sampler: "),
    ("search.sampler={name: tpe, n_trials: 3}", "search.sampler: "),
    ("search.sampler={name: tpe, n_startup_trials: -3}", "search.sampler: "),
    ("search.scheduler=pbt", "search.scheduler: "),
    ("search.objective=speed", "search.objective: "),
    ("search.constraints.max_macs=lots", "search.constraints.max_macs: "),
    ("search.constraints.max_macs=4MB", "search.constraints.max_macs: "),
    ("search.constraints.max_macs=-4", "search.constraints.max_macs: "),
    ("search.budget.wall_time=5x", "search.budget.wall_time: "),
    ("search.points=[3]", "search.points.0: 3 is not of type 'object', 'string'"),
    ("search.baseline=tpe", "search.baseline: "),
    ("resources.max_failure_rate=2", "resources.max_failure_rate: 2 is greater than the maximum of 1"),
    ("loggers=[tensorbord]", "loggers: "),
    ("name=a/b", "name: "),
    ("seed=-1", "seed: -1 is less than the minimum of 0"),
    ("data.memory=disk", "data.memory: 'disk' is not one of ['auto', 'resident', 'stream']"),
    ("space.search.block=basc", "space.search.block: "),
    ("space.search.depth=[8, deep]", "space.search.depth: "),
    ("space.search.width={low: 8}", "space.search.width: "),
    ("space.search.width={low: 8, high: 16, steps: 2}", "space.search.width: "),
    ("space.search.width={match: speed, target: 1M}", "space.search.width: "),
    ("space.search.depth={match: macs, target: 1M}", "space.search.depth: "),
    ("space.search.width=70000", "space.search.width: "),
    ("space.search.skip={identity: {alpha: 1}}", "space.search.skip: "),
    ("space.search.stem_width=null", "space.search.stem_width: "),
    ("space={}", "space: {} is not valid under any of the given schemas"),
]


@pytest.mark.parametrize(("override", "said"), REFUSED)
def test_it_refuses_what_a_study_refuses(refused: Refused, override: str, said: str) -> None:
    values = study(override)
    (complaint,) = refused(values)
    assert complaint.startswith(said)
    with pytest.raises(RessearchError):
        Study.from_dict(values)


def test_a_study_without_a_space_is_refused(refused: Refused) -> None:
    assert refused({"seed": 1}) == [": 'space' is a required property"]


def test_every_key_is_explained_and_every_name_offered(schema: Any) -> None:
    def keys(place: str, schema: Any) -> Any:
        for name, one in schema.get("properties", {}).items():
            yield f"{place}.{name}", one
            yield from keys(f"{place}.{name}", one)

    everything = dict(keys("", schema)) | dict(keys("space", schema["definitions"]["space"]))
    assert len(everything) > 70
    for name, one in everything.items():
        assert len(one.get("description", "")) > 5, name
        assert "``" not in one["description"]
        assert "None" not in one["description"]
    text = json.dumps(schema)
    for name in (*SAMPLERS, *SCHEDULERS, *OBJECTIVES, "digits", "imagefolder:PATH"):
        assert f'"{name}"' in text
    assert set(schema["definitions"]["space"]["properties"]) == set(KEYS)


QUANTITIES = ((COUNT_PATTERN, parse_count), (SIZE_PATTERN, parse_size), (DURATION_PATTERN, parse_duration))


@given(st.text("0123456789.eE+-kKmMgGtTiIbBuµsShHdDn ", min_size=1, max_size=8))
def test_a_quantity_that_is_read_looks_like_one(text: str) -> None:
    for pattern, parse in QUANTITIES:
        with contextlib.suppress(ValueError):
            parse(text)
            assert re.search(pattern, text), text


@pytest.mark.parametrize("text", ["", "k", "4kk", "-4k", "4 000", "1e", "nan", "inf", "4x", "1.2.3", "4  k", "0x4"])
def test_what_no_quantity_is_does_not_look_like_one(text: str) -> None:
    for pattern, parse in QUANTITIES:
        assert not re.search(pattern, text)
        with pytest.raises(ValueError, match="is not a"):
            parse(text)


def test_docstrings_without_attributes_say_nothing() -> None:
    assert texts_of(test_it_is_a_schema_of_its_dialect) == {}
    assert texts_of(Study.from_file) == {}


def test_the_shipped_schema_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema"])
    printed = capsys.readouterr().out
    assert printed == schema_text()
    assert SHIPPED.read_text() == printed, "write it anew: ressearch schema --force --out studies/study.schema.json"


def test_every_study_names_the_shipped_schema_in_its_first_line() -> None:
    for file in (ROOT / "studies").glob("*.yaml"):
        first = file.read_text().partition("\n")[0]
        assert first == f"# yaml-language-server: $schema={SHIPPED.name}", file


def test_a_file_is_written_and_not_replaced(schema: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    main(["schema", "--out", str(file)])
    assert capsys.readouterr().out == f"{file}\n"
    assert json.loads(file.read_text()) == schema
    file.write_text("mine")
    with pytest.raises(SystemExit):
        main(["schema", "--out", str(file)])
    assert "is there already; --force replaces it" in capsys.readouterr().err
    assert file.read_text() == "mine"
    main(["schema", "--out", str(file), "--force"])
    assert file.read_text() == schema_text()
