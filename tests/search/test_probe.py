"""What is said of a cluster that does not answer, refuses, or is none: the asking process stood in for."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ressearch.errors import ResourceError
from ressearch.search import cluster


def answering(monkeypatch: pytest.MonkeyPatch, out: str = "", error: str = "", late: bool = False) -> list[Any]:
    asked: list[Any] = []

    def run(command: list[str], **options: Any) -> Any:
        asked.append(
            (command[0], command[1], command[3], options["timeout"], options["capture_output"], options["text"])
        )
        if late:
            raise subprocess.TimeoutExpired(command, 1)
        return SimpleNamespace(stdout=out, stderr=error)

    monkeypatch.setattr(cluster.subprocess, "run", run)
    monkeypatch.setattr(cluster, "_require_listener", lambda address: asked.append(("listener", address)))
    return asked


def refusal(address: str = "10.0.0.1:6379") -> str:
    with pytest.raises(ResourceError) as caught:
        cluster.probe(address)
    return str(caught.value)


def test_a_cluster_says_its_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, 'noise\n{"CPU": 64.0, "GPU": 8.0}\n')
    assert cluster.probe("10.0.0.1:6379") == (64, 8)
    assert asked == [("listener", "10.0.0.1:6379"), (sys.executable, "-c", "10.0.0.1:6379", 11.0, True, True)]
    asked.clear()
    assert cluster.probe("auto") == (64, 8)
    assert asked == [(sys.executable, "-c", "auto", 11.0, True, True)]


@pytest.mark.parametrize(
    ("address", "what"),
    [("auto", "this machine's cluster"), ("10.0.0.1:6379", "what listens there")],
)
def test_one_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch, address: str, what: str) -> None:
    answering(monkeypatch, late=True)
    assert refusal(address) == f"--address {address}: {what} does not answer as a Ray cluster does"


@pytest.mark.parametrize(
    ("out", "error", "said"),
    [
        (json.dumps({"kind": "RuntimeError", "error": "x" * 300}), "", "x" * 200),
        ("", "Traceback\n  ...\nSegmentation fault\n", "Segmentation fault"),
        ("", "", "no answer"),
        ("[]", "", "no answer"),
        ('{"CPU": "many", "GPU": 0}', "odd", "odd"),
        (
            '{"kind": "AuthenticationError", "error": "denied"}',
            "",
            "the cluster asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what "
            "`ray get-auth-token` prints on its first machine",
        ),
    ],
)
def test_one_that_refuses_is_said_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, out: str, error: str, said: str
) -> None:
    answering(monkeypatch, out, error)
    assert refusal() == f"--address 10.0.0.1:6379: {said}"


@pytest.mark.parametrize("address", ["nowhere", ":6379", "host:", "host:x", "host:0", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(cluster.subprocess, "run", lambda *given, **more: pytest.fail("asked"))
    monkeypatch.setattr(cluster.socket, "create_connection", lambda *given, **more: pytest.fail("connected"))
    assert refusal(address) == f"--address {address}: expected auto, or HOST:PORT such as 10.0.0.1:6379"


def test_a_listener_is_looked_for_by_host_and_port_for_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def connect(place: tuple[str, int], timeout: float) -> Any:
        asked.append((place, timeout))
        if place[1] == 1:
            raise ConnectionRefusedError(111, "Connection refused")
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(cluster.socket, "create_connection", connect)
    cluster._require_listener("[::1]:65535")
    with pytest.raises(ResourceError, match=r"^--address host:1: no Ray cluster answers \(connection refused\)$"):
        cluster._require_listener("host:1")
    assert asked == [(("::1", 65535), 3.0), (("host", 1), 3.0)]


def test_a_joined_cluster_counts_what_it_has_and_this_machine_what_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    import torch

    from ressearch.search.resources import available_cpus

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 12.0, "memory": 1.0})
    assert cluster.available("10.0.0.1:6379") == (12, 0)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": 3.0})
    assert cluster.cluster_size("auto") == (0, 3)
    assert cluster.cluster_size(None) == (available_cpus(), torch.cuda.device_count())
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "probe", lambda address: (7, 1))
    assert cluster.available("10.0.0.1:6379") == (7, 1)
