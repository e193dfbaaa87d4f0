"""A study on record, taken up to train one of its networks: its data as they were, and seeds it has not used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ressearch.data import Dataset

if TYPE_CHECKING:
    from ressearch.results import Results
    from ressearch.search.study import Study


def study_of(
    results: Results, directory: str | Path, allow_plugins: bool = False, data: Dataset | None = None
) -> Study:
    """Return the study of some results with the data that it began with.

    Args:
        results: of the study.
        directory: where the user said that it lies, for messages.
        allow_plugins: run the plugins that came with the study, if it has any; they are code.
        data: the study's data set, if it was one in memory.

    Raises:
        PluginError: the study needs plugins that are not allowed to run, or are missing, or were changed.
        StudyError: its data have changed, or are not here.
    """
    from ressearch.search.changes import require_same_data
    from ressearch.search.study import Study

    study = Study.from_directory(results.directory, allow_plugins, data, directory)
    require_same_data(study, results.run, directory)
    return study


def fresh_seed(results: Results) -> int:
    """Return the first seed above all that the trials of a study used."""
    return 1 + int(max(max(seeds) for seeds in results.trials["seeds"]))


__all__ = ["fresh_seed", "study_of"]
