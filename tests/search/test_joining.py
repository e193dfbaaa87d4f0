"""How Ray is started, joined and asked, with stand-ins for Ray, its processes and the network."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import ray
import torch
from ray._private import ray_constants

from ressearch.errors import ResourceError
from ressearch.search import cluster


class Answers:
    """Stands in for `subprocess.run`: answers, and notes what it was asked."""

    def __init__(self, stdout: str = "", stderr: str = "") -> None:
        self.stdout, self.stderr = stdout, stderr
        self.error: Exception | None = None
        self.asked: list[tuple[Any, Any]] = []

    def __call__(self, command: list[str], **options: Any) -> Any:
        self.asked.append((command, options))
        if self.error is not None:
            raise self.error
        return SimpleNamespace(stdout=self.stdout, stderr=self.stderr)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What the process says that asks a cluster; no address is looked at."""
    made = Answers()
    monkeypatch.setattr(cluster.subprocess, "run", made)
    monkeypatch.setattr(cluster, "_require_listener", lambda address: made.asked.append(("listener", address)))
    return made


def test_another_process_asks_a_cluster_for_its_cores_and_gpus(answers: Answers) -> None:
    answers.stdout = 'a warning\n{"CPU": 12.0, "GPU": 3}\n\n'
    assert cluster.probe("auto") == (12, 3)
    ((command, options),) = answers.asked
    assert (command[0], command[1], command[3:]) == (sys.executable, "-c", ["auto"])
    compile(command[2], "probe", "exec")
    assert options == {"capture_output": True, "text": True, "timeout": 11.0, "check": False}
    answers.asked.clear()
    assert cluster.probe("head:6379") == (12, 3)
    assert answers.asked[0] == ("listener", "head:6379")
    assert cluster.probe("head:6379").gpus == 3


