"""Data of this machine: published sets that somebody fetched or installed are what the package declares. `make
test-data` runs these; without the data they are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

import ressearch
from ressearch import Study
from ressearch.data import DATASETS, Dataset, load_dataset
from ressearch.data.files import PUBLISHED
from ressearch.errors import MissingDataError

pytestmark = pytest.mark.machine_data
STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("fashion_mnist*.yaml"))


def here(name: str) -> Dataset:
    try:
        return load_dataset(name)  # verifies the published checksums
    except MissingDataError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_set_is_what_is_declared(name: str) -> None:
    data, declared = here(name), DATASETS[name].declared
    assert declared is not None
    assert (data.input_shape, data.classes, data.source) == (declared.input_shape, declared.classes, declared.source)
    assert data.labels[: data.test_from].bincount().tolist() == list(declared.train)
    assert data.labels[data.test_from :].bincount().tolist() == list(declared.test)


def test_fashion_mnist_is_as_its_paper_says() -> None:
    data = here("fashion_mnist")
    assert data.inputs.shape == (70_000, 1, 28, 28)
    assert data.test_from == 60_000
    assert data.classes[int(data.labels[0])] == "Ankle boot"  # the first training image of the paper's figure
    assert int(data.inputs.max()) == 255


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_find_the_data_that_they_name(path: Path) -> None:
    here("fashion_mnist")
    found = ressearch.check(Study.from_file(path))
    assert found["data_is_here"]
    assert found["estimated_seconds"] > 0
