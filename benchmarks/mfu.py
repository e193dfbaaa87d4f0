"""How much of the device's measured peak a training step reaches (MFU), for ResNet-20 to WRN-28-10.

The peak is measured, not read from a data sheet: the best rate of large matrix products in the same precision, by the
matrix library or as 1x1 convolutions, whichever is faster. A step counts its architecture's MACs three times (forward,
and backward by inputs and by weights), two FLOPs each.

    python benchmarks/mfu.py
"""

from __future__ import annotations

import argparse
import functools
import time

import torch
from common import save
from torch.nn import functional

from ressearch import Architecture, cost
from ressearch.training.choose import Choice, step_seconds
from ressearch.training.memory import keep_freed_memory

NETWORKS = {
    "resnet20-cifar": 128,
    "resnet56-cifar": 128,
    "resnet110-cifar": 128,
    "wrn-16-8-cifar": 128,
    "wrn-28-10-cifar": 128,
}


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the best FLOPs a second of a matrix product, by the matrix library or as a 1x1 convolution."""
    best = 0.0
    for side in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        a, b, product = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(3))
        image = a.view(side // 256, 256, 1, side).permute(0, 3, 1, 2).to(memory_format=torch.channels_last)
        kernel = b.view(side, side, 1, 1).to(memory_format=torch.channels_last)
        ways = (functools.partial(torch.mm, a, b, out=product), functools.partial(functional.conv2d, image, kernel))
        for way in ways:
            for _ in range(10):
                start = time.perf_counter()
                for _ in range(count := 1 if device.type == "cpu" else 10):
                    way()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                best = max(best, 2 * count * side**3 / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="[bfloat16 on a GPU, else float32]")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="presets")
    parser.add_argument("--batch-size", type=int, help="inputs a step [128; 32 on a CPU]")
    arguments = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if has_gpu else "cpu")
    precision = arguments.precision or ("bfloat16" if has_gpu else "float32")
    keep_freed_memory()
    peak = peak_flops(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    print(f"measured {precision} matrix peak: {peak / 1e12:.3f} TFLOP/s")
    print(f"{'network':<18}{'batch':>6}{'ms a step':>11}{'TFLOP/s':>10}{'of peak':>9}")
    rows = {}
    for name in arguments.networks:
        size = arguments.batch_size or (NETWORKS.get(name, 128) if has_gpu else 32)
        architecture = Architecture.from_name(name)
        seconds = step_seconds(architecture, (3, 32, 32), 10, size, precision, 1, device, Choice(False, True))
        flops = 6 * cost(architecture, (3, 32, 32)).macs * size / seconds
        rows[name] = {"batch_size": size, "step_seconds": seconds, "flops": flops, "mfu": flops / peak}
        print(f"{name:<18}{size:>6}{seconds * 1e3:>11.1f}{flops / 1e12:>10.3f}{flops / peak:>9.1%}", flush=True)
    result = {"command": "python benchmarks/mfu.py", "precision": precision, "peak_flops": peak, "rows": rows}
    save(f"mfu_{'gpu' if has_gpu else 'cpu'}", result)


if __name__ == "__main__":
    main()
