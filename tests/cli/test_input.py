"""Input that nobody meant: refused in one line per mistake with exit code 2, in seconds; nothing is overwritten."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ressearch
from ressearch import Architecture, SearchSpace, Study, cost, limits, pick, report
from ressearch.cli import cli, main
from ressearch.errors import ArchitectureError, BudgetError, ResourceError, RessearchError, StudyError
from ressearch.limits import ARCHITECTURE
from ressearch.networks.cost import Budget
from ressearch.search import memory
from ressearch.search.resources import Slots
from ressearch.units import parse_count, parse_duration, parse_size

STUDY = """\
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
SEARCH = "space: {search: {depth: [8, 14], width: {low: 4, high: 8}}}\nsearch: {trials: 4}\n"

REFUSED = [
    ("space.grid.strides=[1,2,100000]", "100000 is above 64"),
    ("space.grid.kernel_size=[[]]", "[] is not a list of numbers"),
    ("space.grid.kernel_size=[[3, [3], 3]]", "is not a list of numbers"),
    ("space.grid.group_width=[[8, null, 8]]", "is not a list of numbers"),
    ("space.grid.se_ratio=1e308", "the largest number there can be"),
    ("space.grid.se_ratio=65", "65 is above 64"),
    ("space.grid.bottleneck_ratio=.inf", "inf is not a finite number"),
    ("space.grid.bottleneck_ratio=.nan", "nan is not a finite number"),
    ("recipe.batch_size=1000000000", "at most 1048576"),
    ("space.grid.width=10000000", "10000000 is above 65536"),
    ("space.grid.width=60000", "space.grid.width: widths: 120000 is above 65536"),
    ("space.grid.width=4000", "GiB x 2 trials at once to train, this machine has"),
    ("space.grid.width={low: 1, high: 1000000000}", "high: about 10^9 is above 65536"),
    ("recipe.seeds=[99999999999999999999]", "at most 4294967295"),
    ("recipe.seeds=3000000000", "seeds; expected 1 to 1000"),
    ("recipe.seeds=3000", "seeds; expected 1 to 1000"),
    ("seed=99999999999999999999", "at most 4294967295"),
    ("seed=0x" + "f" * 90, "the largest number there can be"),
    ("recipe.epochs=" + "9" * 4000, "a number of 4000 digits"),
    ("space.grid.stages=1000", "1000 is above 16"),
    ("space={grid: {blocks_per_stage: 1000000}}", "1000000 is above 10000"),
    ("space.grid.depth=[600002]", "600002 is above 40000"),
    ("space={grid: {depth: [8, 14], width: {low: 1, high: 60000}}}", "a grid of 120000 points is above 20000"),
    ("space.grid.skip={scaled: {alpha: 1e20}}", "scaled.alpha: 1e+20 is above"),
    ("name=../../x", "is not the name of one directory"),
    ("name=..", "is not the name of one directory"),
    ("name=" + "x" * 300, "a name of 300 characters"),
    ("name=a\0b", "U+0000 is not text"),
    ("name=a\ud800b", "U+D800 is not text"),
    ("name=!!bool x", "YAML tags (!!bool) are not used"),
    ("name=!!int x", "YAML tags (!!int) are not used"),
    ("recipe.epochs=2001-99-99", "'2001-99-99' is not a whole number"),
    ("recipe.lr=" + "9" * 5000, "a number of 5000 digits"),
    ("recipe.lr=" + "[" * 3000, "more than 20 levels"),
    ("recipe.channels_last=3", "3 is not true, false or 'auto'"),
    ("recipe.augmentation=3", "3 is not a list"),
    ("recipe.gradient_clip=1e20", "at most 1e+06"),
    ("search.constraints.max_latency=5x", "'5x' is not a time such as 5ms"),
    ("search.budget.wall_time=1e20", "longer than a hundred years"),
    ("resources.cpus_per_trial=1e-20", "at least 0.01"),
    ("{yes: 1}", "expected key=value"),
    ("question={yes: 1}", "the key True is not text"),
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> list[str]:
    """Run a command that fails; returns what it said, line by line."""
    with pytest.raises(SystemExit) as done:
        main(arguments)
    out, err = capsys.readouterr()
    assert (done.value.code, out) == (code, ""), err
    assert "Traceback" not in err
    return err.splitlines()


@pytest.mark.parametrize(("override", "said"), REFUSED, ids=lambda text: text[:40].encode("ascii", "replace").decode())
def test_a_number_or_text_beyond_reason_is_refused_in_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    (line,) = fails(capsys, "check", str(file), "--set", override)
    assert said in line
    assert len(line) < 600
    assert line.isprintable()
    assert sorted(one.name for one in file.parent.iterdir()) == ["mine.yaml"]


@pytest.mark.parametrize("command", ["cost", "show"])
@pytest.mark.parametrize(
    "network",
    [
        "basic-d3.3.3-w10000000.2.2",
        "basic-d99999.3.3-w8.16.32",
        "basic-d3.3.3-w8.16.32+strides=1.2.100000",
        "basic-d3.3.3-w8.16.32+se_ratio=1e308",
        "basic-d3.3.3-w8.16.32+bottleneck_ratio=inf",
        "basic-d3.3.3-w8.16.32+kernel_size=inf",
        "basic-d3.3.3-w8.16.32+skip=scaled+alpha=nan",
        "basic-d" + "9" * 5000 + "-w8",
        "basic-d" + ".".join("1" * 500) + "-w8",
        "resnet57-cifar" * 5000,
        "a\0b",
        "a/\0b",
        "/dev/zero",
        "/",
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode(),
)
def test_a_name_beyond_reason_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], command: str, network: str
) -> None:
    (line,) = fails(capsys, command, network)
    assert len(line) < 2200
    assert line.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"depths": [[3]]}',
        '{"depths": 1e400}',
        '{"depths": [NaN]}',
        '{"kernel_size": [[3]]}',
        '{"kernel_size": []}',
        '{"kernel_size": "3"}',
        '{"block": ["basic"]}',
        '{"depths": [1, 1], "widths": ["a"]}',
        '{"depths": [1], "widths": [[8]]}',
        '{"stem": {}}',
        '{"skip_options": {"alpha": [1]}}',
        '{"skip": ["scaled"]}',
        '{"skip": "scaled", "skip_options": {"alpha": 1e999}}',
        '{"skip": "scaled", "skip_options": {"alpha": ' + "9" * 400 + "}}",
        '{"skip_options": 3}',
        '{"widths": [' + "9" * 5000 + "]}",
        '{"depths": [1], "widths": [1], "strides": [true]}',
        '{"dropout": "a"}',
        '{"head_width": 1e3}',
    ],
    ids=lambda text: text[:40],
)
def test_json_of_the_wrong_types_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "network.json").write_text(text)
    (line,) = fails(capsys, "cost", str(tmp_path / "network.json"))
    assert "network.json: " in line


