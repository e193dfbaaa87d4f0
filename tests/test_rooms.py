"""The rooms of the house: who imports whom, in every module, in functions and for types too."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "ressearch"

ROOMS: dict[str, set[str]] = {
    "networks": set(),
    "spaces": {"networks"},
    "data": set(),
    "training": {"networks", "data"},
    "statistics": set(),
    "results": {"networks", "statistics"},
    "search": {"networks", "spaces", "data", "training", "results", "statistics"},
    "picking": {"networks", "spaces", "data", "training", "results", "search", "statistics"},
    "reporting": {"networks", "results", "statistics", "picking"},
}
"""Which other rooms each may import. All may import what lies outside the rooms but `FACES`, which import all."""

FACES = {"export", "cli", "plots", "testing", "timm", "__main__", "__init__"}
"""What stands before the rooms."""


def module_of(path: Path) -> str:
    parts = ("ressearch", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(text: str, modules: Mapping[str, object]) -> Iterator[str]:
    """Yield the package's modules that a source text imports, anywhere in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            below = [f"{node.module}.{one.name}" for one in node.names]
            yield from (one for one in below if one in modules)
            if any(one not in modules for one in below):
                yield str(node.module)


def room_of(module: str) -> str:
    """Return a module's room; its own name if it lies outside the rooms."""
    _, _, rest = module.partition(".")
    return rest.partition(".")[0] or "__init__"


def circles(imports: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that import each other, by way of others too (Tarjan's components)."""
    reach: dict[str, set[str]] = {}
    for start in imports:
        seen, waiting = set(), list(imports[start])
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting.extend(imports.get(one, ()))
        reach[start] = seen
    found = []
    for one in sorted(imports):
        circle = {other for other in reach[one] if one in reach.get(other, ())}
        if circle and circle not in found:
            found.append(circle)
    return found


IMPORTS = {name: set(imported(path.read_text(), MODULES)) - {name} for name, path in MODULES.items()}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_its_own_room_and_those_below_it(name: str) -> None:
    room = room_of(name)
    for other in IMPORTS[name]:
        there = room_of(other)
        if room in ROOMS:
            assert there == room or there in ROOMS[room] or there not in {*ROOMS, *FACES}, f"{name} imports {other}"
        elif room not in FACES:
            assert there not in {*ROOMS, *FACES}, f"{name} imports {other}"


def test_no_modules_import_each_other() -> None:
    assert circles(IMPORTS) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_every_room_has_its_rule() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - FACES == set(ROOMS)
