"""A trained classifier as a file.

`train` trains one of a study's networks, `save` writes it (`FORMATS`), `load` reads it back.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ressearch.data import Dataset
from ressearch.errors import ArchitectureError, StudyError, first_line, nearest
from ressearch.export import parity
from ressearch.export.code import Inputs, write_code
from ressearch.networks.architecture import Architecture
from ressearch.networks.build import build
from ressearch.networks.cost import input_channels
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.published import load_published, published_keys, to_published
from ressearch.shapes import Shape

__all__ = [
    "FORMATS",
    "Classifier",
    "load",
    "load_published",
    "published_keys",
    "require_format",
    "require_writable",
    "save",
    "to_published",
    "train",
    "weights_beside",
    "write_code",
]


class Classifier(nn.Module):
    """A trained network with what its inputs need: maps inputs as the data hold them to logits.

    Attributes:
        network: the trained network.
        mean, std: of the training data, by channel (feature); inputs are normalised by them.
        classes: the classes' names, in the order of the logits.
        input_shape: one input's shape, without the batch.
        input_dtype: as the data hold inputs: ``torch.uint8`` (pixels) or ``torch.float32``. Called from Python a
            classifier takes either; a program that `save` writes takes this one alone.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: ResidualNetwork,
        mean: Tensor,
        std: Tensor,
        classes: Sequence[str],
        input_shape: Shape,
        input_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network, self.classes, self.input_shape = network, tuple(classes), tuple(input_shape)
        self.input_dtype = input_dtype
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, *input_shape), pixels or numbers as the data hold them, to logits (batch, classes)."""
        logits: Tensor = self.network((inputs.to(self.mean.dtype) - self.mean) / self.std)
        return logits


def train(
    directory: str | Path, trial: int, allow_plugins: bool = False, data: Dataset | None = None
) -> tuple[Classifier, float]:
    """Train one of a study's networks once more, under its recipe and on a seed that the study has not used.

    Args:
        directory: a study directory.
        trial: the number of the trial whose network it is.
        allow_plugins: run the plugins that came with the study, if it has any; they are code.
        data: the study's data set, if it was one in memory.

    Returns:
        The trained classifier, in evaluation mode, and its validation accuracy.

    Raises:
        PluginError: the study needs plugins that are not allowed to run, or are missing, or were changed.
        StudyError: the directory holds no study, or not that trial.
        Diverged: its loss was no number or exploded.
    """
    from ressearch.results import load as load_results
    from ressearch.results.schema import architecture_of
    from ressearch.search.changes import require_same_data
    from ressearch.search.recorded import recipe_of
    from ressearch.search.study import Study
    from ressearch.training import Engine

    results = load_results(directory)
    rows = results.trials[results.trials["trial"] == trial]
    if rows.empty:
        raise StudyError(f"{directory}: has no trial {trial}; its trials are 0 to {results.trials['trial'].max()}")
    row = rows.iloc[0]
    study = Study.from_directory(results.directory, allow_plugins, data, directory)
    require_same_data(study, results.run, directory)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = study.splits().to(device)
    fresh = int(max(max(seeds) for seeds in results.trials["seeds"])) + 1
    changes = {"seeds": (fresh,)} | ({"channels_last": row["channels_last"]} if row.notna()["channels_last"] else {})
    recipe = recipe_of({str(key): value for key, value in row.items()}).model_copy(update=changes)
    architecture = architecture_of({str(key): value for key, value in row.items()})
    engine = Engine(architecture, splits, len(study.dataset.classes), recipe, init=study.initial_weights)
    accuracy = 0.0
    while not engine.is_finished:
        accuracy = engine.train_epoch()[0].val_accuracy
    shape = study.dataset.input_shape
    network = build(architecture, input_channels(shape), len(study.dataset.classes))
    network.load_state_dict(engine.groups[0].state(0))
    inputs = study.dataset.inputs
    is_pixels = not isinstance(inputs, Tensor) or inputs.dtype == torch.uint8  # images decoded when needed are pixels
    dtype = torch.uint8 if is_pixels else torch.float32
    mean, std = splits.mean.cpu(), splits.std.cpu()
    return Classifier(network, mean, std, study.dataset.classes, shape, dtype).eval(), accuracy


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

_TYPES = {"uint8": torch.uint8, "float32": torch.float32}


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
        if found is not None and not found <= parity.TOLERANCE:
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


def _description(classifier: Classifier) -> dict[str, str | list[str] | list[int]]:
    return {
        "architecture": json.dumps(classifier.network.architecture.to_dict()),
        "classes": list(classifier.classes),
        "input_shape": list(classifier.input_shape),
        "input_dtype": str(classifier.input_dtype).removeprefix("torch."),
    }


def _write_weights(classifier: Classifier, file: Path) -> None:
    torch.save({**_description(classifier), "state": classifier.state_dict()}, file)


def _write_safetensors(classifier: Classifier, file: Path) -> None:
    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    safetensors.torch.save_file(state, file, {"ressearch": json.dumps(_description(classifier))})


def _write_code(classifier: Classifier, file: Path) -> None:
    inputs = Inputs(
        classifier.classes, classifier.input_dtype == torch.uint8, weights=f"{_final_stem(file)}.safetensors"
    )
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
    pickle.UnpicklingError,
    SafetensorError,
)
"""What readers raise for files that are damaged or something else."""


def load(path: str | Path) -> Classifier:
    """Read a classifier that `save` wrote as ``.pt`` or ``.safetensors``, in evaluation mode; runs no code of the file.

    Raises ArchitectureError if the file is damaged or something else.
    """
    try:
        saved = _read_safetensors(path) if Path(path).suffix == ".safetensors" else torch.load(path, weights_only=True)
        shape = tuple(saved["input_shape"])
        architecture = Architecture.from_dict(json.loads(saved["architecture"]))
        state = saved["state"]
        network = build(architecture, input_channels(shape), len(saved["classes"]))
        dtype = _TYPES[saved.get("input_dtype", "float32")]  # older files do not say
        classifier = Classifier(network, state["mean"], state["std"], saved["classes"], shape, dtype)
        classifier.load_state_dict(state)
    except _DAMAGES as error:
        raise ArchitectureError(f"{path}: no network that ressearch saved: {first_line(error)}") from None
    return classifier.eval()


def _read_safetensors(path: str | Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        description = json.loads((file.metadata() or {})["ressearch"])
        return {**description, "state": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