@pytest.mark.parametrize("key", sorted({*ARCHITECTURE} - {"growth_rate"}))
def test_every_number_of_a_space_has_its_bound_in_the_message(key: str) -> None:
    beyond = ARCHITECTURE[key].most + 1
    value = int(beyond) if key not in ("bottleneck_ratio", "se_ratio", "dropout", "wa", "wm") else float(beyond)
    for domain in (value, [value], {"low": 1, "high": value}):
        with pytest.raises(RessearchError, match=r"above .*, the most there can be"):
            SearchSpace({key: domain})


def test_a_file_with_four_mistakes_names_all_four(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoilt = STUDY.replace("lr: 0.1", "lr: -1").replace("epochs: 4", "epoch: 4").replace("width: 8", "width: eight")
    file.write_text(spoilt.replace("question: which?", "question: [why]"))
    lines = fails(capsys, "check", str(file))
    assert [line.removeprefix(f"ressearch: error: {file}") for line in lines] == [
        ":1: question: ['why'] is not text",
        ":6: space.grid.width: 'eight' is not a whole number of at least 1",
        ":8: recipe.lr: -1: expected a number above 0",
        ":9: recipe.epoch: unknown key; did you mean 'epochs'?",
    ]
    with pytest.raises(StudyError) as caught:
        Study.from_file(file)
    assert len(caught.value.lines) == 4


def test_mistakes_that_need_the_whole_study_are_named_together(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(STUDY + "search: {objective: [speed]}\n")
    lines = fails(capsys, "check", str(file), "--set", "space.grid.depth=57")
    assert "57 is not 6n+2" in lines[0]
    assert f"{file}:10: search.objective: 'speed' is unknown" in lines[1]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90),
        ("90", 90),
        ("5ms", 0.005),
        ("250us", 0.00025),
        ("1.5h", 5400),
        ("2 h", 7200),
        ("10min", 600),
        ("1d", 86400),
    ],
)
def test_a_duration_is_understood_wherever_one_stands(value: object, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)
    with_unit = not str(value).replace(".", "").isdigit()
    study = {"space": {"grid": {"depth": [8]}}, "search": {"constraints": {"max_latency": value}}}
    found = Study.from_dict({**study, "resources": {"trial_time_limit": value}})
    assert found.resources.trial_time_limit == pytest.approx(seconds)
    assert found.search.constraints.max_latency == pytest.approx(1000 * seconds if with_unit else seconds)


