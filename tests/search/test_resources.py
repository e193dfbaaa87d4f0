"""What a trial gets of a machine, how many run at once, and what does not fit in its memory: counted by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ressearch import Architecture, Study
from ressearch.errors import ResourceError
from ressearch.networks.cost import Cost
from ressearch.networks.latency import Latency
from ressearch.search import latency, memory, resources
from ressearch.search.latency import latency_filter, measures_latency
from ressearch.search.memory import machine_memory, price, require_fit
from ressearch.search.resources import Slots, trial_device, trial_resources

GIB = 2**30
NETWORK = Architecture(depths=(1, 1), widths=(4, 8))


def study(recipe: dict[str, Any] | None = None, search: dict[str, Any] | None = None, **resources: Any) -> Study:
    space = {"search": {"depth": [8, 14], "width": [4, 8]}} if search else {"grid": {"depth": [8, 14], "width": [4, 8]}}
    return Study.from_dict(
        {
            "space": space,
            "data": {"name": "synthetic"},
            "recipe": {"seeds": 2, **(recipe or {})},
            "resources": resources,
            **({"search": {"sampler": "random", **search}} if search else {}),
        }
    )


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus", "slots"),
    [
        ({}, 4, 0, (1, 0, 4)),
        ({"cpus_per_trial": 2}, 5, 0, (2, 0, 2)),
        ({"cpus_per_trial": 0.1}, 1, 0, (0.1, 0, 10)),
        ({"cpus_per_trial": 0.5, "concurrency": 3}, 4, 0, (0.5, 0, 3)),
        ({"concurrency": 9}, 4, 0, (1, 0, 4)),
        ({"gpus_per_trial": 0.25}, 16, 2, (1, 0.25, 8)),
        ({"gpus_per_trial": 0.3}, 16, 2, (1, 0.3, 6)),
        ({"gpus_per_trial": 1}, 16, 3, (1, 1, 3)),
        ({"gpus_per_trial": 0.1}, 4, 1, (1, 0.1, 4)),
        ({"gpus_per_trial": 0.0}, 4, 2, (1, 0, 4)),
    ],
)
def test_as_many_trials_run_at_once_as_their_shares_allow(
    asked: dict[str, Any], cpus: int, gpus: int, slots: tuple[float, float, int]
) -> None:
    assert trial_resources(study(**asked), cpus, gpus) == Slots(*slots)


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus", "said"),
    [
        ({"cpus_per_trial": 9}, 8, 0, "study:14: resources.cpus_per_trial: 9 CPU cores a trial, but the cluster has 8"),
        ({"gpus_per_trial": 0.5}, 8, 0, "study:14: resources.gpus_per_trial: 0.5 GPUs a trial, but the cluster has 0"),
        (
            {"gpus_per_trial": 2},
            8,
            4,
            "study:14: resources.gpus_per_trial: 2 GPUs per trial, but a trial trains on one: expected at most 1",
        ),
    ],
)
def test_a_trial_that_asks_for_more_than_there_is_is_refused(
    asked: dict[str, Any], cpus: int, gpus: int, said: str
) -> None:
    with pytest.raises(ResourceError) as caught:
        trial_resources(study(**asked), cpus, gpus)
    assert str(caught.value) == said
    assert "this machine has" in _refusal(study(cpus_per_trial=4096))


def _refusal(asking: Study) -> str:
    with pytest.raises(ResourceError) as caught:
        trial_resources(asking)
    return str(caught.value)


def test_a_trial_that_reserved_no_gpu_uses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        kind = "cuda" if there else "cpu"
        assert [trial_device(gpus).type for gpus in (None, 0.25, 1.0)] == [kind] * 3
        assert trial_device(0).type == "cpu"
        assert trial_device(0.0).type == "cpu"


def test_a_containers_limit_is_its_memory(tmp_path: Path) -> None:
    whole = machine_memory([])
    assert whole > 2**28
    for name, text in {"small": "1000\n", "max": "max\n", "none": "0", "huge": str(2**62)}.items():
        (tmp_path / name).write_text(text)
    assert machine_memory([tmp_path / "small"]) == 1000
    assert machine_memory([tmp_path / "missing", tmp_path / "max", tmp_path / "small"]) == 1000
    assert machine_memory([tmp_path / "max", tmp_path / "none", tmp_path / "huge", tmp_path / "missing"]) == whole


def test_networks_are_priced_the_cheapest_first() -> None:
    one = study()
    priced = price(one, reversed(list(one.search_space.enumerate())))
    macs = [each.macs for each, _ in priced]
    assert macs == sorted(macs)
    assert len(set(macs)) == len(priced) == 4


class Weighs(Cost):
    """A cost that needs so many bytes to train."""

    def training_memory(self, batch_size: int, optimizer_states: int = 1, bytes_per_number: int = 4) -> int:
        assert (batch_size, optimizer_states, bytes_per_number) == (64, 1, 4)
        return self.params


PRICED: Any = [
    (Weighs(GIB, 1, 1), NETWORK),
    (Weighs(3 * GIB, 1, 1), NETWORK.replace(widths=(8, 16))),
    (Weighs(2 * GIB, 9, 9), NETWORK),
]


@pytest.mark.parametrize(
    ("recipe", "slots", "least", "times", "helps", "left"),
    [
        ({"seeds": 1}, Slots(1, 0, 1), 3, "", "recipe.batch_size", "3213M"),
        ({}, Slots(1, 0, 1), 6, " x 2 seeds", "recipe.batch_size, recipe.replicates: separate", "3217M"),
        ({"replicates": "separate"}, Slots(1, 0, 1), 3, "", "recipe.batch_size", "3213M"),
        (
            {},
            Slots(1, 0, 3),
            18,
            " x 2 seeds x 3 trials at once",
            "recipe.batch_size, resources.concurrency: 1, recipe.replicates: separate",
            "3219M",
        ),
        (
            {"seeds": 1},
            Slots(1, 0, 99),
            12,
            " x 4 trials at once",
            "recipe.batch_size, resources.concurrency: 1",
            "3219M",
        ),
    ],
)
def test_what_surely_does_not_fit_is_refused_with_what_would_help(
    recipe: dict[str, Any], slots: Slots, least: int, times: str, helps: str, left: str
) -> None:
    asked = study(recipe)
    require_fit(asked, PRICED, slots, least * GIB)
    with pytest.raises(ResourceError) as caught:
        require_fit(asked, PRICED, slots, least * GIB - 8 * 10**6)
    there = f"{(least * GIB - 8 * 10**6) / GIB:.3g} GiB"
    assert str(caught.value) == (
        f"study:1: space: {NETWORK.replace(widths=(8, 16)).name} needs at least 3 GiB{times} to train, this machine "
        f"has {there}; a smaller network or {helps} helps, or search.constraints.max_training_memory: {left}, which "
        "leaves such networks out"
    )


@pytest.mark.parametrize(("share", "at_once"), [(0.25, 4), (0.3, 3), (1.0, 1)])
def test_on_a_gpu_as_many_trials_share_its_memory_as_their_shares_allow(share: float, at_once: int) -> None:
    asked = study({"seeds": 1})
    slots = Slots(1, share, 16)
    require_fit(asked, PRICED, slots, 3 * at_once * GIB)
    with pytest.raises(ResourceError) as caught:
        require_fit(asked, PRICED, slots, 3 * at_once * GIB - 1)
    assert "its GPU has" in str(caught.value)
    assert (f" x {at_once} trials at once" in str(caught.value)) is (at_once > 1)
    assert "concurrency" not in str(caught.value)


def test_what_a_gpu_of_a_cluster_holds_is_not_guessed() -> None:
    if not torch.cuda.is_available():
        require_fit(study(), [(Weighs(2**60, 1, 1), NETWORK)], Slots(1, 0.5, 2))


@pytest.mark.parametrize(
    ("size", "text"), [(10**10, "10G"), (10**10 - 1, "9999M"), (25 * 10**9 + 5, "25G"), (1_999_999, "1M"), (5, "1M")]
)
def test_bytes_are_written_as_a_study_file_takes_them_rounded_down(size: int, text: str) -> None:
    assert memory._size(size) == text


def test_sizes_and_names_are_short() -> None:
    assert memory._gib(1.5 * GIB) == "1.5 GiB"
    assert memory._gib(2**50) == "1.02e+03 TiB"
    assert memory._shortened("x" * 80) == "x" * 80
    assert memory._shortened("x" * 81) == "x" * 77 + "..."


def test_latency_is_measured_once_a_network_on_the_trials_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[Any, ...]] = []

    def measure(network: Architecture, shape: Any, classes: int, **how: Any) -> Latency:
        measured.append((network.depth, shape, classes, how))
        return latency_of_seconds({8: 0.0050, 14: 0.0051}[network.depth])

    monkeypatch.setattr(latency, "measure_latency", measure)
    asked = study(search={"trials": 2, "constraints": {"max_latency": "5ms"}}, cpus_per_trial=3)
    is_quick = latency_filter(asked)
    networks = {one.depth: one for one in asked.search_space.enumerate()}
    assert [is_quick(networks[depth]) for depth in (8, 14, 8, 14)] == [True, False, True, False]
    how = {"device": torch.device("cpu"), "threads": 3, "remember": True}
    assert measured == [(8, (1, 8, 8), 3, how), (14, (1, 8, 8), 3, how)]
    assert latency_filter(study())(NETWORK)


def test_latency_is_measured_where_a_study_bounds_or_optimises_it() -> None:
    asked = {"trials": 2, "sampler": "random"}
    assert measures_latency(study(search={**asked, "constraints": {"max_latency": "5ms"}}))
    assert measures_latency(study(search={**asked, "objective": ["val_accuracy", "latency"]}))
    assert not measures_latency(study(search={**asked, "objective": ["val_accuracy", "macs"]}))


def latency_of_seconds(seconds: float) -> Latency:
    return Latency(seconds, seconds, seconds, 1, 1, "cpu", 1, False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs of 8 GiB, of which the first is looked at."""

    def properties(index: int) -> Any:
        assert index == 0
        return SimpleNamespace(total_memory=8 * GIB)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)


