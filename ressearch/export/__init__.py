"""A trained classifier as a file.

`trained` returns one of a study's networks, with the weights that the study kept or trained once more; `save` writes
it (`FORMATS`), `load` reads it back, `ressearch.export.card` says what it is.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ressearch.errors import ArchitectureError, first_line, nearest
from ressearch.export import parity
from ressearch.export.code import Inputs, write_code
from ressearch.export.sources import Trained, find_trial, read_run_of, train, trained
from ressearch.networks.published import load_published, published_keys, to_published
from ressearch.training import classifier as classifiers
from ressearch.training.classifier import Classifier, description

__all__ = [
    "FORMATS",
    "NAMES",
    "Classifier",
    "Trained",
    "file_for",
    "find_trial",
    "load",
    "load_published",
    "published_keys",
    "read_run_of",
    "require_format",
    "require_writable",
    "save",
    "to_published",
    "train",
    "trained",
    "weights_beside",
    "write_code",
]


FORMATS = {
    ".pt": "weights and description, for `ressearch.export.load`",
    ".safetensors": "weights, with the description as metadata, for `ressearch.export.load` and others",
    ".py": "a file of plain PyTorch for this network, its weights beside it (.safetensors)",
    ".pt2": "torch.export: a program that needs torch alone",
    ".onnx": "ONNX: for onnxruntime and others",
}
"""What `save` writes, by the file's suffix."""

_NEEDS = {".onnx": ("onnx", "onnxscript")}
"""Packages that a format needs besides torch."""

NAMES = {"weights": ".pt", "safetensors": ".safetensors", "code": ".py", "pt2": ".pt2", "onnx": ".onnx"}
"""What the formats are called, and their suffixes."""


def file_for(out: str | Path, to: str | None) -> Path:
    """Return the file to write: `out`, which takes the suffix of the format's name `to` if it has none.

    Raises ArchitectureError for an unknown name, and for a file whose suffix says another format.
    """
    file = Path(out)
    if to is None:
        return file
    if to not in NAMES:
        raise ArchitectureError(f"--to {to}: is unknown; {nearest(to, NAMES)}")
    if file.suffix in FORMATS and file.suffix != NAMES[to]:
        raise ArchitectureError(f"{out}: --to {to} writes a {NAMES[to]} file; leave one of the two out")
    return file if file.suffix == NAMES[to] else file.with_name(file.name + NAMES[to])


