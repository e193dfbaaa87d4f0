"""Plugins: Python files and modules that register blocks, skips, data sets, … of somebody's own.

A study file names them (``plugins: [my_blocks.py, my_package.skips]``); installed packages announce theirs themselves
(entry points of the group ``ressearch.plugins``, see `ressearch.registry`). A file is shipped to every process that
trains and kept in the study directory; a module has to be importable there. A plugin is code: it runs where somebody
names it in a study file or a call of their own, never because a study directory that came from elsewhere asks for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ressearch import registry
from ressearch.errors import PluginError, RessearchError, first_line
from ressearch.limits import short
from ressearch.texts import UnreadableError, read_text

DIRECTORY = "plugins"
"""The directory, in a study's, of its plugins' files."""

_LARGEST = 2_000_000
"""Bytes of a plugin's file."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that was loaded.

    Attributes:
        name: as the study file names it: a path or a module.
        sha256: of its file.
        text: of its file, if a path was named: enough to load it in another process.
    """

    name: str
    sha256: str
    text: str | None = None

    @property
    def file(self) -> str | None:
        """Where its file is kept in a study directory; None for a module."""
        return f"{DIRECTORY}/{Path(self.name).name}" if self.text is not None else None

    @property
    def registered(self) -> list[tuple[str, str]]:
        """(kind, name) of everything that it registered in this process."""
        return registry.by_source(self.name)

    def record(self) -> dict[str, Any]:
        """Return what a study's `run.json` says of it."""
        return {"sha256": self.sha256, "file": self.file, "registers": [list(pair) for pair in self.registered]}


_loaded: dict[str, Plugin] = {}
"""What this process has loaded, by name."""

_modules: dict[str, ModuleType] = {}
"""The modules that files became: no other process can import them."""


def load_plugin(name: str | Path, base: str | Path | None = None) -> Plugin:
    """Load a plugin: run its file, or import its module, so that what it registers can be named.

    A file that was changed since it was loaded is loaded anew.

    Args:
        name: the path of a Python file, or the dotted name of a module that can be imported.
        base: the directory that a relative path starts from [the working directory].

    Raises:
        PluginError: there is no such file or module, or it fails; the text says in which line.

    Example:
        >>> load_plugin("no_such_module")
        Traceback (most recent call last):
        ressearch.errors.PluginError: plugin no_such_module: no such module can be imported; a file ends in .py
    """
    name = str(name)
    if _is_file(name):
        return _load_text(name, *_read(name, Path(base) if base is not None else Path()))
    return _load_module(name)


def load_shipped(plugins: Iterable[Plugin]) -> None:
    """Load the plugins of a study in a process that trains for it. Raises PluginError as `load_plugin`."""
    for plugin in plugins:
        if plugin.text is not None:
            _load_text(plugin.name, plugin.text, None)
        elif (found := _load_module(plugin.name)).sha256 != plugin.sha256:
            raise PluginError(
                f"plugin {found.name}: this machine's module is not the one that the study was begun with"
            )


def load_kept(directory: Path, run: Mapping[str, Any], is_allowed: bool, place: str | Path) -> tuple[Plugin, ...]:
    """Load the plugins that a study was begun with, from its directory; returns them.

    Args:
        directory: of the study.
        run: its `run.json`.
        is_allowed: code that came with the directory may run. What this process has loaded already need not be allowed.
        place: the directory as the user names it.

    Raises:
        PluginError: it has plugins that are not allowed to run, or one is missing, or is not what it was.
    """
    found = []
    for name, known in run.get("plugins", {}).items():
        loaded = _loaded.get(name)
        if loaded is not None and loaded.sha256 == known["sha256"]:
            found.append(loaded)
            continue
        if not is_allowed:
            raise PluginError(
                f"{place}: its networks need the plugin {name}, which is code that came with the study; "
                "--allow-plugins runs it (from Python: allow_plugins=True)"
            )
        plugin = _kept(directory, name, known, place)
        found.append(plugin)
    return tuple(found)


def require_networks(directory: Path, run: Mapping[str, Any], is_allowed: bool, place: str | Path) -> None:
    """Have a study's networks understood: load its plugins if they may run.

    Those that bring no part of a network need not. Takes and raises what `load_kept` does.
    """
    plugins = run.get("plugins", {})
    if not is_allowed:  # those that bring no part of a network are not missed
        plugins = {name: one for name, one in plugins.items() if _brings_networks(one)}
    load_kept(directory, {"plugins": plugins}, is_allowed, place)


def _brings_networks(known: Mapping[str, Any]) -> bool:
    return any(kind in _OF_NETWORKS for kind, _ in known.get("registers", [("blocks", "unknown")]))


_OF_NETWORKS = ("blocks", "skips", "shortcuts", "stems")


