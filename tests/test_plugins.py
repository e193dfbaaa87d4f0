"""Plugins: what others bring works wherever the package's own does, and runs only where somebody says so."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

import ressearch
from ressearch import Architecture, Study, load, plugins, registry
from ressearch.cli import main
from ressearch.errors import ArchitectureError, DataError, PluginError, RessearchError, StudyError
from ressearch.networks.blocks import BLOCKS
from ressearch.registry import REGISTRIES

DOCS = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()


def pages(language: str) -> dict[str, str]:
    """Return the code of the page by the name in its first line."""
    found = re.findall(rf"^```{language}\n# ([^\n]*)\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    return {name: f"# {name}\n{text}" for name, text in found}


FILES = {name: text for name, text in pages("python").items() if name.startswith("my_")}
STUDY = pages("yaml")["study.yaml"]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with plugins.isolated():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the page shows."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def start(*command: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ressearch", *command],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        start_new_session=True,
    )


def run(*command: str, cwd: Path, code: int = 0) -> tuple[str, str]:
    process = start(*command, cwd=cwd)
    out, error = process.communicate(timeout=300)
    assert process.returncode == code, error
    return out, error


def kill_after_some_epochs(process: subprocess.Popen[str], directory: Path) -> None:
    journal, deadline = directory / "journal.jsonl", time.monotonic() + 240
    while not journal.is_file() or journal.read_text().count('"event": "epoch"') < 5:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_the_page_shows_one_of_each_kind(folder: Path) -> None:
    assert set(FILES) == {f"my_{kind}.py" for kind in ("blocks", "skips", "data", "augmentations", "samplers", "plots")}
    brought = [pair for name in FILES for pair in ressearch.load_plugin(folder / name).registered]
    assert brought == [
        ("blocks", "triple"),
        ("skips", "soft"),
        ("datasets", "bars"),
        ("augmentations", "upside_down"),
        ("samplers", "wide_first"),
        ("plots", "size"),
    ]
    block = FILES["my_blocks.py"].partition("@block")[2]
    assert len(block.strip().splitlines()) <= 10  # an own block in ten lines


@pytest.mark.slow
def test_a_study_of_them_all_is_killed_resumed_reported_picked_and_exported(folder: Path) -> None:
    """Two workers, SIGKILL, and the directory alone afterwards: the files it came from are gone."""
    (folder / "study.yaml").write_text(STUDY.replace("epochs: 2", "epochs: 40").replace("trials: 4", "trials: 5"))
    kill_after_some_epochs(start("run", "study.yaml", "--out", "out", cwd=folder), folder / "out")
    for name in FILES:
        (folder / name).unlink()
    assert sorted(one.name for one in (folder / "out" / "plugins").iterdir()) == sorted(FILES)

    out, _ = run("status", "out", cwd=folder)
    assert "not complete" in out
    _, error = run("resume", "out", cwd=folder, code=2)
    assert error == (
        "ressearch: error: out: its networks need the plugin my_blocks.py, which is code that came with the study; "
        "--allow-plugins runs it (from Python: allow_plugins=True)\n"
    )
    run("resume", "out", "--allow-plugins", cwd=folder)
    results = load(folder / "out")
    assert results.progress.is_complete
    assert results.trials["status"].tolist() == ["completed"] * 6
    assert results.run["concurrency"] == 2
    assert set(results.run["plugins"]) == set(FILES)
    assert json.loads(results.trials["recipe"][0])["augmentation"] == ["upside_down"]

    run("report", "out", cwd=folder)  # needs no code, and so lacks the plot that a plugin brings
    assert not (folder / "out" / "report" / "figures" / "size.png").exists()
    run("report", "out", "--allow-plugins", cwd=folder)
    assert (folder / "out" / "report" / "figures" / "size.png").is_file()
    page = (folder / "out" / "report" / "report.html").read_text()
    assert re.search(r"The best network has \d+ parameters\.", page)

    triple = int(results.trials.index[results.trials["block"] == "triple"][0])
    _, error = run("export", "out", "--trial", str(triple), "--out", "net.onnx", cwd=folder, code=2)
    assert "need the plugin my_blocks.py" in error
    run("export", "out", "--trial", str(triple), "--out", "net.onnx", "--allow-plugins", cwd=folder)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "net.onnx"))
    (logits,) = session.run(["logits"], {"inputs": np.zeros((3, 1, 8, 8), np.float32)})
    assert logits.shape == (3, 2)
    shown, _ = run("pick", "out", "--allow-plugins", "--json", cwd=folder)
    best = results.trials[results.trials["phase"] == "search"]["val_accuracy"].max()
    assert json.loads(shown)["val_accuracy"] == pytest.approx(best)


@pytest.mark.usefixtures("ray_started")
def test_arrays_in_memory_need_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = pages("python")["in a script or a notebook"]
    namespace: dict[str, object] = {}
    exec(compile(code, "extending.md", "exec"), namespace)
    directory = Path("runs/mine")
    assert len(load(directory).trials) == 2
    assert load(directory).run["study"]["data"]["name"] == "memory:arrays"
    assert load(directory).run["split_fingerprint"] == namespace["study"].splits().fingerprint  # type: ignore[attr-defined]


@pytest.mark.usefixtures("ray_started")
def test_a_study_of_arrays_goes_on_with_the_same_arrays_alone(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1)
    inputs, labels = numbers.normal(size=(80, 4)).astype("float32"), np.arange(80) % 2
    study = Study(
        space={"grid": {"block": "mlp", "depth": [8, 14], "width": 4}},
        data={"name": "breast_cancer"},
        recipe={"epochs": 1},
    )
    data = ressearch.data.from_arrays(inputs, labels, "mine")
    directory = ressearch.run(study, tmp_path / "out", data=data)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["overrides"] == {"data.name": "memory:mine"}
    journal = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    cut = next(index for index, line in enumerate(journal) if '"end"' in line)
    (tmp_path / "out" / "journal.jsonl").write_text("\n".join(journal[:cut]) + "\n")
    for file in ("trials.parquet", "curves.parquet"):
        (tmp_path / "out" / file).unlink()
    from ressearch.data import registry

    registry._in_memory.clear()
    with pytest.raises(
        StudyError, match=r"'memory:mine': was in the memory of the process that ran the study; hand it"
    ):
        ressearch.resume(directory)
    other = ressearch.data.from_arrays(inputs + 1, labels)
    with pytest.raises(StudyError, match=r"are not those that .* began with"):
        ressearch.resume(directory, data=other)
    ressearch.resume(directory, data=data)
    assert load(directory).progress.is_complete
    plain = ressearch.run(Study(space={"grid": {"depth": 8, "width": 2}}, recipe={"epochs": 1}), tmp_path / "plain")
    cut_short(Path(plain))
    with pytest.raises(StudyError, match="data: the study's data are 'digits', which it reads itself"):
        ressearch.resume(plain, data=data)


def cut_short(directory: Path) -> None:
    """Have a study directory as a kill in its first epoch leaves it."""
    journal = (directory / "journal.jsonl").read_text().splitlines()
    cut = next(index for index, line in enumerate(journal) if '"epoch"' in line)
    (directory / "journal.jsonl").write_text("\n".join(journal[:cut]) + "\n")
    for file in ("trials.parquet", "curves.parquet"):
        (directory / file).unlink()


SMALL = """
plugins: [{plugin}]
space: {{grid: {{block: triple, depth: 11, width: 2}}}}
data: {{name: synthetic}}
recipe: {{epochs: 1}}
"""


@pytest.fixture
def small(folder: Path, ray_started: None) -> Path:
    """A study of one network that only a plugin knows, run, and forgotten by this process."""
    (folder / "study.yaml").write_text(SMALL.format(plugin="my_blocks.py"))
    with plugins.isolated():
        ressearch.run(Study.from_file(folder / "study.yaml"), folder / "out")
    assert "triple" not in BLOCKS
    return folder


def test_reading_a_directory_runs_no_code_unless_it_is_allowed(small: Path) -> None:
    trap = small / "trap"
    kept = small / "out" / "plugins" / "my_blocks.py"
    text = kept.read_text() + f"\nopen({str(trap)!r}, 'a').write('ran')\n"
    kept.write_text(text)
    run_file = small / "out" / "run.json"
    record = json.loads(run_file.read_text())
    record["plugins"]["my_blocks.py"]["sha256"] = plugins._hash(text)
    run_file.write_text(json.dumps(record))
    out = small / "out"
    load(out)
    ressearch.report(out)
    main_ok("status", str(out))
    for act in (
        lambda: ressearch.pick(out),
        lambda: Study.from_directory(out),
        lambda: ressearch.export.train(out, 0),
    ):
        with pytest.raises(
            PluginError, match=r"needs? the plugin my_blocks.py, which is code that came with the study"
        ):
            act()
    assert ressearch.resume(out) == out  # complete: nothing to do, nothing to run
    assert not trap.exists()
    assert ressearch.pick(out, allow_plugins=True).architecture.block == "triple"
    assert trap.read_text() == "ran"
    assert ressearch.pick(out).trial == 0  # this process has loaded it: it need not be allowed again
    assert trap.read_text() == "ran"


def main_ok(*arguments: str) -> None:
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code  # noqa: PT017


def test_a_plugin_that_is_missing_or_changed_is_one_line(small: Path) -> None:
    kept = small / "out" / "plugins" / "my_blocks.py"
    text = kept.read_text()
    kept.write_text(text + "\n# changed\n")
    with pytest.raises(
        PluginError, match=r"out/plugins/my_blocks.py: was changed since the study was begun; put it back"
    ):
        ressearch.pick(small / "out", allow_plugins=True)
    kept.unlink()
    with pytest.raises(PluginError, match=r"out/plugins/my_blocks.py: no such file"):
        ressearch.pick(small / "out", allow_plugins=True)
    kept.write_text(text)
    assert ressearch.pick(small / "out", allow_plugins=True).trial == 0


def test_a_directory_names_no_file_outside_itself(small: Path) -> None:
    run_file = small / "out" / "run.json"
    record = json.loads(run_file.read_text())
    record["plugins"]["my_blocks.py"]["file"] = "../../my_blocks.py"
    run_file.write_text(json.dumps(record))
    (small / "out" / "plugins" / "my_blocks.py").unlink()
    with pytest.raises(PluginError, match="no such file"):
        ressearch.pick(small / "out", allow_plugins=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_thing\n", "line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("x = 1\ndef f(:\n", "line 2: SyntaxError: "),
        ("def f():\n    raise SystemExit(3)\n\nf()\n", "line 2: SystemExit: 3"),
        (
            "from ressearch.networks.blocks import BLOCKS\nBLOCKS.add('new', 1)\nBLOCKS.add('basic', 1)\n",
            "line 3: blocks: 'basic' is registered already, by ressearch",
        ),
    ],
)
def test_a_plugin_that_fails_is_one_line_and_leaves_nothing(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    (tmp_path / "study.yaml").write_text(SMALL.format(plugin="bad.py").lstrip())
    modules = set(sys.modules)
    with pytest.raises(PluginError) as raised:
        Study.from_file(tmp_path / "study.yaml")
    assert str(raised.value).startswith(f"{tmp_path / 'study.yaml'}:1: plugins: plugin bad.py, {said}")
    assert len(str(raised.value).splitlines()) == 1
    assert "new" not in BLOCKS
    assert set(sys.modules) == modules


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nowhere.py", r"plugin nowhere.py: no such file; .* holds my_augmentations.py, my_blocks.py"),
        ("no_such_module", "plugin no_such_module: no such module can be imported; a file ends in .py"),
        ("no_such.module", "plugin no_such.module: no such module can be imported"),
        ("'a b'", "plugin 'a b': is neither a file that ends in .py nor a module's name"),
        ("my_blocks.py, my_blocks.py", "my_blocks.py: named twice"),
        ("my_blocks.py, sub/my_blocks.py", "sub/my_blocks.py: my_blocks.py has the same name"),
        (".", "neither a file|no such"),
        ("3", "plugins.0.*"),
    ],
)
def test_a_plugin_that_is_not_there_is_one_line(folder: Path, named: str, said: str) -> None:
    (folder / "study.yaml").write_text(SMALL.format(plugin=named).lstrip())
    with pytest.raises((PluginError, StudyError), match=said) as raised:
        Study.from_file(folder / "study.yaml")
    assert str(raised.value).startswith(f"{folder / 'study.yaml'}:1: plugins")


def test_a_file_that_was_changed_is_loaded_anew_and_its_old_names_go(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    runs = tmp_path / "runs"
    count = f"open({str(runs)!r}, 'a').write('1')\n"
    file.write_text(f"{count}from ressearch.networks.blocks import BLOCKS\nBLOCKS.add('one', BLOCKS['basic'])\n")
    first = ressearch.load_plugin("mine.py", tmp_path)
    assert ressearch.load_plugin("mine.py", tmp_path) == first
    assert runs.read_text() == "1"
    file.write_text("from ressearch.networks.blocks import BLOCKS\nBLOCKS.add('two', BLOCKS['basic'])\n")
    second = ressearch.load_plugin("mine.py", tmp_path)
    assert second.sha256 != first.sha256
    assert second.registered == [("blocks", "two")]
    assert "one" not in BLOCKS


def test_a_module_is_named_by_its_dotted_name_and_may_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "their_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "blocks.py").write_text(FILES["my_blocks.py"])
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{Path(ressearch.__file__).parents[1]}")
    (tmp_path / "study.yaml").write_text(SMALL.format(plugin="their_package.blocks"))
    run("run", "study.yaml", "--out", "out", cwd=tmp_path)
    assert load(tmp_path / "out").trials["status"].tolist() == ["completed"]
    assert not (tmp_path / "out" / "plugins").exists()
    assert BLOCKS.get("triple") is None
    assert ressearch.pick(tmp_path / "out", allow_plugins=True).architecture.block == "triple"
    assert BLOCKS.entry("triple").source == "their_package.blocks"
    (package / "blocks.py").write_text(FILES["my_blocks.py"] + "\n# changed\n")
    _, error = run("pick", "out", "--allow-plugins", cwd=tmp_path, code=2)
    assert "the module their_package.blocks was changed since the study was begun" in error
    shutil.rmtree(package)
    _, error = run("pick", "out", "--allow-plugins", cwd=tmp_path, code=2)
    assert error == (
        "ressearch: error: plugin their_package.blocks: no such module can be imported; a file ends in .py\n"
    )


@pytest.mark.slow
def test_an_installed_package_is_known_everywhere_and_named_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the page's things in a package of its own, installed with pip; killed, resumed, reported, exported."""
    source = tmp_path / "source"
    (source / "their_things").mkdir(parents=True)
    for name, text in FILES.items():
        (source / "their_things" / name).write_text(text)
    imported = ", ".join(name.removesuffix(".py") for name in FILES)
    (source / "their_things" / "__init__.py").write_text(f"from their_things import {imported}\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "their-things"\nversion = "2.0"\n[tool.setuptools]\npackages = ["their_things"]\n'
        '[project.entry-points."ressearch.plugins"]\nany = "their_things"\n'
    )
    site = tmp_path / "site"
    install = [
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
        str(source),
    ]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{Path(ressearch.__file__).parents[1]}")
    monkeypatch.setenv("RESSEARCH_PLUGINS", "1")
    (tmp_path / "study.yaml").write_text("space:" + STUDY.partition("\nspace:")[2].replace("epochs: 2", "epochs: 20"))
    kill_after_some_epochs(start("run", "study.yaml", "--out", "out", cwd=tmp_path), tmp_path / "out")
    run("resume", "out", cwd=tmp_path)  # what is installed need not be allowed
    results = load(tmp_path / "out")
    assert results.progress.is_complete
    assert set(results.trials["status"]) == {"completed"}
    assert results.run["installed_plugins"] == {"their-things": "2.0"}
    run("report", "out", cwd=tmp_path)
    assert (tmp_path / "out" / "report" / "figures" / "size.png").is_file()
    run("pick", "out", cwd=tmp_path)
    run("export", "out", "--out", "net.onnx", cwd=tmp_path)
    assert (tmp_path / "net.onnx").is_file()
    monkeypatch.setenv("RESSEARCH_PLUGINS", "0")
    _, error = run("check", "study.yaml", cwd=tmp_path, code=2)
    assert "'triple' is unknown" in error


