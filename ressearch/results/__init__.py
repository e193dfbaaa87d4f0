"""The trial table: its schema, the store that writes it as trials progress, and `load`, which reads it back."""

from ressearch.results.store import Results, Store, load

__all__ = ["Results", "Store", "load"]
