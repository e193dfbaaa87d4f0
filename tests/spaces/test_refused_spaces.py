"""A space that cannot be is refused in one whole sentence that blames one key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ressearch import SearchSpace
from ressearch.errors import SpaceError

REFUSED = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: str(case["space"])[:50])
def test_a_space_that_cannot_be_is_refused_in_this_sentence(case: dict[str, Any]) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(case["space"])
    assert (str(caught.value), caught.value.key) == (case["refused"], case["key"])