def test_what_this_process_alone_knows_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    BLOCKS.add("mine", BLOCKS["basic"], maker=test_what_this_process_alone_knows_is_refused_before_anything_is_written)
    study = Study(space={"grid": {"block": ["basic", "mine"], "depth": 8, "width": 2}}, data={"name": "synthetic"})
    with pytest.raises(
        StudyError, match=f"blocks: 'mine' comes from {__name__}, which the processes that train do not"
    ):
        ressearch.run(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_contract_tests_of_the_page_pass(folder: Path) -> None:
    (folder / "test_my_plugins.py").write_text(pages("python")["test_my_plugins.py"])
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_plugins.py"],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert int(re.findall(r"(\d+) passed", ran.stdout)[0]) > 40


def test_architectures_of_a_plugin_round_trip_once_it_is_loaded(folder: Path) -> None:
    ressearch.load_plugin(folder / "my_blocks.py")
    ressearch.load_plugin(folder / "my_skips.py")
    network = Architecture("triple", (2, 1), skip="soft", skip_options={"strength": 0.25})  # type: ignore[arg-type]
    assert Architecture.from_name(network.name) == network
    assert network.depth == 11
    assert {
        kind for kind, one in REGISTRIES.items() if any(e.source.startswith(str(folder)) for e in one.entries())
    } == {
        "blocks",
        "skips",
    }


ROWS = {
    "block type": ("blocks", "row_block"),
    "skip style": ("skips", "row_skip"),
    "shortcut": ("shortcuts", "row_shortcut"),
    "stem": ("stems", "row_stem"),
    "preset": ("presets", "row_preset"),
    "data set": ("datasets", "row_data"),
    "augmentation": ("augmentations", "row_augmentation"),
    "sampler": ("samplers", "row_sampler"),
    "scheduler": ("schedulers", "row_scheduler"),
    "logger": ("loggers", "row_logger"),
    "plot": ("plots", "row_plot"),
}
"""What the table of CONTRIBUTING.md names, and what the plugin below adds of it."""

EVERY_ROW = '''
from pathlib import Path

import optuna
import torch
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler

from ressearch.data import Augmentation, Dataset, augmentation, dataset
from ressearch.networks.architecture import PRESETS, Architecture
from ressearch.networks.blocks import block
from ressearch.networks.layers import Activation, Conv, norm_layers
from ressearch.networks.merges import WeightedSum
from ressearch.networks.shortcuts import project, shortcut
from ressearch.networks.skips import Skip, skip
from ressearch.networks.stems import stem
from ressearch.reporting.figures import Plot, panels, plot
from ressearch.search.loggers import logger
from ressearch.search.samplers import sampler
from ressearch.search.schedulers import scheduler


@block("row_block")
def row_block(spec):
    """One convolution."""
    return spec.ordered(spec.conv(spec.in_width, spec.width, 3, stride=spec.stride))


@skip("row_skip")
class RowSkip(Skip):
    """y = s(x) + F(x)."""

    formula = "s(x) + F(x)"

    def merge(self, unit):
        """Add."""
        return WeightedSum()


@shortcut("row_shortcut")
def row_shortcut(unit):
    """A projection where the shape changes."""
    return project(unit) if unit.changes_shape else ()


@stem("row_stem", classes=10)
def row_stem(spec):
    """5x5."""
    return (Conv(spec.in_channels, spec.width, 5), *norm_layers(spec.norm, spec.width), Activation(spec.activation))


PRESETS.add(
    "row_preset",
    Architecture("row_block", (1, 1, 1), (2, 4, 8), skip="row_skip", shortcut="row_shortcut", stem="row_stem"),
    summary="a network of the plugin's own parts",
)


@dataset("row_data")
def row_data(argument, options):
    """Noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(90, 1, 8, 8, generator=generator)
    return Dataset("row_data", images, torch.arange(90) % 3, ("a", "b", "c"), "noise")


@augmentation("row_augmentation")
class RowAugmentation(Augmentation):
    """Nothing."""

    def draw(self, count, shape, generator):
        """Nothing."""
        return ()


@sampler("row_sampler")
def row_sampler(seed: int):
    """At random."""
    return optuna.samplers.RandomSampler(seed=seed)


@scheduler("row_scheduler")
def row_scheduler(metric: str, mode: str, epochs: int, grace_period: int = 1):
    """Asynchronous HyperBand."""
    return AsyncHyperBandScheduler(metric=metric, mode=mode, time_attr="epoch", max_t=epochs, grace_period=grace_period)


@logger("row_logger")
def row_logger(study: str, directory: Path):
    """A line for each trial that ends."""

    class Lines(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            with open(directory / "lines.txt", "a") as file:
                file.write(f"{study}\\n")

    return Lines()


@plot("row_plot")
def row_plot(results):
    """Epochs."""
    figure, (axes,) = panels(1)
    axes.plot(results.trials["epochs"])
    return Plot("row_plot", "Epochs", "Every trial trained.", "One point per trial.", figure)
'''

EVERY_STUDY = """
plugins: [every.py]
space:
  search: {block: row_block, skip: [row_skip, none], shortcut: row_shortcut, stem: row_stem, depth: 8, width: [2, 4]}
data: {name: row_data}
recipe: {epochs: 2, batch_size: 32, augmentation: [row_augmentation], schedule: constant}
search: {trials: 3, sampler: row_sampler, scheduler: {name: row_scheduler, grace_period: 2}, points: [row_preset]}
loggers: [row_logger]
"""


def test_a_plugin_adds_one_of_each_row_of_the_table_without_touching_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    table = re.findall(r"^\| ([\w ]+) \| `(ressearch/[\w/]+\.py)` \|", page, re.MULTILINE)
    assert [kind for kind, _ in table] == list(ROWS)
    root = Path(ressearch.__file__).parents[1]
    for kind, file in table:
        assert (root / file).is_file()
        home = file.removesuffix(".py").replace("/", ".")
        registry, _ = ROWS[kind]
        importlib.import_module(home)
        own = REGISTRIES[registry].entries()
        assert any(entry.maker.startswith(home) for entry in own), f"no {kind} is in {file}"
    (tmp_path / "every.py").write_text(EVERY_ROW)
    (tmp_path / "study.yaml").write_text(EVERY_STUDY)
    run("run", "study.yaml", "--out", "out", cwd=tmp_path)
    results = load(tmp_path / "out")
    assert results.trials["status"].tolist() == ["completed"] * 3
    assert results.trials["name"][0].startswith(
        "row_block-d1.1.1-w2.4.8+skip=row_skip+shortcut=row_shortcut+stem=row_stem"
    )
    assert (tmp_path / "out" / "lines.txt").read_text() == "study\n" * 3
    run("report", "out", "--allow-plugins", cwd=tmp_path)
    assert (tmp_path / "out" / "report" / "figures" / "row_plot.png").is_file()
    monkeypatch.chdir(tmp_path)
    for registry, name in ROWS.values():
        main(["list", registry, "--plugin", "every.py", "--json"])
        rows = json.loads(capsys.readouterr().out)
        (row,) = [row for row in rows if row["name"] == name]
        assert row["source"] == "every.py"
        assert row["summary"]
    said, _ = run("cost", "row_preset", "--plugin", "every.py", "--json", cwd=tmp_path)
    assert json.loads(said)["depth"] == 5
    run("show", "row_preset", "--plugin", "every.py", "--svg", "row.svg", cwd=tmp_path)
    _, error = run("cost", "row_preset", "--plugin", "none.py", cwd=tmp_path, code=2)
    assert error.startswith("ressearch: error: plugin none.py: no such file")


def test_a_schema_knows_the_names_of_plugins_that_are_loaded(folder: Path) -> None:
    values = yaml.safe_load(STUDY)
    validators = []
    for options in ([], [part for name in FILES for part in ("--plugin", name)]):
        text, _ = run("schema", *options, cwd=folder)
        validators.append(jsonschema.Draft7Validator(json.loads(text)))
    without, known = validators
    assert not list(known.iter_errors(values))
    assert {".".join(map(str, error.path)) for error in without.iter_errors(values)} == {
        "space.search.block",
        "space.search.skip",
        "recipe.augmentation.0",
        "search.sampler",
    }


MISTAKES = {
    "a module": ("def mine(spec):\n    return torch.nn.Conv2d(3, 3, 3)", r"returns Conv2d\(.*, no tuple of branches"),
    "nothing": ("def mine(spec):\n    spec.ordered(spec.conv(3, 3))", "returns None, no tuple of branches"),
    "no layers": ("def mine(spec):\n    return ((),)", r"returns \(\(\),\), no tuple of branches"),
    "an error": ("def mine(spec):\n    return spec.foo", r"'mine' fails \(mine.py, line 5\): AttributeError: .*'foo'"),
    "its stride": (
        "def mine(spec):\n    return spec.ordered(spec.conv(spec.in_width, spec.width))",
        "'mine': its branch gives 8x8x8, the shortcut 8x4x4: they cannot be added",
    ),
    "its width": (
        "def mine(spec):\n    return spec.ordered(spec.conv(spec.in_width, 2 * spec.width, stride=spec.stride))",
        "'mine': its branch gives 8x8x8, the shortcut 4x8x8: they cannot be added",
    ),
    "its input": (
        "def mine(spec):\n    return spec.ordered(spec.conv(spec.in_width + 1, spec.width, stride=spec.stride))",
        "'mine': a Conv of 5 channels is given 4",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistaken_block_is_one_line_wherever_it_is_met(tmp_path: Path, what: str) -> None:
    body, said = MISTAKES[what]
    (tmp_path / "mine.py").write_text(
        f"import torch\nfrom ressearch.networks.blocks import block\n@block('mine')\n{body}\n"
    )
    ressearch.load_plugin("mine.py", tmp_path)
    with pytest.raises(ArchitectureError, match=f"^block: {'.*' if said[0] != chr(39) else ''}{said}"):
        ressearch.cost(Architecture("mine", (1, 1, 1), (4, 8, 16)), (3, 8, 8))
    (tmp_path / "study.yaml").write_text(
        "plugins: [mine.py]\nspace: {search: {block: [mine], stages: 3, blocks_per_stage: 1, width: [4]}}\n"
        "search: {trials: 1}\n"
    )
    with pytest.raises(RessearchError):
        ressearch.check(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Mine(Skip):\n    formula = 'F'", "Mine lacks the method merge"),
        ("class Mine(Skip):\n    def merge(self, unit): return None", "Mine lacks formula, such as"),
        ("class Mine:\n    pass", "expected a class derived from Skip"),
        ("def mine(): pass", "expected a class derived from Skip"),
        (
            "class Mine(Skip):\n    formula = 'F'\n    a: float\n    def merge(self, unit): return None",
            "the option a needs a number as its default",
        ),
    ],
)
def test_a_mistaken_skip_is_refused_where_it_is_registered(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(f"from ressearch.networks.skips import Skip, skip\n@skip('mine')\n{text}\n")
    with pytest.raises(PluginError, match=f"plugin mine.py, line 2: skips: 'mine': {said}"):
        ressearch.load_plugin("mine.py", tmp_path)


def test_a_skip_that_merges_with_no_layer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from ressearch.networks.skips import Skip, skip\n@skip('mine')\nclass Mine(Skip):\n    formula = 'F'\n"
        "    def merge(self, unit): return max\n"
    )
    ressearch.load_plugin("mine.py", tmp_path)
    with pytest.raises(
        ArchitectureError, match="skip: 'mine' merges with <built-in function max>; expected a layer of"
    ):
        ressearch.cost(Architecture(depths=(1,), skip="mine"), (3, 8, 8))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("np.zeros((4, 3))", "its loader returns a ndarray, not a Dataset"),
        ("Dataset('mine', np.zeros((4, 3)), torch.arange(4) % 2, ('a', 'b'), 's')", "its inputs are a ndarray"),
        ("Dataset('mine', torch.zeros(4, 3), [0, 1, 0, 1], ('a', 'b'), 's')", "its labels are a list"),
        (
            "Dataset('mine', torch.zeros(4, 3), torch.zeros(4), ('a', 'b'), 's')",
            "its labels are torch.float32 of shape",
        ),
        ("Dataset('mine', torch.zeros(4, 3), torch.arange(3) % 2, ('a', 'b'), 's')", "one for each of 4 inputs"),
    ],
)
def test_a_mistaken_loader_is_one_line(tmp_path: Path, returned: str, said: str) -> None:
    from ressearch.data import load_dataset

    (tmp_path / "mine.py").write_text(
        "import numpy as np\nimport torch\nfrom ressearch.data import Dataset, dataset\n@dataset('mine_data')\n"
        f"def mine(argument, options):\n    return {returned}\n"
    )
    ressearch.load_plugin("mine.py", tmp_path)
    with pytest.raises(DataError, match=f"'mine_data': {said}|'mine_data': .*{said}"):
        load_dataset("mine_data")


