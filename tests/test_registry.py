"""What may be named: registered once, found with the nearest name, listed with its summary and its source."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ressearch import Architecture, registry
from ressearch.errors import ArchitectureError, DataError, RegistryError
from ressearch.networks.blocks import BLOCKS, BlockSpec, block, weighted_layers
from ressearch.registry import REGISTRIES, Registry

HOMES = (
    "ressearch.networks.blocks",
    "ressearch.networks.presets",
    "ressearch.data",
    "ressearch.search.samplers",
    "ressearch.search.schedulers",
    "ressearch.search.loggers",
    "ressearch.reporting.plots",
)
KINDS = {
    "blocks",
    "skips",
    "shortcuts",
    "stems",
    "presets",
    "datasets",
    "augmentations",
    "samplers",
    "schedulers",
    "plots",
    "analyses",
    "loggers",
}
for home in HOMES:
    importlib.import_module(home)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with registry.unchanged():
        yield


@pytest.fixture
def dances() -> Iterator[Registry[object]]:
    yield Registry("dances", DataError, "dance {name} is unknown")
    del REGISTRIES["dances"]


def test_there_is_one_registry_for_each_kind_and_each_entry_says_what_it_is() -> None:
    assert set(REGISTRIES) - {"dances"} == KINDS  # which a docstring shows
    for kind, one in ((kind, REGISTRIES[kind]) for kind in KINDS):
        assert one.kind == kind
        for entry in one.entries():
            assert entry.summary.strip(), (kind, entry.name)
            assert "\n" not in entry.summary
            assert entry.source == "ressearch"
            assert one[entry.name] is entry.value


def test_it_is_a_mapping_in_the_order_of_registration(dances: Registry[object]) -> None:
    dances.add("waltz", 3)
    dances.add("tango", 2)
    dances.add("polka", 2)
    assert list(dances) == ["waltz", "tango", "polka"]
    assert len(dances) == 3
    assert dict(dances) == {"waltz": 3, "tango": 2, "polka": 2}
    assert dances.get("jig") is None
    assert "waltz" in dances
    assert "jig" not in dances
    assert [] not in dances  # type: ignore[operator]


def test_an_unknown_name_is_answered_with_the_nearest(dances: Registry[object]) -> None:
    dances.add("waltz", 3)
    with pytest.raises(DataError, match=r"^dance 'walz' is unknown; did you mean 'waltz'\?"):
        dances.find("walz")
    with pytest.raises(DataError, match=r"^dance \['waltz'\] is unknown"):
        dances.find(["waltz"])
    with pytest.raises(DataError, match="dance 'walz' is unknown"):
        dances.entry("walz")
    assert dances.entry("waltz").value == 3


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(dances: Registry[object]) -> None:
    dances.add("waltz", 3)
    with pytest.raises(
        RegistryError, match=r"dances: 'waltz' is registered already, by ressearch; choose another name"
    ):
        dances.add("waltz", 4)
    assert dances["waltz"] == 3
    dances.add("waltz", 4, replace=True)
    assert dances["waltz"] == 4

    @dances.register("jig")
    def jig() -> int:
        """Six eighths.

        And more.
        """
        return 6

    dances.register("jig")(jig)  # the same function: a notebook's cell that is run twice
    assert dances["jig"] is jig
    assert dances.entry("jig").summary == "Six eighths."
    assert dances.entry("jig").source == __name__
    with pytest.raises(RegistryError, match=f"'jig' is registered already, by {__name__}"):
        dances.register("jig")(lambda: 7)
    dances.add("reel", lambda: 1)
    with pytest.raises(RegistryError, match="'reel' is registered already"):
        dances.add("reel", lambda: 2)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", "a+b", "a=b", "a\n", "a,b", 3, None, "[a]"])
def test_names_that_would_mean_something_else_are_refused(dances: Registry[object], name: str) -> None:
    with pytest.raises(RegistryError, match="is no name"):
        dances.add(name, 1)
    assert len(dances) == 0


def test_what_follows_from_an_entry_is_forgotten_when_it_is_replaced() -> None:
    def two(spec: BlockSpec) -> object:
        return spec.ordered(spec.conv(spec.in_width, spec.width, stride=spec.stride), spec.conv(spec.width, spec.width))

    def one(spec: BlockSpec) -> object:
        return spec.ordered(spec.conv(spec.in_width, spec.width, stride=spec.stride))

    block("mine")(two)  # type: ignore[arg-type]
    assert weighted_layers("mine") == 2
    block("mine", replace=True)(one)  # type: ignore[arg-type]
    assert weighted_layers("mine") == 1
    assert Architecture("mine", (3,)).depth == 5


def test_a_cache_is_emptied_where_an_entry_is_replaced_or_goes(dances: Registry[object]) -> None:
    calls: list[str] = []

    @registry.cached
    @functools.cache
    def bars(name: str) -> int:
        calls.append(name)
        return int(str(dances[name]))

    dances.add("waltz", 3)
    dances.add("tango", 2)
    assert [bars("waltz"), bars("waltz")] == [3, 3]
    assert calls == ["waltz"]
    with registry.source("other.py"):
        dances.add("waltz", 4, replace=True)
    assert bars("waltz") == 4
    assert dances.entry("waltz").source == "other.py"
    registry.forget("other.py")
    assert bars("waltz") == 3  # what was there before is there again
    assert dances.entry("waltz").source == "ressearch"
    assert bars("tango") == 2


def test_a_decorator_without_its_name_says_so() -> None:
    with pytest.raises(RegistryError, match=r'blocks: the decorator takes a name: write @...\("NAME"\) above mine'):

        @block  # type: ignore[arg-type]
        def mine(spec: BlockSpec) -> object:
            return ()


def test_a_source_that_fails_leaves_nothing_behind() -> None:
    before = {kind: list(one) for kind, one in REGISTRIES.items()}

    def fail() -> None:
        with registry.source("bad.py"):
            BLOCKS.add("half", BLOCKS["basic"])
            assert BLOCKS.entry("half").source == "bad.py"
            assert registry.by_source("bad.py") == [("blocks", "half")]
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fail()
    assert {kind: list(one) for kind, one in REGISTRIES.items()} == before
    assert registry.by_source("bad.py") == []
    with registry.source("good.py"):
        BLOCKS.add("half", BLOCKS["basic"])
    assert Architecture("half", (2,)).name.startswith("half-")
    registry.forget("good.py")
    with pytest.raises(ArchitectureError, match="block: 'half' is unknown"):
        Architecture("half", (2,))


def _announce(directory: Path, package: str, code: str) -> None:
    (directory / f"{package}_plugin.py").write_text(code)
    info = directory / f"{package}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[ressearch.plugins]\nany = {package}_plugin\n")


def test_installed_packages_bring_theirs_as_soon_as_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_is_filled", False)
    code = "from ressearch.networks.blocks import BLOCKS\nBLOCKS.add('theirs', BLOCKS['basic'])\n"
    _announce(tmp_path, "theirs", code)
    monkeypatch.setenv("RESSEARCH_PLUGINS", "0")
    assert registry.installed() == {}
    assert "theirs" not in BLOCKS
    monkeypatch.setenv("RESSEARCH_PLUGINS", "1")
    monkeypatch.setattr(registry, "_is_filled", False)
    assert registry.installed() == {"theirs": "1.5"}
    assert BLOCKS["basic"]  # what is there asks nobody
    assert not registry._is_filled
    assert Architecture("theirs", (2,)).depth == 6
    assert BLOCKS.entry("theirs").source == "theirs"


def test_an_installed_package_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_is_filled", False)
    _announce(tmp_path, "broken", "import no_such_thing\n")
    with pytest.raises(
        registry.PluginError,
        match="installed package 'broken' announces the plugin broken_plugin, which cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_thing'; uninstall it, or set RESSEARCH_PLUGINS=0",
    ):
        list(BLOCKS)


def test_what_a_plugin_imports_of_the_package_stays_the_packages_own_if_the_plugin_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import ressearch.search.samplers\nimport ressearch.reporting.plots\n1 / 0\n")
    code = (
        "from ressearch import load_plugin, registry\n"
        "from ressearch.reporting import figures\n"  # declares the registry of plots; another module fills it
        "try:\n"
        f"    load_plugin({str(tmp_path / 'bad.py')!r})\n"
        "except registry.PluginError as error:\n"
        "    print(str(error).partition(': ')[2])\n"
        "from ressearch.search.samplers import SAMPLERS\n"
        "print(SAMPLERS.entry('tpe').source, len(figures.PLOTS), figures.PLOTS.entry('depth_accuracy').source)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True).stdout
    assert said.splitlines() == ["ZeroDivisionError: division by zero", "ressearch 6 ressearch"]
