"""One network: its description, its layers, its modules, its cost."""

from ressearch.networks import presets  # noqa: F401  (fills the names that `Architecture.preset` knows)