BLOCK = """
from ressearch.networks.blocks import block
@block("{name}"{further})
def mine(spec):
    return spec.ordered(*[spec.conv(spec.in_width if i == 0 else spec.width, spec.width,
                                    stride=spec.stride if i == 0 else 1) for i in range({convs})])
"""


def test_what_a_changed_plugin_registers_is_costed_and_built_anew(tmp_path: Path) -> None:
    for convs in (1, 3, 2):
        (tmp_path / "mine.py").write_text(BLOCK.format(name="mine", further="", convs=convs))
        ressearch.load_plugin("mine.py", tmp_path)
        network = Architecture("mine", (1, 1, 1), (4, 8, 16))
        assert network.depth == 3 * convs + 2
        built = sum(parameter.numel() for parameter in ressearch.build(network, 3, 3).parameters())
        assert ressearch.cost(network, (3, 8, 8), 3).params == built
        assert sum(type(module).__name__ == "Conv2d" for module in ressearch.build(network).modules()) == 3 * convs + 3


def test_a_plugin_that_takes_a_built_ins_place_gives_it_back(tmp_path: Path) -> None:
    own = Architecture(depths=(1, 1, 1)).depth
    (tmp_path / "mine.py").write_text(BLOCK.format(name="basic", further=", replace=True", convs=1))
    ressearch.load_plugin("mine.py", tmp_path)
    assert Architecture(depths=(1, 1, 1)).depth == 5
    assert BLOCKS.entry("basic").source == "mine.py"
    (tmp_path / "mine.py").write_text(BLOCK.format(name="other", further="", convs=1))
    ressearch.load_plugin("mine.py", tmp_path)
    assert Architecture(depths=(1, 1, 1)).depth == own == 8
    assert BLOCKS.entry("basic").source == "ressearch"


