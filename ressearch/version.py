"""The version of the package: the one place that states it. pyproject.toml, `--version` and `run.json` read it here."""

__version__ = "0.1.0"
