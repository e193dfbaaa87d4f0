"""Registries: everything that a study file or an architecture may name, by name, with its summary and its source.

Each kind (blocks, skips, data sets, samplers, …) has one `Registry` and one decorator in the module that holds its
built-in entries. Plugins use the same decorators: see `ressearch.plugins` and docs/extending.md.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib.metadata
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from ressearch.errors import ArchitectureError, PluginError, RegistryError, RessearchError, first_line, nearest
from ressearch.limits import short

T = TypeVar("T")

OWN = "ressearch"
"""The source of what this package brings."""


class Entry(NamedTuple, Generic[T]):
    """One registered thing.

    Attributes:
        name: what a study file calls it.
        value: what is registered.
        summary: one line on what it is.
        source: where it comes from: ``ressearch``, a plugin's file or module, a package, ``__main__``.
        maker: the function or class that was decorated, by module and qualified name.
    """

    name: str
    value: T
    summary: str
    source: str
    maker: str


_source: contextvars.ContextVar[str | None] = contextvars.ContextVar("source", default=None)

GROUP = "ressearch.plugins"
"""The entry point group by which an installed package announces modules that register things."""

_SWITCH = "RESSEARCH_PLUGINS"
"""The environment variable that leaves installed plugins out if it is 0."""

_is_filled = False
"""Whether the installed plugins were imported: as soon as a registry is asked for more than it holds."""


class Registry(Mapping[str, T]):
    """Named things of one kind, in the order in which they were registered.

    Args:
        kind: in the plural, as `ressearch list KIND` says it.
        error: what `find` raises for an unknown name.
        unknown: how that error says it; ``{name}`` stands for the name in quotes.

    Example:
        >>> dances = Registry("dances", RessearchError, "dance: {name} is unknown")
        >>> @dances.register("waltz")
        ... def waltz():
        ...     '''Three in a bar.'''
        >>> dances.find("walz")
        Traceback (most recent call last):
        ressearch.errors.RessearchError: dance: 'walz' is unknown; did you mean 'waltz'?
    """

    def __init__(self, kind: str, error: type[RessearchError], unknown: str) -> None:
        self.kind = kind
        self._error, self._unknown = error, unknown
        self._entries: dict[str, Entry[T]] = {}
        self._replaced: dict[str, Entry[T]] = {}
        REGISTRIES[kind] = self

    def register(
        self, name: str, *, make: Callable[[Any], T] | None = None, replace: bool = False
    ) -> Callable[[Any], Any]:
        """Return a decorator that registers a function or class, whose docstring's first line is its summary.

        Args:
            name: what a study file calls it.
            make: makes what is registered of what is decorated; None registers it as it is.
            replace: take the place of an entry of this name, whosever it is.
        """

        self.require_name(name)

        def decorate(thing: Any) -> Any:
            value = thing if make is None else make(thing)
            self.add(name, value, maker=thing, replace=replace)
            return thing

        return decorate

    def add(self, name: str, value: T, *, maker: Any = None, summary: str | None = None, replace: bool = False) -> None:
        """Register a value.

        Args:
            name: what a study file calls it.
            value: what is registered.
            maker: the function or class behind it, for its summary and its source [the value].
            summary: one line on what it is [the first line of the maker's docstring].
            replace: take the place of an entry of this name, whosever it is.

        Raises RegistryError for a name that is no word, or that is taken. The same function or class may be registered
        again, as when a notebook's cell is run twice.
        """
        self.require_name(name)
        maker = value if maker is None else maker
        by = f"{getattr(maker, '__module__', '')}.{getattr(maker, '__qualname__', '')}".strip(".")
        before = self._entries.get(name)
        is_again = before is not None and by != "" and before.maker == by and "<lambda>" not in by
        if before is not None and not replace and not is_again:
            raise RegistryError(
                f"{self.kind}: '{name}' is registered already, by {before.source}; choose another name, or say "
                "replace=True to take its place"
            )
        said = summary if summary is not None else (inspect.getdoc(maker) or "").partition("\n")[0]
        origin = OWN if _is_import_of_ours() else _source.get() or _package(maker)
        self._entries[name] = Entry(name, value, said, origin, by)
        if before is not None:
            if before.source != origin and name not in self._replaced:
                self._replaced[name] = before
            forget_caches()

    def require_name(self, name: object) -> None:
        """Raise RegistryError for what is no name that a study file could use."""
        if callable(name):
            raise RegistryError(f'{self.kind}: the decorator takes a name: write @...("NAME") above {_named(name)}')
        if not isinstance(name, str) or not name or not name.isprintable() or set(name) & set(_NOT_IN_NAMES):
            raise RegistryError(f"{self.kind}: {short(name)} is no name: expected letters, digits, '_', '-' and '.'")

    def remove(self, source: str) -> None:
        """Remove what a source registered; what it took the place of is there again."""
        mine = [name for name, entry in self._entries.items() if entry.source == source]
        for name in mine:
            before = self._replaced.pop(name, None)
            if before is None:
                del self._entries[name]
            else:
                self._entries[name] = before
        if mine:
            forget_caches()

    def find(self, name: object) -> T:
        """Return what is registered under a name. Raises the registry's error, with the nearest name, if nothing is."""
        try:
            return self[name]  # type: ignore[index]
        except (KeyError, TypeError):
            text = self._unknown.replace("{name}", short(name))
            raise self._error(f"{text}; {nearest(name, self)}") from None

    def entries(self) -> list[Entry[T]]:
        """Return all entries, with their summaries and sources."""
        _fill()
        return list(self._entries.values())

    def entry(self, name: str) -> Entry[T]:
        """Return one entry. Raises as `find`."""
        self.find(name)
        return self._entries[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            _fill()
        return self._entries[name].value

    def __contains__(self, name: object) -> bool:
        try:
            if name not in self._entries:
                _fill()
            return name in self._entries
        except TypeError:  # no name is a list
            return False

    def __iter__(self) -> Iterator[str]:
        _fill()
        return iter(list(self._entries))

    def __len__(self) -> int:
        _fill()
        return len(self._entries)


_NOT_IN_NAMES = " \t/\\:+=,'\"[]{}<>|*?"
"""They have a meaning in an architecture's name, a data set's, a study file or a shell."""

REGISTRIES: dict[str, Registry[Any]] = {}
"""Every registry whose module has been imported, by kind."""


_Cached = TypeVar("_Cached", bound=Callable[..., Any])

_caches: list[Callable[[], None]] = []


def cached(function: _Cached) -> _Cached:
    """Have a `functools` cache of what follows from registered things emptied when one is replaced or removed."""
    _caches.append(function.cache_clear)  # type: ignore[attr-defined]
    return function


def forget_caches() -> None:
    """Empty the caches of what follows from registered things."""
    for clear in _caches:
        clear()


def written(kind: str, name: str, call: Callable[[], T]) -> T:
    """Return what a registered function or class gives.

    Raises ArchitectureError, naming it and the line, where it fails otherwise than by an error of this package.
    """
    try:
        return call()
    except RessearchError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
        raise ArchitectureError(
            f"{kind}: '{name}' fails ({where}): {type(error).__name__}: {first_line(error)}"
        ) from None


def _named(thing: object) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))