def require_format(path: str | Path) -> str:
    """Return the suffix that says a file's format, one of `FORMATS`; to be asked before anything is trained for it.

    Raises ArchitectureError for another suffix, or where a package that writes the format is missing.
    """
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise ArchitectureError(f"{path}: no format '{suffix}'; {nearest(suffix, FORMATS)}")
    missing = [name for name in _NEEDS.get(suffix, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ArchitectureError(
            f"{path}: {suffix} needs {' and '.join(missing)}, not installed here: pip install {' '.join(missing)}"
        )
    return suffix


def require_writable(path: str | Path) -> None:
    """Raise ArchitectureError if a file cannot be made at a path; to be asked before anything is trained for it."""
    file = Path(path)
    part = file.with_name(f".{file.stem}.{os.getpid()}.part{file.suffix}")
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        raise ArchitectureError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None


def save(classifier: Classifier, path: str | Path) -> float | None:
    """Write a trained classifier in the format of the file's suffix, one of `FORMATS`; any batch size.

    The file appears whole, or not at all: it is read back and run first. Programs (``.pt2``, ``.onnx``) take inputs of
    the classifier's `input_dtype`.

    Returns:
        By how much the file's logits differ at most from the classifier's, relative to the largest logit (or 1); None
        where the file cannot be run here: ONNX without onnxruntime.

    Raises ArchitectureError as `require_format`, where the file cannot be written, or where it gives other logits.
    """
    suffix, file = require_format(path), Path(path)
    require_writable(path)
    if suffix == ".py":  # the weights first: code without them would be of no use
        save(classifier, weights_beside(file))
    part = file.with_name(f".{file.stem}.{os.getpid()}.part{suffix}")
    try:
        _WRITERS[suffix](classifier.cpu().eval(), part)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        found = _difference(classifier, suffix, part, weights_beside(file))
        if found is not None and not found <= parity.TOLERANCES[classifier.dtype]:
            raise ArchitectureError(f"{path}: not written: its logits differ by {found:.2g} from the trained network's")
        part.replace(file)
    except torch.onnx.OnnxExporterError as error:
        raise ArchitectureError(f"{path}: {first_line(error)}") from None
    except OSError as error:
        raise ArchitectureError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    finally:
        part.unlink(missing_ok=True)
    return found


def _difference(classifier: Classifier, suffix: str, part: Path, weights: Path) -> float | None:
    again = load(part) if suffix in _READ_BACK else parity.runner(suffix, part, weights)
    if again is None:
        return None
    return parity.difference(classifier, again, parity.inputs_like(classifier.input_shape, classifier.input_dtype))


_READ_BACK = (".pt", ".safetensors")
"""Formats that `load` reads."""


def _example(classifier: Classifier) -> tuple[Tensor]:
    return (torch.zeros(2, *classifier.input_shape, dtype=classifier.input_dtype),)


def _any_batch() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch", min=1, max=2**16)},)


def _write_weights(classifier: Classifier, file: Path) -> None:
    torch.save({**description(classifier), "state": classifier.state_dict()}, file)


def _write_safetensors(classifier: Classifier, file: Path) -> None:
    file.write_bytes(classifiers.to_bytes(classifier))


def _write_code(classifier: Classifier, file: Path) -> None:
    dtype, weights = str(classifier.dtype).removeprefix("torch."), f"{_final_stem(file)}.safetensors"
    inputs = Inputs(classifier.classes, classifier.input_dtype == torch.uint8, dtype, weights)
    architecture, outputs = classifier.network.architecture, len(classifier.classes)
    file.write_text(write_code(architecture, classifier.input_shape, outputs, inputs), encoding="utf-8")


def _final_stem(part: Path) -> str:
    """Return the stem that a file has once it is whole: `save` writes ``.STEM.PID.part.py`` first."""
    return part.name.removeprefix(".").rsplit(".", 3)[0]


def weights_beside(file: str | Path) -> Path:
    """Return the file of weights that stands beside a file of code."""
    return Path(file).with_suffix(".safetensors")


def _write_program(classifier: Classifier, file: Path) -> None:
    torch.export.save(torch.export.export(classifier, _example(classifier), dynamic_shapes=_any_batch()), file)


def _write_onnx(classifier: Classifier, file: Path) -> None:
    program = torch.onnx.export(
        classifier,
        _example(classifier),
        dynamo=True,
        dynamic_shapes=_any_batch(),
        input_names=["inputs"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    program.save(str(file))


_WRITERS = {
    ".pt": _write_weights,
    ".safetensors": _write_safetensors,
    ".py": _write_code,
    ".pt2": _write_program,
    ".onnx": _write_onnx,
}


_DAMAGES = (
    OSError,
    RuntimeError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    StopIteration,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What readers raise for files that are damaged or something else."""


def load(path: str | Path) -> Classifier:
    """Read a classifier that `save` wrote as ``.pt`` or ``.safetensors``, in evaluation mode; runs no code of the file.

    Raises ArchitectureError if the file is damaged or something else.
    """
    try:
        if Path(path).suffix == ".safetensors":
            return classifiers.from_file(path)[0]
        saved = torch.load(path, weights_only=True)
        return classifiers.from_description(saved, saved["state"])
    except _DAMAGES as error:
        raise ArchitectureError(f"{path}: no network that ressearch saved: {first_line(error)}") from None
