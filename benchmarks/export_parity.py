"""Does every network give its own logits in every file it is exported to? (no speed: it counts what differs)

Every preset at its true architecture, and networks drawn from spaces of images, vectors and sequences, are written as
code, safetensors, pt2 and ONNX, read back and run on inputs as their data hold them. Weights and statistics are drawn
at random and the norms' statistics set by a batch, so that no two tensors can be swapped unseen. Published networks see
images of 64 pixels at most: nothing of what is written depends on the side but torch.export's program.

Each network has a process of its own, with a time limit per format; what does not end in it is listed, and counts as
a failure. The results are written after each network: `--go-on` takes those that are there; what is missing is counted.

    python benchmarks/export_parity.py              # --only NAME, --drawn 60, --seconds 400, --go-on
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, save
from torch import nn

from ressearch import Architecture, SearchSpace, build, export
from ressearch.export import Classifier
from ressearch.export.parity import TOLERANCES
from ressearch.networks.cost import input_channels
from ressearch.networks.presets import PRESETS, published_input

SIDE, CLASSES = 64, 10
PASSES = (("code", "safetensors"), ("pt2", "onnx"))
FORMATS = tuple(name for formats in PASSES for name in formats)

SPACES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "images": (
        (3, 32, 32),
        {
            "block": ["basic", "bottleneck", "inverted", "fused_inverted", "convnext"],
            "depths": [(1, 2), (2, 1, 2), (1, 1, 1, 1)],
            "width": [8, 16],
            "skip": ["none", "identity", "rezero", "highway", "stochastic_depth"],
            "norm": ["batch", "group", "layer"],
            "norm_order": ["post", "pre"],
            "activation": ["relu", "silu", "gelu"],
            "se_ratio": [0.0, 0.25],
            "kernel_size": [3, 5],
            "shortcut": ["pad", "projection", "projection_all", "avgpool_projection"],
            "stem": ["cifar", "imagenet", "simple", "patch"],
        },
    ),
    "grey": (
        (1, 8, 8),
        {"depth": [8, 14, 20], "width": [4, 8], "skip": ["none", "identity"], "group_width": [None, 4]},
    ),
    "vectors": ((30,), {"block": "mlp", "depths": [(2,), (4,)], "width": [16, 32], "norm": ["batch", "layer", "none"]}),
    "sequences": ((8, 4), {"block": "transformer", "depths": [(2,), (4,)], "width": [16, 32], "dropout": [0.0, 0.1]}),
}

Case = tuple[str, Architecture, tuple[int, ...], int | None]


def drawn(count: int) -> list[Case]:
    """Return networks drawn from the spaces, half of them of the largest, always the same."""
    shares = {"images": count // 2, "grey": count // 6, "vectors": count // 6}
    shares["sequences"] = count - sum(shares.values())
    cases: list[Case] = []
    for name, (shape, parameters) in SPACES.items():
        found = SearchSpace(parameters, input_shape=shape, num_classes=CLASSES).sample(shares[name], seed=17)
        cases += [(f"{name}: {one.name}", one, shape, CLASSES) for one in found]
    return cases


def published() -> list[Case]:
    """Return every preset on images of its data, or of 64 pixels."""
    cases: list[Case] = []
    for name, architecture in PRESETS.items():
        channels, *sides = published_input(name)
        cases.append((name, architecture, (channels, *(min(side, SIDE) for side in sides)), None))
    return cases


def made(architecture: Architecture, shape: tuple[int, ...], classes: int | None) -> Classifier:
    """Return a classifier with a value of its own in every tensor."""
    torch.manual_seed(0)
    classes = classes or architecture.default_classes
    channels = input_channels(shape)
    network = build(architecture, channels, classes)
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for norm in norms:
            norm.momentum = 1.0
        network.train()(torch.randn(8, *shape))
    for norm in norms:
        norm.momentum = 0.1
    sides = (1, 1) if len(shape) == 3 else ()
    mean, std = 100 + 20 * torch.rand(channels, *sides), 50 + 10 * torch.rand(channels, *sides)
    dtype = torch.uint8 if len(shape) == 3 else torch.float32
    return Classifier(network, mean, std, [f"class {one}" for one in range(classes)], shape, dtype).eval()


def work(case: Case, formats: tuple[str, ...], pipe: Connection) -> None:
    """Export one network to some formats and send what came of each."""
    torch.set_num_threads(1)
    _, architecture, shape, classes = case
    try:
        classifier = made(architecture, shape, classes)
    except Exception as error:
        pipe.send(("build", f"{type(error).__name__}: {error}"[:200], 0.0, 0))
        return
    pipe.send(("build", None, 0.0, 0))
    for name in formats:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / f"net{export.NAMES[name]}"
            began = time.perf_counter()
            try:
                found: Any = export.save(classifier, file)
            except Exception as error:
                found = f"{type(error).__name__}: {error}"[:200]
            size = file.stat().st_size if file.exists() else 0
            pipe.send((name, found, time.perf_counter() - began, size))


def measure(case: Case, formats: tuple[str, ...], seconds: float) -> dict[str, dict[str, Any]]:
    """Return by format the difference, or why there is none, the seconds and bytes it took."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(case, formats, theirs))
    process.start()
    theirs.close()
    rows: dict[str, dict[str, Any]] = {}
    for name in ("build", *formats):
        try:
            if not ours.poll(seconds):
                rows[name] = {"failure": f"not done in {seconds:g} s"}
                break
            name, found, took, size = ours.recv()
        except EOFError:
            process.join()
            rows[name] = {"failure": f"its process ended with {process.exitcode}"}
            break
        if name != "build" or found is not None:
            what = {"failure": found} if isinstance(found, str) else {"difference": found}
            rows[name] = {**what, "seconds": round(took, 2), "bytes": size}
    process.kill()
    process.join()
    return rows