@pytest.mark.usefixtures("ray_started")
def test_files_of_one_name_do_not_pass_for_each_other(tmp_path: Path) -> None:
    for folder, convs in (("a", 1), ("b", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my.py").write_text(BLOCK.format(name="mine", further="", convs=convs))
        (tmp_path / folder / "study.yaml").write_text(
            "plugins: [my.py]\nspace: {grid: {block: mine, width: 2, depth: "
            f"{3 * convs + 2}" + "}}\ndata: {name: synthetic}\nrecipe: {epochs: 1}\n"
        )
    ressearch.load_plugin(tmp_path / "a" / "my.py")
    with pytest.raises(PluginError, match=f"blocks: 'mine' is registered already, by {tmp_path}/a/my.py"):
        ressearch.load_plugin(tmp_path / "b" / "my.py")
    registry.forget(str(tmp_path / "a" / "my.py"))
    plugins._loaded.clear()
    first = Study.from_file(tmp_path / "a" / "study.yaml")
    Study.from_file(tmp_path / "b" / "study.yaml")  # takes the name in this process
    assert Architecture("mine", (1, 1, 1)).depth == 11
    out = ressearch.run(first, tmp_path / "out")
    assert load(out).trials["depth"].tolist() == [5]
    assert ressearch.pick(out).architecture.depth == 5
    Study.from_file(tmp_path / "b" / "study.yaml")
    with pytest.raises(PluginError, match=r"need the plugin my\.py"):  # not b's, which is loaded
        ressearch.pick(out)
    assert ressearch.pick(out, allow_plugins=True).architecture.depth == 5


@pytest.mark.usefixtures("ray_started")
def test_an_export_takes_no_other_arrays_than_the_study_had(tmp_path: Path) -> None:
    from ressearch import export

    numbers = np.random.default_rng(1)
    inputs, labels = numbers.normal(size=(80, 4)).astype("float32"), np.arange(80) % 2
    data = ressearch.data.from_arrays(inputs, labels)
    study = Study(space={"grid": {"block": "mlp", "depth": 8, "width": 4}}, data=data, recipe={"epochs": 1})
    out = ressearch.run(study, tmp_path / "out")
    with pytest.raises(StudyError, match=r"are not those that .* began with"):
        export.train(out, 0, data=ressearch.data.from_arrays(inputs + 1, labels))
    assert export.train(out, 0, data=data)[0].input_shape == (4,)
    for call in (
        lambda: ressearch.run(study, tmp_path / "b", data=(inputs, labels)),
        lambda: ressearch.resume(out, data=3),
    ):
        with pytest.raises(DataError, match=r"data: a (tuple|int) is no data set"):
            call()


def test_a_study_changed_since_it_was_read_is_not_run(tmp_path: Path) -> None:
    study = Study(space={"grid": {"depth": 8, "width": 2}}, recipe={"epochs": 1})
    with pytest.raises(StudyError, match=r"study: seed, recipe: changed since the study was read"):
        ressearch.run(
            study.model_copy(update={"seed": 7, "recipe": study.recipe.model_copy(update={"epochs": 2})}),
            tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_a_plugin_that_fails_in_the_workers_alone_is_the_trials_reason(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import sys\nif 'default_worker' in ' '.join([*sys.modules, *sys.argv]):\n"
        "    raise ValueError('only in workers')\n" + BLOCK.format(name="mine", further="", convs=1)
    )
    (tmp_path / "study.yaml").write_text(
        "plugins: [mine.py]\nspace: {grid: {block: mine, depth: 5, width: 2}}\ndata: {name: synthetic}\n"
        "recipe: {epochs: 1}\n"
    )
    out, _ = run("run", "study.yaml", "--out", "out", cwd=tmp_path)
    reason = "in the process that trains: plugin mine.py, line 3: ValueError: only in workers"
    assert load(tmp_path / "out").trials["reason"].tolist() == [reason]
    assert reason in out


def test_numpy_values_are_numbers() -> None:
    study = Study(space={"grid": {"depth": np.array([8, 14]), "width": range(2, 5, 2)}}, recipe={"lr": np.float32(0.5)})
    assert study.planned_trials == 4
    assert study.recipe.lr == 0.5
