"""Networks out of ressearch: a trained classifier as a file, and weights in the layout of torchvision and timm.

`train` trains one of a study's networks, `save` writes it (`FORMATS`), `load` reads it back. `to_published` writes a
network's state under their keys, `load_published` reads it. The mapping (torchvision's ``resnet.py``; timm's where
torchvision has none):

==========================  ==================================================================================
ressearch                   published
==========================  ==================================================================================
``stem.0``, ``stem.1``      ``conv1``, ``bn1``
``stem.0 … 7`` (deep)       ``conv1.0``, ``conv1.1``, ``conv1.3``, ``conv1.4``, ``conv1.6``, ``bn1`` (timm, ResNet-D)
``stages.S.B.branch``       ``layer{S+1}.B``: its convolutions ``conv1``, ``conv2``, …, its norms ``bn1``, ``bn2``, …
squeeze-excitation          ``se.fc1``, ``se.fc2`` (timm)
``stages.S.B.shortcut``     ``layer{S+1}.B.downsample``: convolution ``0``, norm ``1``; after an average pool 1 and 2
``head.1``                  ``fc``
==========================  ==================================================================================
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ressearch.architecture import Architecture
from ressearch.cost import input_channels
from ressearch.errors import ArchitectureError, StudyError, nearest
from ressearch.layers import Shape, SqueezeExciteModule
from ressearch.network import ResidualNetwork, ResidualUnit, build

_STEMS = {"imagenet": ("conv1", "bn1"), "deep": ("conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1")}


def published_keys(network: ResidualNetwork) -> dict[str, str]:
    """Return the published key of each key of the network's state dict.

    Raises ArchitectureError if the network is none of the published ResNets' kind: basic or bottleneck blocks in
    post order, batch norm, identity skips, the `imagenet` or `deep` stem.
    """
    _require_resnet(network.architecture)
    names: dict[nn.Module, str] = {}
    stem = [module for module in network.stem if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    names.update(zip(stem, _STEMS[network.architecture.stem], strict=True))
    for stage, units in enumerate(network.stages, start=1):
        for index, unit in enumerate(units.children()):
            assert isinstance(unit, ResidualUnit)
            prefix = f"layer{stage}.{index}"
            convs = norms = 0
            for module in unit.branch:
                if isinstance(module, nn.Conv2d):
                    convs += 1
                    names[module] = f"{prefix}.conv{convs}"
                elif isinstance(module, nn.BatchNorm2d):
                    norms += 1
                    names[module] = f"{prefix}.bn{norms}"
                elif isinstance(module, SqueezeExciteModule):
                    names[module.reduce], names[module.expand] = f"{prefix}.se.fc1", f"{prefix}.se.fc2"
            # timm keeps a place for the average pool of ResNet-D, also where the stride is 1 and it does nothing.
            first = 1 if network.architecture.shortcut == "avgpool_projection" else 0
            weighted = [module for module in unit.shortcut if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
            names.update((module, f"{prefix}.downsample.{first + at}") for at, module in enumerate(weighted))
    names[network.classifier] = "fc"
    ours = {module: name for name, module in network.named_modules()}
    return {f"{ours[module]}.{key}": f"{name}.{key}" for module, name in names.items() for key in module.state_dict()}


def _require_resnet(architecture: Architecture) -> None:
    for field, expected in (
        ("block", ("basic", "bottleneck")),
        ("stem", tuple(_STEMS)),
        ("norm", ("batch",)),
        ("norm_order", ("post",)),
        ("skip", ("identity",)),
        ("shortcut", ("projection", "avgpool_projection")),
        ("head_width", (None,)),
    ):
        value = getattr(architecture, field)
        if value not in expected:
            known = " or ".join(map(str, expected))
            raise ArchitectureError(f"{field}: '{value}' is in no published ResNet; their state dicts have {known}")


def to_published(network: ResidualNetwork) -> dict[str, Tensor]:
    """Return the network's state dict under torchvision's (timm's) keys; the tensors are shared, not copied.

    Raises ArchitectureError as `published_keys`.
    """
    keys = published_keys(network)
    return {keys[key]: value for key, value in network.state_dict().items()}


def load_published(network: ResidualNetwork, state: Mapping[str, Tensor]) -> None:
    """Load a state dict with torchvision's (timm's) ResNet keys, strictly: every key is used, every weight is set.

    Read files with ``torch.load(file, weights_only=True)`` or safetensors, which run no code.

    Raises:
        ArchitectureError: as `published_keys`, or a key is missing, unknown or of another shape (nothing is loaded).
    """
    keys = published_keys(network)
    expected = {keys[key]: value for key, value in network.state_dict().items()}
    for key in expected:
        if key not in state:
            raise ArchitectureError(f"state dict: '{key}' is missing ({len(state)} keys, expected {len(expected)})")
    for key, value in state.items():
        if key not in expected:
            raise ArchitectureError(f"state dict: '{key}' is unknown; {nearest(key, expected)}")
        if value.shape != expected[key].shape:
            raise ArchitectureError(
                f"state dict: '{key}' has shape {tuple(value.shape)}, expected {tuple(expected[key].shape)}"
            )
    with torch.no_grad():
        network.load_state_dict({ours: state[published] for ours, published in keys.items()})


class Classifier(nn.Module):
    """A trained network with what its inputs need: maps inputs as the data hold them to logits.

    Attributes:
        network: the trained network.
        mean, std: of the training data, by channel (feature); inputs are normalised by them.
        classes: the classes' names, in the order of the logits.
        input_shape: one input's shape, without the batch.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: ResidualNetwork, mean: Tensor, std: Tensor, classes: Sequence[str], input_shape: Shape
    ) -> None:
        super().__init__()
        self.network, self.classes, self.input_shape = network, tuple(classes), tuple(input_shape)
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, *input_shape), bytes or numbers, to logits (batch, classes)."""
        return self.network((inputs.to(self.mean.dtype) - self.mean) / self.std)


def train(directory: str | Path, trial: int) -> tuple[Classifier, float]:
    """Train one of a study's networks once more, under its recipe and on a seed that the study has not used.

    Returns:
        The trained classifier, in evaluation mode, and its validation accuracy.

    Raises:
        StudyError: the directory holds no study, or not that trial.
        Diverged: its loss was no number or exploded.
    """
    from ressearch.results import load as load_results
    from ressearch.results.schema import architecture_of
    from ressearch.search.study import Study
    from ressearch.training import Engine, Recipe

    results = load_results(directory)
    rows = results.trials[results.trials["trial"] == trial]
    if rows.empty:
        raise StudyError(f"{directory}: has no trial {trial}; its trials are 0 to {results.trials['trial'].max()}")
    row = rows.iloc[0]
    study = Study.from_directory(results.directory)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = study.splits().to(device)
    fresh = int(max(max(seeds) for seeds in results.trials["seeds"])) + 1
    recipe = Recipe.model_validate_json(row["recipe"]).model_copy(update={"seeds": (fresh,)})
    architecture = architecture_of({str(key): value for key, value in row.items()})
    engine = Engine(architecture, splits, len(study.dataset.classes), recipe)
    accuracy = 0.0
    while not engine.is_finished:
        accuracy = engine.train_epoch()[0].val_accuracy
    shape = study.dataset.input_shape
    network = build(architecture, input_channels(shape), len(study.dataset.classes))
    network.load_state_dict(engine.groups[0].state(0))
    return Classifier(network, splits.mean.cpu(), splits.std.cpu(), study.dataset.classes, shape).eval(), accuracy


FORMATS = {
    ".pt": "weights and description, for `ressearch.export.load`",
    ".pt2": "torch.export: a program that needs torch alone",
    ".onnx": "ONNX: for onnxruntime and others (needs the packages onnx and onnxscript)",
}
"""What `save` writes, by the file's suffix."""


