"""The latency predictor: its errors on networks that it has not seen, and how long it takes to predict.

A model is fitted to a space (layers and networks that it draws); then other networks, drawn with another seed and none
of them among those, are measured in rounds, the least disturbed of which counts, and compared with what it predicts.

    python benchmarks/latency_model.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import save
from scipy.stats import spearmanr

import ressearch
from ressearch.networks.latency import build_for_timing, time_passes
from ressearch.networks.latency_model import fit_latency_model

SHAPE = (3, 32, 32)
SPACE = {
    "block": ["basic", "bottleneck", "inverted"],
    "blocks_per_stage": {"low": 1, "high": 6},
    "width": {"low": 8, "high": 64, "step": 4},
    "skip": ["none", "identity", "rezero"],
    "norm_order": ["post", "pre"],
    "kernel_size": [3, 5],
}
SEED_OF_FIT, SEED_OF_TEST = 0, 1234
ROUNDS = 4


def measured(networks: list[ressearch.Architecture], batch_size: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of networks, and how far two rounds differ."""
    rounds = []
    for _ in range(ROUNDS):
        times = []
        for one in networks:
            network = build_for_timing(one, SHAPE, 10, torch.device("cpu"))
            inputs = torch.zeros(batch_size, *SHAPE)
            times.append(float(np.median(time_passes(lambda: network(inputs), threads, 0.1))))  # noqa: B023
        rounds.append(times)
    table = np.array(rounds)
    return table.min(0), np.abs(table[0::2].min(0) / table[1::2].min(0) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--networks", type=int, default=100, help="unseen networks that are measured [100]")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch [1]")
    parser.add_argument("--batch-size", type=int, default=1, help="inputs at once [1]")
    parser.add_argument("--budget-seconds", type=float, default=120.0, help="that measuring for the fit takes [120]")
    arguments = parser.parse_args()
    space = ressearch.SearchSpace(SPACE, input_shape=SHAPE, num_classes=10)

    start = time.perf_counter()
    model = fit_latency_model(
        space,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        budget_seconds=arguments.budget_seconds,
        seed=SEED_OF_FIT,
    )
    fitted = time.perf_counter() - start
    print(f"fitted in {fitted:.0f} s to {len(model.table)} layers; {model.error}")
    print(f"overhead {1e6 * model.overhead:.0f} us, unit {1e6 * model.per_unit:.1f} us, {model.factors}")

    seen = set(space.sample(480, seed=SEED_OF_FIT))
    unseen = [one for one in dict.fromkeys(space.sample(1000, seed=SEED_OF_TEST)) if one not in seen]
    unseen = unseen[: arguments.networks]
    start = time.perf_counter()
    predicted = np.array([model.predict(one, SHAPE, 10) for one in unseen])
    first = (time.perf_counter() - start) / len(unseen)
    many = space.sample(3000, seed=99)
    for one in many[:1500]:
        model.predict(one, SHAPE, 10)
    start = time.perf_counter()
    for one in many[1500:]:
        model.predict(one, SHAPE, 10)
    later = (time.perf_counter() - start) / 1500

    seconds, noise = measured(unseen, arguments.batch_size, arguments.threads)
    errors = np.abs(predicted / seconds - 1)
    macs = np.array([ressearch.cost(one, SHAPE, 10).macs for one in unseen])
    row = {
        "networks": len(unseen),
        "median_error": float(np.median(errors)),
        "error_90": float(np.quantile(errors, 0.9)),
        "worst_error": float(errors.max()),
        "bias": float(np.median(predicted / seconds) - 1),
        "rank_correlation": float(spearmanr(predicted, seconds).statistic),
        "rank_correlation_of_macs": float(spearmanr(macs, seconds).statistic),
        "between_rounds_median": float(np.median(noise)),
        "between_rounds_90": float(np.quantile(noise, 0.9)),
        "fastest_ms": float(1e3 * seconds.min()),
        "slowest_ms": float(1e3 * seconds.max()),
        "held_out_error": model.error._asdict(),
        "layers_measured": len(model.table),
        "fit_seconds": fitted,
        "seconds_a_prediction_first": first,
        "seconds_a_prediction_later": later,
    }
    for name, value in row.items():
        print(f"{name:<28}{value if not isinstance(value, float) else format(value, '.4g')}")
    command = f"python benchmarks/latency_model.py --threads {arguments.threads} --batch-size {arguments.batch_size}"
    save("latency_model_cpu", {"command": command, "space": SPACE, "input_shape": list(SHAPE), **row})


if __name__ == "__main__":
    main()
