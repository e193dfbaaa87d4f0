"""The Ray cluster: started on this machine alone and ended with the study, or one that the user names and joins."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator

import torch

from ressearch.errors import ResourceError
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

    What we start listens on the loopback address, and answers only who knows a token that is made for it.

    Raises ResourceError if there is no cluster there.
    """
    os.environ.update({key: value for key, value in _ENVIRONMENT.items() if key not in os.environ})
    if address is None and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:  # Ray reads it on import
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray

    for name in ("ray", "ray.tune"):  # a trial that fails is recorded with its reason; no traceback besides
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if address is not None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:
            said = str(error).strip().splitlines()[0][:200]
            raise ResourceError(f"--address {address}: no Ray cluster answers ({said})") from None
        return
    ray.init(
        address="local",
        num_cpus=available_cpus(),
        num_gpus=torch.cuda.device_count(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        object_store_memory=256 * 1024**2,
        _node_ip_address="127.0.0.1",
    )


def cluster_size(address: str | None) -> tuple[int, int]:
    """Return the (CPU cores, GPUs) that there are for trials."""
    import ray

    if address is None:
        return available_cpus(), torch.cuda.device_count()
    resources = ray.cluster_resources()
    return int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