def test_sizes_are_understood_decimal_and_binary() -> None:
    sizes = [parse_size(text) for text in ("2G", "1MB", "512MiB", "3 kib", 7, "1e3")]
    assert sizes == [2 * 10**9, 10**6, 512 * 2**20, 3 * 1024, 7, 1000]


@pytest.mark.parametrize(
    "bad", ["", "-1k", "nan", "inf", "1e30", "1e999", None, True, [1], "k", "1kk", 0, 10**30, "9" * 5000]
)
@pytest.mark.parametrize("parse", [parse_count, parse_size, parse_duration])
def test_what_is_no_quantity_is_refused(parse: Callable[[object], float], bad: object) -> None:
    with pytest.raises(ValueError, match=r"is not a|is above|longer than"):
        parse(bad)


def test_budgets_in_python_take_what_the_command_takes(small_run: Path) -> None:
    assert pick(small_run, max_params="20k").cost.params <= 20_000
    assert Budget(max_macs="4M").max_macs == 4_000_000
    assert SearchSpace({"depth": [8]}).filter(max_params="1G").budget.max_params == 10**9
    for bad in ("lots", -1, [3]):
        with pytest.raises(BudgetError, match=r"max_params: .* is not a"):
            pick(small_run, max_params=bad)  # type: ignore[arg-type]


def test_one_list_in_two_places_of_a_mapping_is_read() -> None:
    depths = [8, 14]
    assert Study.from_dict({"space": {"grid": {"depth": depths, "width": depths}}}).planned_trials == 4
    with pytest.raises(StudyError, match="expected text, numbers, lists and mappings"):
        Study.from_dict({"space": {"grid": {"depth": {3j}}}})


def test_memory_is_the_containers_where_that_is_less(tmp_path: Path) -> None:
    machine = memory.machine_memory([])
    (tmp_path / "limit").write_text("1048576\n")
    (tmp_path / "none").write_text("max\n")
    assert machine > 2**28
    assert memory.machine_memory([tmp_path / "limit"]) == 2**20
    assert memory.machine_memory([tmp_path / "none", tmp_path / "missing"]) == machine


def test_what_just_fits_is_trained_and_a_byte_less_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.from_dict({"space": {"grid": {"depth": [8], "width": [4, 8]}}, "recipe": {"seeds": 3}})
    shape, classes = study.dataset.input_shape, len(study.dataset.classes)
    price = cost(Architecture(depths=(1, 1, 1), widths=(8, 16, 32)), shape, classes)
    need = 3 * 2 * price.training_memory(64, optimizer_states=1)
    priced = memory.price(study, study.search_space.enumerate())
    memory.require_fit(study, priced, Slots(1, 0, 2), memory=need)
    with pytest.raises(ResourceError, match=r"x 3 seeds x 2 trials at once.*max_training_memory: \d+M"):
        memory.require_fit(study, priced, Slots(1, 0, 2), memory=need - 1)
    monkeypatch.setattr(memory, "machine_memory", lambda: need - 1)
    apart = study.model_copy(update={"recipe": study.recipe.model_copy(update={"replicates": "separate"})})
    memory.require_fit(apart, priced, Slots(1, 0, 2))


