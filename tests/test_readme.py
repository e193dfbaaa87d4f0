"""The README's commands, Python, study files, numbers and pictures: run, or held against what they are of."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import ressearch
from ressearch import Architecture, SearchSpace, Study
from ressearch.cli import cli, main
from ressearch.errors import StudyError
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.presets import PRESETS
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS
from ressearch.networks.stems import STEMS
from ressearch.search.optuna_file import OPTUNA_FILE
from ressearch.search.resources import trial_resources
from ressearch.search.samplers import SAMPLERS
from ressearch.search.schedulers import SCHEDULERS
from ressearch.search.sections import Constraints

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FLAT = " ".join(README.split())
WORDS = {5: "five", 6: "six", 7: "seven", 10: "ten", 11: "eleven", 12: "twelve", 16: "sixteen", 17: "seventeen"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def study_files() -> tuple[str, str]:
    """The study that trains a grid, and the one that searches."""
    grid, search = blocks("yaml")
    return grid, search


def comment(key: str) -> list[str]:
    """The words of the comment beside a key of the search."""
    (line,) = [line for line in study_files()[1].splitlines() if line.strip().startswith(f"{key}:")]
    return re.findall(r"\w+", line.partition("#")[2])


def test_its_pages_and_pictures_exist() -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path


def test_its_make_targets_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"^make ([a-z][\w-]*)|`make ([a-z][\w-]*)", README, re.MULTILINE)
    assert {"quickstart", "test"} <= {"".join(one) for one in named} <= set(targets)


def test_quickstart_ends_as_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    shown = next(block for block in blocks("text") if block.startswith("picked"))
    makefile = (ROOT / "Makefile").read_text()
    assert "pick $(OUT) --max-macs 4M" in makefile
    main(["pick", str(ROOT / "reports" / "quickstart"), "--max-macs", "4M"])
    assert capsys.readouterr().out == shown


def test_its_studies_run_without_a_gpu_as_printed() -> None:
    for text in study_files():
        assert trial_resources(Study.from_file(write(text)), cpus=1, gpus=0) == (1, 0, 1)


def test_its_grid_is_every_combination_with_three_seeds() -> None:
    study = Study.from_file(write(study_files()[0]))
    assert study.planned_trials == 2 * 4
    assert len(study.recipe.seeds) == 3
    networks = list(study.search_space.enumerate())
    assert {one.depth for one in networks} == {8, 20, 56, 110}
    assert {one.widths for one in networks} == {(8, 16, 32)}


def test_its_search_names_every_sampler_scheduler_and_constraint() -> None:
    study = Study.from_file(write(study_files()[1]))
    assert study.planned_trials == study.search.trials == 24
    assert {"tpe", *comment("sampler")} - {"or"} == {*SAMPLERS, "grid"}
    assert {"asha", *comment("scheduler")} - {"or"} == set(SCHEDULERS)
    assert {"max_macs", *comment("constraints")} == set(Constraints.model_fields) - {"dtype"}
    dearest = study.search_space.budget.max_macs
    assert dearest == 4_000_000
    assert all(ressearch.cost(one, (1, 8, 8), 10).macs <= dearest for one in study.search_space.sample(50, seed=1))


def write(text: str) -> Path:
    file = Path("mine.yaml")
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    monkeypatch.chdir(tmp_path)


def test_its_commands_work(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All but `run`, which the tutorial's test and the Python below do; on a study of four small networks."""
    write(study_files()[0])
    (tmp_path / "runs").mkdir()
    shutil.copytree(small_run, tmp_path / "runs" / "longer")
    small_run.rename(tmp_path / "runs" / "mine")
    digits = load_digits()
    for index in range(100):
        file = tmp_path / "photos" / str(digits.target[index]) / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[index] * 15).astype("uint8")).save(file)
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("ressearch ")]
    names = [command.split()[1] for command in commands]
    assert set(names) == set(cli.commands)
    for command in commands:
        arguments = shlex.split(command.replace("2ms", "2s"), comments=True)[1:]  # others may use this machine now
        if arguments[0] == "run":
            with pytest.raises(SystemExit):  # runs/mine is there: nothing is overwritten
                main([*arguments, "--set", "recipe.epochs=5"])
            assert "nothing was overwritten" in capsys.readouterr().err
        else:
            main(arguments)
    out = capsys.readouterr().out
    assert "complete already" in out
    assert "val_accuracy" in out
    for suffix, count in {"html": 1, "md": 1, "png": 3, "svg": 3, "csv": 2}.items():
        assert len(list((tmp_path / "runs/mine/report").rglob(f"*.{suffix}"))) >= count, suffix
    assert (tmp_path / "net.pt2").stat().st_size > 10_000
    assert (tmp_path / "resnet50-d.png").stat().st_size > 10_000


def test_its_counts_of_choices_are_the_packages() -> None:
    for registry, said in {
        len(BLOCKS): "blocks (basic",
        len(SKIPS): "skip styles with",
        len(SHORTCUTS): "shortcuts and",
        len(STEMS): "stems, as",
    }.items():
        assert f"{WORDS.get(registry, registry)} {said}" in FLAT
    assert f"{len(PRESETS)} published networks" in FLAT