def _kept(directory: Path, name: str, known: Mapping[str, Any], place: str | Path) -> Plugin:
    if known.get("file") is None:
        plugin = _load_module(name)
        if plugin.sha256 != known["sha256"]:
            raise PluginError(
                f"{place}: the module {name} was changed since the study was begun; install it as it was, or run the "
                "study into a new directory"
            )
        return plugin
    file = directory / DIRECTORY / Path(known["file"]).name
    text, _ = _read(str(file.name), file.parent, f"{place}/{known['file']}")
    if _hash(text) != known["sha256"]:
        raise PluginError(
            f"{place}/{known['file']}: was changed since the study was begun; put it back, or run the study into a new "
            "directory"
        )
    return _load_text(name, text, file)


def keep(plugins: Iterable[Plugin], directory: Path) -> None:
    """Write the plugins' files into a study directory."""
    for plugin in plugins:
        if plugin.file is not None and plugin.text is not None:
            file = directory / plugin.file
            file.parent.mkdir(exist_ok=True)
            file.write_text(plugin.text, encoding="utf-8")


def modules() -> list[ModuleType]:
    """Return the modules that plugins' files became: what is sent to another process has to carry them along."""
    return list(_modules.values())


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Have no plugin stay that is loaded meanwhile, for tests."""
    before, modules_before = dict(_loaded), dict(_modules)
    try:
        with registry.unchanged():
            yield
    finally:
        _loaded.clear()
        _loaded.update(before)
        _modules.clear()
        _modules.update(modules_before)


def require_distinct(names: Iterable[str]) -> None:
    """Raise PluginError if two plugins of a study would be kept in one file, or one is named twice."""
    seen: dict[str, str] = {}
    for name in names:
        key = Path(name).name if _is_file(name) else name
        if key in seen:
            raise PluginError(f"{name}: {seen[key]} has the same name" if seen[key] != name else f"{name}: named twice")
        seen[key] = name


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name or "\\" in name


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(name: str, base: Path, said: str | None = None) -> tuple[str, Path]:
    said = f"plugin {name}" if said is None else said
    file = base / name
    try:
        return read_text(file, _LARGEST), file
    except FileNotFoundError:
        near = sorted(one.name for one in file.parent.glob("*.py")) if file.parent.is_dir() else []
        hint = f"; {file.parent} holds {', '.join(near[:5])}" if near else ""
        raise PluginError(f"{said}: no such file{hint}") from None
    except UnreadableError as error:
        raise PluginError(f"{said}: {error}") from None


def _load_text(name: str, text: str, file: Path | None) -> Plugin:
    """Run a plugin's text as a module of its own, once."""
    plugin = Plugin(name, _hash(text), text)
    if _loaded.get(name) == plugin:
        return plugin
    registry.forget(name)
    filename = str(file.resolve()) if file is not None else f"<plugin {name}>"
    text = text.removeprefix("\ufeff")  # as editors on Windows begin a file, and Python takes it
    stem = "".join(c if c.isalnum() else "_" for c in Path(name).stem)
    module = ModuleType(f"ressearch_plugin_{stem}_{_hash(filename)[:8]}")
    module.__file__ = filename
    linecache.cache[filename] = len(text), None, text.splitlines(keepends=True), filename
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        with registry.source(name):
            exec(compile(text, filename, "exec"), module.__dict__)
    except (Exception, SystemExit, GeneratorExit) as error:
        _loaded.pop(name, None)
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
        raise _failure(name, error, filename) from None
    _loaded[name], _modules[name] = plugin, module
    return plugin


def _load_module(name: str) -> Plugin:
    if not all(part.isidentifier() for part in name.split(".")):
        raise PluginError(f"plugin {short(name)}: is neither a file that ends in .py nor a module's name")
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # the package above it is missing
        found = None
    except Exception as error:
        raise PluginError(f"plugin {name}: {type(error).__name__}: {first_line(error)}") from None
    if found is None:
        raise PluginError(f"plugin {name}: no such module can be imported; a file ends in .py")
    try:
        with registry.source(name):
            importlib.import_module(name)
    except (Exception, SystemExit, GeneratorExit) as error:
        raise _failure(name, error, found.origin or name) from None
    text = Path(found.origin).read_bytes() if found.origin and Path(found.origin).is_file() else b""
    plugin = _loaded[name] = Plugin(name, hashlib.sha256(text).hexdigest())
    return plugin


def _failure(name: str, error: BaseException, filename: str) -> PluginError:
    """Return one line on why a plugin cannot be loaded, with the line of its file."""
    frames = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == filename]
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
    where = f"plugin {name}" + (f", line {line}" if line else "")
    if isinstance(error, RessearchError):
        return PluginError(f"{where}: {error}")
    return PluginError(f"{where}: {type(error).__name__}: {first_line(error)}")


__all__ = [
    "DIRECTORY",
    "Plugin",
    "isolated",
    "keep",
    "load_kept",
    "load_plugin",
    "load_shipped",
    "require_distinct",
    "require_networks",
]
