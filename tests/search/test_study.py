from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import ressearch
from ressearch import Study
from ressearch.errors import ResourceError, RessearchError

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))

TEXT = """\
question: which?
space:
  grid:
    skip: [none, identity]
    depth: [8, 20]
    width: 8
recipe:
  lr: 0.1
  epochs: 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_are_valid(path: Path) -> None:
    study = Study.from_file(path)
    assert study.question
    assert study.planned_trials > 1


def test_overrides_reach_every_level(file: Path) -> None:
    study = Study.from_file(
        file, ["recipe.epochs=5", "recipe.seeds=[3, 4]", "search.constraints.max_macs=40M", "name=other"]
    )
    assert study.recipe.epochs == 5
    assert study.recipe.seeds == (3, 4)
    assert study.search.constraints.max_macs == 40_000_000
    assert study.name == "other"
    assert study.overrides["recipe.epochs"] == "5"
    assert Study.from_file(file).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("recipe:", "recpe:", 7, "recpe: unknown key; did you mean 'recipe'?"),
        ("epochs: 4", "epoch: 4", 9, "recipe.epoch: unknown key; did you mean 'epochs'?"),
        ("lr: 0.1", "learning_rate: 0.1", 8, "recipe.learning_rate: unknown key; did you mean 'lr'?"),
        ("lr: 0.1", "lr: -0.1", 8, "recipe.lr: -0.1: expected a number above 0"),
        ("lr: 0.1", "lr: {tune: [0.1]}", 8, "recipe.lr.tune: [0.1]: expected at least 2 items"),
        ("lr: 0.1", "lr: {tun: [0.1, 1]}", 8, "recipe.lr.tun: unknown key; did you mean 'tune'?"),
        ("lr: 0.1", "lr: {transfer: mpu, base: 1, base_width: 8}", 8, "recipe.lr.transfer: 'mpu' is not 'mup'"),
        ("lr: 0.1", "lr: {transfer: mup, bas: 1, base_width: 8}", 8, "did you mean 'base'?"),
        ("lr: 0.1", "optimizer: sdg", 8, "'sdg' is not 'sgd' or 'adamw'; did you mean 'sgd'?"),
        ("epochs: 4", "epochs: many", 9, "recipe.epochs: 'many' is not a whole number"),
        ("width: 8", "block: basc", 6, "space.grid.block: 'basc' is unknown; did you mean 'basic'?"),
        ("depth: [8, 20]", "depth: [8, 57]", 5, "space.grid.depth: depth 57 is not 6n+2 (basic blocks in 3 stages)"),
        (
            "width: 8",
            "width: {low: 9, high: 2}",
            6,
            "space.grid.width: the range is upside down: low 9 is above high 2",
        ),
        ("    skip: [none, identity]\n    depth: [8, 20]\n    width: 8", "    {}", 3, "the space is empty"),
        ("  grid:", "  search:", None, "trials: missing"),
        ("recipe:", "search: {sampler: tpe}\nrecipe:", 7, "search.sampler: sampler of a grid 'tpe' is unknown"),
        ("recipe:", "search: {scheduler: {name: asha, grace: 1}}\nrecipe:", 7, "no option of 'asha'"),
        ("recipe:", "search: {constraints: {max_macs: 5}}\nrecipe:", 7, "nothing in the space fits the budget"),
        ("recipe:", "data: {name: digit}\nrecipe:", 7, "data.name: 'digit' is unknown; did you mean 'digits'?"),
        ("  lr: 0.1", "  lr: 0.1\n  lr: 0.2", 9, "recipe.lr: given twice, first on line 8"),
        ("width: 8", "width: [8", None, "not valid YAML"),
        ("width: 8", "width: &a 8\n    stages: *a", 7, "aliases (*a) are not used"),
    ],
)
def test_mistakes_name_file_line_key_value_and_remedy(
    file: Path, old: str, new: str, line: int | None, message: str
) -> None:
    assert old in TEXT
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(RessearchError) as caught:
        Study.from_file(file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{file}:{line}: " if line else str(file))
    assert "\n" not in str(caught.value)


def test_a_mistaken_override_is_named_as_such(file: Path) -> None:
    with pytest.raises(RessearchError, match=r"--set recipe\.epoch: unknown key; did you mean 'epochs'"):
        Study.from_file(file, ["recipe.epoch=5"])
    with pytest.raises(RessearchError, match="expected key=value"):
        Study.from_file(file, ["recipe.epochs"])


def test_missing_and_unreadable_files(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RessearchError, match=r"no such file.*did you mean '.*mine.yaml'"):
        Study.from_file(tmp_path / "mines.yaml")
    with pytest.raises(RessearchError, match="is a directory"):
        Study.from_file(tmp_path)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RessearchError, match="not a text file"):
        Study.from_file(file)
    file.write_text("")
    with pytest.raises(RessearchError, match="expected a mapping with the key 'space', got nothing"):
        Study.from_file(file)
    file.write_text("x" * 200_001)
    with pytest.raises(RessearchError, match="no study file"):
        Study.from_file(file)


def test_more_gpus_than_there_are(file: Path, tmp_path: Path) -> None:
    study = Study.from_file(file, ["resources.gpus_per_trial=64"])
    for act in (lambda: ressearch.check(study), lambda: ressearch.run(study, tmp_path / "out")):
        with pytest.raises(
            ResourceError, match=r"--set resources.gpus_per_trial: 64 GPUs a trial, but this machine has"
        ):
            act()
    assert not (tmp_path / "out").exists()


def test_check_sizes_prices_and_times_without_training(file: Path) -> None:
    found = ressearch.check(Study.from_file(file))
    assert (found["space_size"], found["networks"], found["trials"]) == (4, 4, 4)
    assert found["cheapest"]["macs"] < found["dearest"]["macs"]
    assert found["dearest"]["depth"] == 20
    assert 0 < found["estimated_seconds"] < 600


def test_planned_trials_stop_at_the_end_of_the_space() -> None:
    study = Study.from_dict({"space": {"search": {"depth": [8, 20], "width": 4}}, "search": {"trials": 50}})
    assert study.planned_trials == 2


TAKE_BOOL = {"data.verify", "recipe.channels_last"}
"""The keys that may be true or false."""


def keys(model: type[BaseModel] = Study, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every key of a study file that holds a value."""
    for name, field in model.model_fields.items():
        parts = typing.get_args(field.annotation) or (field.annotation,)
        below = [one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)]
        for one in below:
            yield from keys(one, (*path, name))
        if not below:
            yield (*path, name)


@pytest.mark.parametrize("key", sorted({".".join(key) for key in keys()}))
@pytest.mark.parametrize("value", ["true", "[false]"])
def test_true_is_no_number_and_no_text(file: Path, key: str, value: str) -> None:
    if key in TAKE_BOOL and value == "true":
        Study.from_file(file, [f"{key}={value}"])
        return
    with pytest.raises(RessearchError) as raised:
        Study.from_file(file, [f"{key}={value}"])
    assert f"--set {key}" in str(raised.value)