Found = dict[str, dict[str, dict[str, Any]]]


def summary(found: Found) -> dict[str, dict[str, Any]]:
    """Return the worst difference, the largest file and the slowest export by format, and what failed or is missing."""
    summed = {}
    for name in FORMATS:
        rows = [rows[name] for rows in found.values() if rows.get(name, {}).get("difference") is not None]
        failures = sum("failure" in rows.get(name, rows.get("build", {})) for rows in found.values())
        summed[name] = {
            "networks": len(rows),
            "failures": failures,
            "missing": len(found) - len(rows) - failures,
            "worst_difference": max((row["difference"] for row in rows), default=None),
            "largest_bytes": max((row["bytes"] for row in rows), default=None),
            "slowest_seconds": max((row["seconds"] for row in rows), default=None),
            "seconds": round(sum(row["seconds"] for row in rows), 1),
        }
    return summed


def show(found: Found) -> None:
    """Print the summary as a table, and every failure."""
    print(f"{'format':<12} {'networks':>8} {'failures':>8} {'missing':>8} {'worst':>9} {'largest':>9} {'slowest':>8}")
    for name, one in summary(found).items():
        if one["networks"]:
            print(
                f"{name:<12} {one['networks']:>8} {one['failures']:>8} {one['missing']:>8} "
                f"{one['worst_difference']:>9.1e} {one['largest_bytes'] / 1e6:>7.1f}MB {one['slowest_seconds']:>7.1f}s"
            )
    for name, rows in found.items():
        for key, row in rows.items():
            if "failure" in row:
                print(f"failed: {name}, {key}: {row['failure']}")


def main() -> None:
    """Export everything that is asked for and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=int, default=60, help="networks drawn at random; equal ones count once")
    parser.add_argument("--only", help="names that contain this alone; nothing is saved")
    parser.add_argument("--seconds", type=float, default=400.0, help="most for one format of one network")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS, help="formats to write")
    parser.add_argument("--go-on", action="store_true", help="keep the results that are there")
    asked = parser.parse_args()
    cases = [one for one in (*drawn(asked.drawn), *published()) if asked.only is None or asked.only in one[0]]
    file = RESULTS / "export_parity.json"
    known: Found = json.loads(file.read_text())["networks"] if asked.go_on and file.is_file() else {}
    found: Found = {case[0]: known.get(case[0], {}) for case in cases}
    for formats in PASSES:
        for case in cases:
            rows = found[case[0]]
            todo = tuple(one for one in formats if one in asked.formats and "difference" not in rows.get(one, {}))
            if not todo:
                continue
            rows.update(measure(case, todo, asked.seconds))
            print(
                case[0], {name: rows[name].get("difference", rows[name]) for name in todo if name in rows}, flush=True
            )
            if asked.only is None:
                tolerance = TOLERANCES[torch.float32]
                save("export_parity", {"tolerance": tolerance, "formats": summary(found), "networks": found})
    show(found)


if __name__ == "__main__":
    main()