def test_a_study_that_does_not_fit_is_refused_before_anything_is_written(file: Path) -> None:
    with pytest.raises(ResourceError, match="needs at least"):
        ressearch.run(Study.from_file(file, ["space.grid.width=4000"]), file.parent / "out")
    assert not (file.parent / "out").exists()


def test_reports_replace_reports_alone(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    report(small_run, own)
    report(small_run, own)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "report.html").write_text("<title>mine</title>")
    (line,) = fails(capsys, "report", str(small_run), "--out", str(foreign))
    assert "holds other files than a report; --force" in line
    assert (foreign / "report.html").read_text() == "<title>mine</title>"
    (line,) = fails(capsys, "report", str(small_run), "--out", str(foreign / "report.html"))
    assert "is a file" in line
    main(["report", str(small_run), "--out", str(foreign), "--force"])
    assert (foreign / "report.md").is_file()


def test_exports_and_pictures_replace_no_file(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.pt"
    mine.write_text("mine")
    (line,) = fails(capsys, "export", str(small_run), "--out", str(mine))
    assert "mine.pt: is there already; --force replaces it" in line
    (line,) = fails(capsys, "show", "resnet20-cifar", "--png", str(mine))
    assert "--force" in line
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), RecursionError("deep"), MemoryError(), AssertionError("no")])
def test_what_nobody_foresaw_is_one_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(cli.commands["presets"], "callback", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (line,) = fails(capsys, "presets", code=70)
    assert "this is a defect of ressearch; the details are in" in line
    details = Path(line.rpartition(" ")[2])
    assert "Traceback" in details.read_text()
    assert type(error).__name__ in details.read_text()


def test_a_file_that_cannot_be_written_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/x")

    monkeypatch.setattr(cli.commands["presets"], "callback", broken)
    assert fails(capsys, "presets") == ["ressearch: error: /somewhere/x: permission denied"]


def test_an_output_that_nobody_reads_ends_quietly() -> None:
    command = [sys.executable, "-m", "ressearch.cli", "presets", "--json"]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ran.stdout is not None
    assert ran.stderr is not None
    ran.stdout.close()
    said = ran.stderr.read()
    ran.wait()
    assert said == b""


def test_a_field_of_an_architecture_is_checked_in_python_too() -> None:
    for fields in ({"depths": (20_000,)}, {"widths": (10**6, 2, 2)}, {"kernel_size": ((3,),) * 3}, {"stem": ["cifar"]}):
        with pytest.raises(ArchitectureError):
            Architecture(**fields)  # type: ignore[arg-type]
    with pytest.raises(ArchitectureError, match="above 65536"):
        cost(Architecture(), (3, 10**9, 10**9))


def test_the_page_on_input_states_the_bounds_that_hold() -> None:
    page = (Path(__file__).parents[2] / "docs" / "input.md").read_text()
    stated = dict(re.findall(r"^\| ([^|]+) \| (\d+) \|$", page, re.MULTILINE))
    assert {what.split(" ")[0] + " " + what.split(" ")[-1]: int(most) for what, most in stated.items()} == {
        "channels classes": ARCHITECTURE["widths"].most,
        "blocks network": limits.MOST_BLOCKS,
        "stages stages": limits.MOST_STAGES,
        "seeds recipe": limits.MOST_SEEDS,
        "a seed": limits.LARGEST_SEED,
        "epochs epochs": limits.MOST_EPOCHS,
        "batch size": limits.LARGEST_BATCH,
        "trials trials": limits.MOST_TRIALS,
        "points grid": limits.LISTED_POINTS,
        "choices key": limits.MOST_CHOICES,
    }
    assert ARCHITECTURE["widths"].most == limits.LARGEST_SIDE


def test_the_page_on_input_shows_what_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "input.md").read_text()
    file.write_text(STUDY.replace("width: 8", "width: eight").replace("lr: 0.1", "lr: -1").replace("epochs:", "epoch:"))
    said = "\n".join(fails(capsys, "check", "mine.yaml"))
    assert f"```text\n{said}\n```" in page