@pytest.mark.usefixtures("gpu")
def test_a_gpus_own_memory_says_how_many_trials_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[Any] = []
    monkeypatch.setattr(resources, "pack", lambda study, memory: packed.append((study, memory)) or 0.25)
    monkeypatch.setattr(resources, "available_cpus", lambda: 99)
    asked = study()
    assert trial_resources(asked) == Slots(1, 0.25, 8)
    assert packed == [(asked, 8 * GIB)]
    assert trial_resources(asked, 99, 3) == Slots(1, 0.25, 12)
    assert trial_resources(asked, 99, 0) == Slots(1, 0.0, 99)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trial_resources(asked, 99, 1) == Slots(1, 0.25, 4)
    assert [memory for _, memory in packed] == [8 * GIB, 8 * GIB, 16 * GIB]  # of a cluster's GPU the usual


@pytest.mark.usefixtures("gpu")
def test_the_gpu_of_this_machine_is_what_a_trial_has_to_fit_in() -> None:
    asked = study({"seeds": 1})
    require_fit(asked, PRICED, Slots(1, 0.5, 4))
    with pytest.raises(ResourceError, match="needs at least 3 GiB x 3 trials at once to train, its GPU has 8 GiB"):
        require_fit(asked, PRICED, Slots(1, 0.33, 4))


def test_trials_are_packed_by_twice_their_memory_and_what_a_process_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = study()
    monkeypatch.setattr(resources, "cost", lambda *given: Weighs(GIB, 1, 1))
    each = 4 * GIB + 700 * 2**20  # two seeds
    for there, trials in ((each, 1), (3 * each, 3), (3 * each - 1, 2), (each - 1, 1), (99 * each, 16)):
        assert resources.pack(asked, there) == 1 / trials


def test_the_cores_that_a_process_may_use_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda pid: {0, 3, 5} if pid == 0 else {0})
    assert resources.available_cpus() == 3
    monkeypatch.delattr(resources.os, "sched_getaffinity")
    monkeypatch.setattr(resources.os, "cpu_count", lambda: 7)
    assert resources.available_cpus() == 7
    monkeypatch.setattr(resources.os, "cpu_count", lambda: None)
    assert resources.available_cpus() == 1


def test_this_machines_memory_is_its_pages_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert machine_memory([]) == 4_096_000
    monkeypatch.delattr(memory.os, "sysconf")
    assert machine_memory([]) == 2**63
