"""Does searching pay? TPE with ASHA on a third of the MACs, against random search with every epoch trained.

For each of several seeds: random search trains its networks to the last epoch; TPE proposes and ASHA stops, within a
third of the MACs that random search trained (an epoch of a dear network costs more than one of a cheap one). Each
side's best fully trained network by validation accuracy is then trained again on fresh seeds and scored on the test
part, so that neither is judged by the score it was chosen for. Differences are paired by seed, with 95 % Student-t
intervals.

    python benchmarks/search_pays.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import ray
from common import save

from ressearch import Study, load, run
from ressearch.search.cluster import start_ray
from ressearch.statistics.intervals import mean_interval

SPACE = {
    "block": ["basic", "bottleneck", "single"],
    "blocks_per_stage": {"low": 1, "high": 8},
    "width": {"low": 4, "high": 24, "step": 2},
    "skip": ["none", "identity", "rezero"],
    "norm": ["batch", "none"],
    "norm_order": ["post", "pre"],
    "kernel_size": [1, 3],
}


def search(seed: int, epochs: int, directory: Path, data: str, **section: Any) -> dict[str, float]:
    """Run one search; returns what it spent and reached."""
    study = Study.from_dict(
        {
            "name": "pays",
            "seed": seed,
            "space": {"search": SPACE},
            "data": {"name": data},
            "recipe": {"epochs": epochs, "seeds": [seed], "gradient_clip": 1.0, "lr": 0.05, "schedule": "cosine"},
            "search": {"finalists": {"count": 1, "seeds": 3}, **section},
        }
    )
    results = load(run(study, directory))
    searched, final = results.phase("search").trials, results.phase("final").trials
    done = searched[searched["status"] == "completed"]
    return {
        "epochs": int(searched["epochs"].sum()),
        "trials": len(searched),
        "macs": float(searched["macs_trained"].sum()),
        "best_val_accuracy": float(done["val_accuracy"].max()),
        "test_accuracy": float(final["test_accuracy"].iloc[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seeds", type=int, default=8, help="repetitions [8]")
    parser.add_argument("--trials", type=int, default=48, help="networks of random search [48]")
    parser.add_argument("--epochs", type=int, default=9, help="epochs of a network [9]")
    parser.add_argument("--data", default="digits")
    arguments = parser.parse_args()
    start_ray()
    rows = []
    print(f"{'':>4}{'random search':^32}{'TPE+ASHA':^40}")
    print(f"{'seed':>4}{'epochs':>16}{'best':>8}{'test':>8}{'epochs':>16}{'trials':>8}{'best':>8}{'test':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            random = search(
                seed,
                arguments.epochs,
                Path(folder) / f"random-{seed}",
                arguments.data,
                trials=arguments.trials,
                sampler="random",
            )
            tpe = search(
                seed,
                arguments.epochs,
                Path(folder) / f"tpe-{seed}",
                arguments.data,
                sampler={"name": "tpe", "n_startup_trials": 8},
                scheduler="asha",
                budget={"macs_trained": random["macs"] / 3},
            )
            rows.append({"seed": seed, "random": random, "tpe_asha": tpe})
            print(
                f"{seed:>4}{random['epochs']:>16}{random['best_val_accuracy']:>8.3f}{random['test_accuracy']:>8.3f}"
                f"{tpe['epochs']:>16}{tpe['trials']:>8}{tpe['best_val_accuracy']:>8.3f}{tpe['test_accuracy']:>8.3f}",
                flush=True,
            )
    ray.shutdown()
    shares = [row["tpe_asha"]["macs"] / row["random"]["macs"] for row in rows]
    share = sum(shares) / len(shares)
    summary: dict[str, Any] = {"macs_share": share, "macs_shares": [min(shares), max(shares)]}
    print(f"TPE+ASHA trained {share:.2f} of random search's MACs; better by (95 %, paired over seeds)")
    for key in ("best_val_accuracy", "test_accuracy"):
        gain = mean_interval([row["tpe_asha"][key] - row["random"][key] for row in rows])
        summary[key] = {"mean": gain.mean, "low": gain.low, "high": gain.high}
        print(f"  {key:<18} {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    save("search_pays", {"command": "python benchmarks/search_pays.py", "summary": summary, "rows": rows})


if __name__ == "__main__":
    main()