@pytest.mark.parametrize(
    ("stdout", "stderr", "reason"),
    [
        ("", "", "no answer"),
        ("\n", " \n", "no answer"),
        ("", "Traceback\nValueError: no such thing\n", "ValueError: no such thing"),
        ("no JSON", "first\nlast", "last"),
        ("null", "last", "last"),
        ('{"CPU": 3}', "last", "last"),
        ('{"CPU": "many", "GPU": 0}', "last", "last"),
        ('{"kind": "RpcError", "error": "out of reach"}', "not said", "out of reach"),
        ('{"kind": "RpcError", "error": "' + "x" * 300 + '"}', "", "x" * 200),
        (
            '{"kind": "AuthenticationError", "error": "InvalidAuthToken"}',
            "",
            "the cluster asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what `ray get-auth-token` "
            "prints on its first machine",
        ),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_refused_with_its_reason(
    answers: Answers, stdout: str, stderr: str, reason: str
) -> None:
    answers.stdout, answers.stderr = stdout, stderr
    with pytest.raises(ResourceError) as caught:
        cluster.probe("head:6379")
    assert str(caught.value) == f"--address head:6379: {reason}"


@pytest.mark.parametrize(("address", "what"), [("auto", "this machine's cluster"), ("h:6379", "what listens there")])
def test_what_does_not_answer_in_time_is_no_cluster(answers: Answers, address: str, what: str) -> None:
    answers.error = subprocess.TimeoutExpired("python", 11)
    with pytest.raises(ResourceError) as caught:
        cluster.probe(address)
    assert str(caught.value) == f"--address {address}: {what} does not answer as a Ray cluster does"


@pytest.mark.parametrize("address", ["head", ":6379", "head:", "head:0", "head:65536", "head:12x", "head:-1", ""])
def test_what_is_no_address_is_refused_before_anybody_is_asked(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *given, **options: pytest.fail("asked"))
    with pytest.raises(ResourceError) as caught:
        cluster._require_listener(address)
    assert str(caught.value) == f"--address {address}: expected auto, or HOST:PORT such as 10.0.0.1:6379"


@pytest.mark.parametrize(
    ("address", "place"),
    [("head:1", ("head", 1)), ("10.0.0.1:65535", ("10.0.0.1", 65535)), ("[::1]:6379", ("::1", 6379))],
)
def test_a_connection_says_whether_anything_listens(
    address: str, place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, asked = mock.Mock(), mock.Mock()
    asked.return_value = connection
    monkeypatch.setattr(socket, "create_connection", asked)
    cluster._require_listener(address)
    asked.assert_called_once_with(place, timeout=3.0)
    connection.close.assert_called_once_with()
    asked.side_effect = ConnectionRefusedError(111, "Connection refused")
    with pytest.raises(ResourceError) as caught:
        cluster._require_listener(address)
    assert str(caught.value) == f"--address {address}: no Ray cluster answers (connection refused)"


@pytest.fixture
def environment() -> Iterator[None]:
    """Variables are as they were when the test ends, and none of Ray's is set."""
    with mock.patch.dict(os.environ):
        for key in (*cluster._ENVIRONMENT, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(key, None)
        yield


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, environment: None) -> mock.Mock:
    """Stands in for `ray.init`."""
    asked = mock.Mock()
    monkeypatch.setattr(ray, "init", asked)
    monkeypatch.setattr(cluster, "available_cpus", lambda: 6)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return asked


def test_ray_is_started_on_this_machine_alone(started: mock.Mock) -> None:
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.INFO)
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "7"  # somebody's own
    seen = {}

    def init(**options: Any) -> None:
        seen.update(enabled=ray_constants.ENABLE_RAY_CLUSTER, options=options)
        seen["variable"] = os.environ.get(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR)

    started.side_effect = init
    before = ray_constants.ENABLE_RAY_CLUSTER
    cluster.start_ray()
    assert seen == {
        "enabled": False,
        "variable": "0",
        "options": {
            "address": "local",
            "num_cpus": 6,
            "num_gpus": 2,
            "include_dashboard": False,
            "log_to_driver": False,
            "logging_level": logging.CRITICAL,
            "object_store_memory": 268_435_456,
        },
    }
    assert before == ray_constants.ENABLE_RAY_CLUSTER
    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR not in os.environ
    assert {name: logging.getLogger(name).level for name in ("ray", "ray.tune")} == {"ray": 50, "ray.tune": 50}
    assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "7"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "RAY_AUTH_TOKEN" not in os.environ  # Ray is imported, and has read its mode


def test_a_ray_that_does_not_start_is_said_in_one_line(started: mock.Mock) -> None:
    started.side_effect = RuntimeError("no room " + "x" * 300)
    with pytest.raises(ResourceError) as caught:
        cluster.start_ray()
    said = str(caught.value)
    assert said.startswith("Ray did not start on this machine: ")
    assert len(said.removeprefix("Ray did not start on this machine: ")) == 200
    assert "no room xxx" in said


@pytest.mark.parametrize("mode", [None, "token"])
@pytest.mark.parametrize("address", [None, "head:6379"])
def test_what_we_start_asks_for_a_token_of_its_own_unless_the_user_has_one(
    monkeypatch: pytest.MonkeyPatch, environment: None, tmp_path: Path, address: str | None, mode: str | None
) -> None:
    (tmp_path / "ray.py").write_text("def init(**options):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ray")  # Ray is imported by what is asked, and not before
    monkeypatch.setattr(cluster, "_on_loopback", contextlib.nullcontext)
    monkeypatch.setattr(cluster, "probe", lambda address: None)
    if mode is not None:
        os.environ["RAY_AUTH_MODE"] = mode
    cluster.start_ray(address)
    token = os.environ.get("RAY_AUTH_TOKEN")
    assert (token is not None) == (address is None and mode is None)
    assert os.environ.get("RAY_AUTH_MODE") == (mode if token is None else "token")
    if token is not None:
        assert len(bytes.fromhex(token)) == 32


def test_a_cluster_is_asked_before_it_is_joined(started: mock.Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(cluster, "probe", asked.append)
    cluster.start_ray("head:6379")
    started.assert_called_once_with(address="head:6379", log_to_driver=False, logging_level=logging.CRITICAL)
    assert asked == ["head:6379"]
    started.side_effect = RuntimeError("version mismatch " + "x" * 300)
    with pytest.raises(ResourceError) as caught:
        cluster.start_ray("head:6379")
    said = str(caught.value).removeprefix("--address head:6379: cannot be joined: ")
    assert "version mismatch xxx" in said
    assert len(said) == 200


def test_ray_that_the_caller_started_is_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    shutdown, start = mock.Mock(), mock.Mock()
    monkeypatch.setattr(ray, "shutdown", shutdown)
    monkeypatch.setattr(cluster, "start_ray", start)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with cluster.ray_running("head:6379"):
        pass
    assert not start.called
    assert not shutdown.called
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with contextlib.suppress(ZeroDivisionError), cluster.ray_running("head:6379"):
        start.assert_called_once_with("head:6379")
        assert not shutdown.called
        raise ZeroDivisionError
    shutdown.assert_called_once_with()


def test_a_cluster_is_as_large_as_it_says_and_this_machine_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "available_cpus", lambda: 6)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    resources = {"CPU": 9.0, "GPU": 4.0}
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    assert cluster.cluster_size(None) == (6, 2)
    assert cluster.cluster_size("auto") == (9, 4)
    monkeypatch.setattr(cluster, "probe", lambda address: (address, 1))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    assert cluster.available("auto") == (9, 4)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert cluster.available("auto") == ("auto", 1)
    resources.clear()
    assert cluster.cluster_size("auto") == (0, 0)
