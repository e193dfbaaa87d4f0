"""A study whose data are not on this machine: it can be checked, and what needs the data refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ressearch
from ressearch import Study
from ressearch.cli import main
from ressearch.data import DATASETS, load_dataset, load_or_declare
from ressearch.data.files import PUBLISHED
from ressearch.errors import MissingDataError, RessearchError, StudyError

STUDY = """\
space: {grid: {depth: [8, 14], width: 4}}
data: {name: mnist, per_class: 50}
recipe: {epochs: 2}
"""
# Examples of the two parts, input shape and number of classes, as the publishers state them.
STATED = {
    "mnist": (60_000, 10_000, (1, 28, 28), 10),
    "fashion_mnist": (60_000, 10_000, (1, 28, 28), 10),
    "kmnist": (60_000, 10_000, (1, 28, 28), 10),
    "cifar10": (50_000, 10_000, (3, 32, 32), 10),
    "cifar100": (50_000, 10_000, (3, 32, 32), 100),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY)
    return path


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_set_declares_what_its_publisher_states(name: str) -> None:
    declared = DATASETS[name].declared
    assert declared is not None
    train, test, shape, classes = STATED[name]
    assert (sum(declared.train), sum(declared.test), declared.input_shape) == (train, test, shape)
    assert len(declared.classes) == len(set(declared.classes)) == len(declared.train) == len(declared.test) == classes
    with pytest.raises(MissingDataError, match=f"`ressearch data fetch {name}`"):
        load_dataset(name)
    outline = load_or_declare(name)
    assert outline.missing
    assert outline.inputs.shape == (train + test, *shape)
    assert outline.labels[: outline.test_from].bincount().tolist() == list(declared.train)
    assert outline.labels[outline.test_from :].bincount().tolist() == list(declared.test)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_study_of_any_published_set_can_be_checked_without_it(name: str) -> None:
    study = Study.from_dict({"space": {"grid": {"depth": [8, 14], "width": 4}}, "data": {"name": name}})
    found = ressearch.check(study)
    train, test, *_ = STATED[name]
    assert (found["trials"], found["data_is_here"]) == (2, False)
    assert found["cheapest"]["macs"] < found["dearest"]["macs"]
    assert found["estimated_seconds"] > 0
    assert study.examples == {"train": train * 8 // 10, "validation": train * 2 // 10, "test": test}


def test_check_says_that_the_data_are_missing_and_how_to_get_them(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", str(file)])
    out = capsys.readouterr().out
    assert "valid" in out
    (line,) = [line for line in out.splitlines() if line.startswith("data       missing: ")]
    assert "not found in" in line
    assert "`ressearch data fetch mnist` gets it" in line
    main(["check", str(file), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["data_is_here"] is False
    assert "`ressearch data fetch mnist`" in found["data_missing"]
    main(["check", str(file), "--set", "data={name: digits}", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["data_is_here"], found["data_missing"]) == (True, None)


def test_run_refuses_in_one_line_and_writes_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", str(file), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert f"{file}:2: data: 'mnist': not found in" in error
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_nothing_is_made_of_declared_data_but_a_check(file: Path, tmp_path: Path) -> None:
    study = Study.from_file(file)
    for act in (
        study.splits,
        lambda: ressearch.run(study, tmp_path / "out"),
        lambda: ressearch.run(study, f"file://{tmp_path}/url"),
    ):
        with pytest.raises(StudyError, match="not found in"):
            act()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_study_that_does_not_fit_the_declared_data_is_refused_without_them(file: Path) -> None:
    with pytest.raises(RessearchError, match="block 'mlp' works on vectors"):
        Study.from_file(file, ["space.grid={block: mlp, width: 4}"])
    with pytest.raises(RessearchError, match="per_class 5000, but class '0' has 4738 training examples"):
        ressearch.check(Study.from_file(file, ["data.per_class=5000"]))


def test_a_directory_of_data_is_found_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("RESSEARCH_DATA_PATH", f"{first}:{second}")
    with pytest.raises(MissingDataError) as missing:
        load_dataset("fashion_mnist")
    for place in (first / "fashion-mnist", second / "fashion_mnist"):
        assert str(place) in str(missing.value)