def save(classifier: Classifier, path: str | Path) -> None:
    """Write a trained classifier in the format of the file's suffix, one of `FORMATS`; any batch size.

    Raises ArchitectureError for another suffix, or where a package is missing.
    """
    file = Path(path)
    if file.suffix not in FORMATS:
        raise ArchitectureError(f"{path}: no format '{file.suffix}'; {nearest(file.suffix, FORMATS)}")
    classifier = classifier.cpu().eval()
    example = torch.zeros(2, *classifier.input_shape)
    batch = {0: torch.export.Dim("batch", min=1, max=2**16)}
    if file.suffix == ".pt":
        description = {
            "architecture": json.dumps(classifier.network.architecture.to_dict()),
            "classes": list(classifier.classes),
            "input_shape": list(classifier.input_shape),
        }
        torch.save({**description, "state": classifier.state_dict()}, file)
    elif file.suffix == ".pt2":
        torch.export.save(torch.export.export(classifier, (example,), dynamic_shapes=(batch,)), file)
    else:
        try:
            program = torch.onnx.export(
                classifier, (example,), dynamo=True, dynamic_shapes=(batch,), input_names=["inputs"], verbose=False
            )
        except (ImportError, torch.onnx.OnnxExporterError) as error:
            said = "needs the packages onnx and onnxscript" if isinstance(error, ImportError) else str(error)
            raise ArchitectureError(f"{path}: {said.splitlines()[0]}") from None
        assert program is not None
        program.save(str(file))


def load(path: str | Path) -> Classifier:
    """Read a classifier that `save` wrote as ``.pt``, in evaluation mode; runs no code of the file.

    Raises ArchitectureError if the file is damaged or something else.
    """
    try:
        saved = torch.load(path, weights_only=True)
        shape = tuple(saved["input_shape"])
        architecture = Architecture.from_dict(json.loads(saved["architecture"]))
        state = saved["state"]
        network = build(architecture, input_channels(shape), len(saved["classes"]))
        classifier = Classifier(network, state["mean"], state["std"], saved["classes"], shape)
        classifier.load_state_dict(state)
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise ArchitectureError(f"{path}: no network that ressearch saved: {str(error).splitlines()[0]}") from None
    return classifier.eval()
