"""The Ray cluster: started on this machine alone and ended with the study, or one that the user names and joins."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple
from unittest import mock

import torch

from ressearch.errors import ResourceError
from ressearch.remote import describe
from ressearch.search.resources import available_cpus

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Results are kept in our own journal; Tune's loggers and frequent snapshots would only write them again.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # A diverged or failed trial ends with a result that has no metric.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@contextlib.contextmanager
def ray_running(address: str | None) -> Iterator[None]:
    """Have Ray running: as the caller started it, else a cluster's, else started and ended here."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    start_ray(address)
    import ray

    try:
        yield
    finally:
        ray.shutdown()


def start_ray(address: str | None = None) -> None:
    """Start Ray on this machine alone, without dashboard or usage statistics; or join the cluster at an address.

    What we start listens on the loopback address alone, and answers only who knows a token that is made for it.

    Raises ResourceError if there is no cluster there, or one that refuses us.
    """
    os.environ.update({key: value for key, value in _ENVIRONMENT.items() if key not in os.environ})
    if address is None and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:  # Ray reads it on import
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    if address is not None:
        probe(address)
    import ray

    for name in ("ray", "ray.tune"):  # a trial that fails is recorded with its reason; no traceback besides
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if address is not None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:
            raise _refusal(address, f"cannot be joined: {describe(error)[:200]}") from None
        return
    with _on_loopback():
        try:
            ray.init(
                address="local",
                num_cpus=available_cpus(),
                num_gpus=torch.cuda.device_count(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                object_store_memory=256 * 1024**2,
            )
        except Exception as error:  # Ray raises a bare one where its processes do not come up, or are killed
            raise ResourceError(f"Ray did not start on this machine: {describe(error)[:200]}") from None


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Have Ray choose the loopback address for its node, as it does by itself on Windows and macOS.

    Asked for it as `_node_ip_address`, Ray takes the machine's outer address instead, and all its ports answer there.
    """
    from ray._private import ray_constants

    name = getattr(ray_constants, "ENABLE_RAY_CLUSTERS_ENV_VAR", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    with mock.patch.dict(os.environ, {name: "0"}), mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False):
        yield


class _Answer(NamedTuple):
    """What a cluster says of itself."""

    cpus: int
    gpus: int


def probe(address: str) -> _Answer:
    """Return the CPU cores and GPUs of the cluster at an address, without joining it.

    Ray waits a minute for a cluster that does not answer and then ends the process, so another one asks.

    Args:
        address: HOST:PORT, or ``auto`` for the cluster that runs on this machine.

    Raises ResourceError within 15 s if there is no cluster, or one that refuses us, with the reason in one line.
    """
    if address != "auto":
        _require_listener(address)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", _PROBE, address], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        what = "this machine's cluster" if address == "auto" else "what listens there"
        raise _refusal(address, f"{what} does not answer as a Ray cluster does") from None
    said = (ran.stdout.strip().splitlines() or [""])[-1]
    try:
        answer = json.loads(said)
        if "error" not in answer:
            return _Answer(int(answer["CPU"]), int(answer["GPU"]))
    except (ValueError, TypeError, KeyError):
        answer = {"error": (ran.stderr.strip().splitlines() or ["no answer"])[-1]}
    if answer.get("kind") == "AuthenticationError":
        raise _refusal(
            address,
            "the cluster asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what "
            "`ray get-auth-token` prints on its first machine",
        )
    raise _refusal(address, str(answer["error"])[:200])


_LISTENER_PATIENCE, _PATIENCE = 3.0, 11.0
"""Seconds for a connection, and for a cluster's answer, the start of a Python process included."""

_PROBE = """
import json, logging, sys
logging.disable(logging.CRITICAL)
try:
    from ray._private import services
    from ray._raylet import GcsClient
    found = services.canonicalize_bootstrap_address_or_die(sys.argv[1])
    nodes = GcsClient(address=found).get_all_node_info(timeout=5).values()
    alive = [dict(node.resources_total) for node in nodes if node.state == 0]
    print(json.dumps({key: sum(one.get(key, 0) for one in alive) for key in ("CPU", "GPU")}))
except BaseException as error:
    line = (str(error).strip().splitlines() or ["no answer"])[0]
    print(json.dumps({"kind": type(error).__name__, "error": line}))
"""


def _require_listener(address: str) -> None:
    """Raise ResourceError if nothing listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise _refusal(address, "expected auto, or HOST:PORT such as 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTENER_PATIENCE).close()
    except OSError as error:
        raise _refusal(address, f"no Ray cluster answers ({describe(error).lower()})") from None


def _refusal(address: str, reason: str) -> ResourceError:
    return ResourceError(f"--address {address}: {reason}")


def available(address: str) -> tuple[int, int]:
    """Return the (CPU cores, GPUs) of a cluster, joined or not. Raises as `probe`."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return cluster_size(address)
    return probe(address)


def cluster_size(address: str | None) -> tuple[int, int]:
    """Return the (CPU cores, GPUs) that there are for trials."""
    import ray

    if address is None:
        return available_cpus(), torch.cuda.device_count()
    resources = ray.cluster_resources()
    return int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