def test_a_space_takes_any_field_of_an_architecture() -> None:
    network = Architecture()
    for name in {field.name for field in fields(Architecture)} - {"skip_options"}:
        assert list(SearchSpace({name: [getattr(network, name)]}, input_shape=(3, 32, 32)).enumerate()) == [network]
    (one,) = SearchSpace({"skip": [{"stochastic_depth": {"survival": 0.7}}]}, input_shape=(3, 32, 32)).enumerate()
    assert dict(one.skip_options) == {"survival": 0.7}


def test_its_mistake_is_answered_as_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = [block.strip() for block in blocks("text") if "mine.yaml:" in block]
    write(study_files()[0].replace("56", "57"))
    with pytest.raises(SystemExit):
        main(["check", "mine.yaml"])
    assert capsys.readouterr().err == f"ressearch: error: {shown}\n"


def test_its_python_prints_what_its_comments_say() -> None:
    programs = blocks("python")
    assert len(programs) >= 3
    namespace: dict[str, object] = {}
    for program in programs:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(program, "README.md", "exec"), namespace)
        for shown in re.findall(r"^# (\d.*)$|print\(.*\)  # (\S+/\S+)$", program, re.MULTILINE):
            assert "".join(shown) in out.getvalue().splitlines()
    module = namespace["module"]
    assert sum(parameter.numel() for parameter in module.parameters()) == 855770  # type: ignore[attr-defined]


def test_a_study_directory_holds_what_it_says(small_run: Path, small_study: Study) -> None:
    for name in ("study.yaml", "run.json", "journal.jsonl", "trials.parquet", "curves.parquet"):
        assert f"`{name}`" in FLAT
        assert (small_run / name).is_file()
    assert (small_run / "study.yaml").read_text() == small_study.text
    said = {"study.yaml", "run.json", "journal.jsonl", "trials.parquet", "curves.parquet", "examples", "weights"}
    assert "`examples/` (one small file per trial" in FLAT
    assert "`weights/` (the best network's" in FLAT
    assert len(list((small_run / "examples").iterdir())) == 4
    assert {path.name for path in small_run.iterdir() if not path.name.startswith(".")} == said
    assert f"of a search, Optuna's storage (`{OPTUNA_FILE}`)" in FLAT
    with pytest.raises(StudyError, match="nothing was overwritten"):
        ressearch.run(small_study, small_run)


def test_its_tour_of_the_house_names_what_is_there() -> None:
    rooms = FLAT.partition("## How it is built")[2]
    named = re.findall(r"`([\w/]+(?:\.py|/))`", rooms)
    assert len(named) > 10
    for name in named:
        assert (ROOT / "ressearch" / name).exists(), name


def claimed(report: str, kind: str, **subject: Any) -> dict[str, Any]:
    """Return the claim of a committed report that is about `subject`."""
    claims = json.loads((ROOT / "reports" / report / "claims.json").read_text())
    (found,) = [one for one in claims if one["kind"] == kind and subject.items() <= one["subject"].items()]
    return dict(found)


def test_its_comparison_at_depth_110_is_the_committed_results() -> None:
    of = {"skip": "identity", "against": "none", "depth": 110}
    found = claimed("fashion_mnist_depth", "difference", **of, norm_order="post")
    assert (
        f"is {found['estimate']:.3f} better (95 % interval {found['low']:.3f} to {found['high']:.3f}, held together"
        in FLAT
    )


def test_its_sentence_on_what_depth_costs_a_residual_network_is_the_committed_claim() -> None:
    found = claimed("degradation", "degradation_onset", skip="identity")
    assert found["estimate"] is None
    trials = pd.read_parquet(ROOT / "reports" / "degradation" / "trials.parquet")
    means = trials[trials["skip"] == "identity"].set_index("depth")["val_accuracy"]
    images = json.loads((ROOT / "reports" / "degradation" / "run.json").read_text())["examples"]["validation"]
    assert (
        f"no depth is shown to hurt ({means[20]:.3f} with 20 layers, {means[110]:.3f} with 110: too near for three "
        f"seeds and {images} images to tell)"
    ) in FLAT


@pytest.mark.parametrize(("skip", "norm_order"), [("identity", "pre"), ("rezero", "post"), ("rezero", "pre")])
def test_where_it_sees_no_loss_with_depth_none_is_claimed(skip: str, norm_order: str) -> None:
    found = claimed("fashion_mnist_depth", "degradation_onset", skip=skip, norm_order=norm_order)
    assert found["estimate"] is None


def test_its_picture_is_of_what_it_says() -> None:
    trials = pd.read_parquet(ROOT / "reports" / "degradation" / "trials.parquet")
    plain = trials[trials["skip"] == "none"].set_index("depth")["train_accuracy"]
    assert plain[8] > 0.99
    assert plain[56] < 0.7  # "trains badly"
    assert plain[110] < 0.11  # "not at all": chance is 0.1
    assert set(trials["seeds"].map(len)) == {3}