def _is_import_of_ours() -> bool:
    """Return whether a module of this package registers something as it is imported, by a plugin perhaps."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and str(frame.f_globals.get("__name__", "")).startswith(f"{OWN}.")


def _package(maker: Any) -> str:
    """Return the source of what was not registered by a plugin: the package of its module, or the module itself."""
    module = str(getattr(maker, "__module__", "") or OWN)
    return OWN if module == OWN or module.startswith(f"{OWN}.") else module


def _fill() -> None:
    global _is_filled
    if not _is_filled:
        _is_filled = True
        _load_installed()


@contextlib.contextmanager
def source(name: str) -> Iterator[None]:
    """Have what is registered meanwhile say that it comes from `name`; nothing of it stays if an error is raised."""
    before = _snapshot()
    token = _source.set(name)
    try:
        yield
    except BaseException:
        _restore(before)
        raise
    finally:
        _source.reset(token)


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Have the registries afterwards as they were before, for tests."""
    _fill()
    before = _snapshot()
    try:
        yield
    finally:
        _restore(before)


def _snapshot() -> dict[str, dict[str, Entry[Any]]]:
    return {kind: dict(one._entries) for kind, one in REGISTRIES.items()}


def _restore(before: Mapping[str, dict[str, Entry[Any]]]) -> None:
    """Have the entries of a snapshot again, and those of this package that were registered since, by an import."""
    for kind, one in REGISTRIES.items():
        known = before.get(kind, {})
        own = {name: entry for name, entry in one._entries.items() if entry.source == OWN and name not in known}
        if one._entries != (kept := {**known, **own}):
            one._entries = kept
            forget_caches()


def by_source(name: str) -> list[tuple[str, str]]:
    """Return (kind, name) of everything that a source registered."""
    everything = ((kind, entry) for kind, registry in REGISTRIES.items() for entry in registry._entries.values())
    return [(kind, entry.name) for kind, entry in everything if entry.source == name]


def forget(name: str) -> None:
    """Remove everything that a source registered; what it took the place of is there again."""
    for registry in REGISTRIES.values():
        registry.remove(name)


def installed() -> dict[str, str]:
    """Return the version of every installed package that brings plugins, by name."""
    return {point.dist.name: point.dist.version for point in _announced() if point.dist is not None}


def _announced() -> Iterable[importlib.metadata.EntryPoint]:
    """Return the entry points of installed plugins; none where they are switched off."""
    if os.environ.get(_SWITCH, "1") in ("0", "false", "none", ""):
        return ()
    return importlib.metadata.entry_points(group=GROUP)


def _load_installed() -> None:
    """Import what installed packages announce as plugins. Raises PluginError if one cannot be imported."""
    for point in _announced():
        package = point.dist.name if point.dist is not None else point.name
        try:
            with source(package):
                point.load()
        except (Exception, SystemExit, GeneratorExit) as error:
            said = f"{type(error).__name__}: {first_line(error)}"
            raise PluginError(
                f"the installed package '{package}' announces the plugin {point.value}, which cannot be imported: "
                f"{said}; uninstall it, or set {_SWITCH}=0 to leave out all that are installed"
            ) from None


__all__ = [
    "GROUP",
    "OWN",
    "REGISTRIES",
    "Entry",
    "Registry",
    "by_source",
    "cached",
    "forget",
    "forget_caches",
    "installed",
    "source",
    "unchanged",
    "written",
]
