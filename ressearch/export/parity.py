"""Whether a written file gives the logits of the network it was written from: it is read back and run."""

from __future__ import annotations

import importlib
import importlib.util
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[Tensor], Tensor]

TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""The largest difference of logits, relative to the largest logit (or 1), that a file may show, by its precision."""

_EXAMPLES = 4


def inputs_like(shape: tuple[int, ...], dtype: torch.dtype, count: int = _EXAMPLES) -> Tensor:
    """Return made-up inputs, the same each time: bytes from 0 to 255, or normal numbers."""
    generator = torch.Generator().manual_seed(0)
    if dtype == torch.uint8:
        return torch.randint(0, 256, (count, *shape), dtype=dtype, generator=generator)
    return torch.randn(count, *shape, generator=generator).to(dtype)


def difference(classifier: nn.Module, again: Run, inputs: Tensor) -> float:
    """Return by how much the logits of what was read back differ at most, relative to the largest (or 1).

    Args:
        classifier: what was written, on the CPU, in evaluation mode.
        again: what was read back.
        inputs: to run both on.
    """
    with torch.inference_mode():
        expected, found = classifier(inputs).float(), again(inputs).float()
    scale = max(1.0, float(expected.abs().max()))
    return float((found - expected).abs().max()) / scale


def runner(suffix: str, file: Path, weights: Path) -> Run | None:
    """Return what runs a file that is a program; None if it cannot be run here.

    Args:
        suffix: the file's format.
        file: the file.
        weights: the file of weights beside it, for code.
    """
    if suffix == ".py":
        written: Any = types.ModuleType("written")
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), written.__dict__)  # our own, just written
        loaded: Run = written.load(str(weights))
        return loaded
    if suffix == ".pt2":
        program: Run = torch.export.load(file).module()
        return program
    if suffix == ".onnx":
        return _onnx(file) if importlib.util.find_spec("onnxruntime") else None
    raise ValueError(f"nothing reads {suffix}")


def _onnx(file: Path) -> Run:
    session = importlib.import_module("onnxruntime").InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {"inputs": inputs.numpy()})[0])


__all__ = ["TOLERANCES", "difference", "inputs_like", "runner"]
