"""Files under published names that hold something else: what is refused, and where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_sources import LABELS, idx, write_cifar, write_idx

from ressearch.data import Options, load_dataset, registry
from ressearch.errors import DataError


@pytest.mark.parametrize("highest", [7, 9, 11])
def test_a_class_without_an_example_is_refused_with_the_place_of_the_files(highest: int, tmp_path: Path) -> None:
    """Of labels 0, 1, 2 and one higher: class 3 has no example; ten classes have their published names."""
    labels = np.where(np.arange(24) == 20, highest, LABELS)
    name = {7: "3", 9: "Dress", 11: "3"}[highest]
    root = write_idx(tmp_path / "idx")
    (root / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(labels[18:].astype(np.uint8)))
    registry._loaded.cache_clear()
    with pytest.raises(DataError) as refused:
        load_dataset("fashion_mnist", Options(root=str(root), verify=False))
    assert str(refused.value) == f"{root}: no example of class {name}"
    for way in ("python", "binary"):
        (tmp_path / way).mkdir()
        file = write_cifar(tmp_path / way / f"cifar-10-{way}.tar.gz", labels=labels)
        with pytest.raises(DataError) as refused:
            load_dataset("cifar10", Options(root=str(file.parent), verify=False))
        assert str(refused.value) == f"{file}: no example of class {name if highest != 9 else 'cat'}"
