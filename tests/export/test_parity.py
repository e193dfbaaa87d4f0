"""Each file is read back and run before it takes its name; one that gives other logits is not written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import ressearch.export
from ressearch import Architecture, build
from ressearch.errors import ArchitectureError
from ressearch.export import FORMATS, Classifier, save
from ressearch.export.parity import inputs_like
from ressearch.training.classifier import description


def classifier(dtype: torch.dtype = torch.float32) -> Classifier:
    torch.manual_seed(0)
    network = build(Architecture(depths=(1, 1), widths=(4, 8), norm_order="pre"), 1, 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr, operator]
    return Classifier(
        network, torch.tensor([[[0.3]]]), torch.tensor([[[2.0]]]), ("a", "b", "c"), (1, 8, 8), dtype
    ).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_gives_the_logits_of_its_network(suffix: str, dtype: torch.dtype, tmp_path: Path) -> None:
    if suffix == ".onnx" and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("needs the extra onnx")
    found = save(classifier(dtype), tmp_path / f"net{suffix}")
    is_run = suffix != ".onnx" or importlib.util.find_spec("onnxruntime") is not None
    assert (found is not None) == is_run
    assert found is None or found < 1e-5
    assert (tmp_path / f"net{suffix}").is_file()


def test_a_file_that_gives_other_logits_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(trained: Classifier, file: Path) -> None:
        state = {name: value + 0.01 * value.is_floating_point() for name, value in trained.state_dict().items()}
        torch.save({**description(trained), "state": state}, file)

    monkeypatch.setitem(ressearch.export._WRITERS, ".pt", spoilt)
    with pytest.raises(ArchitectureError, match=r"net\.pt: not written: its logits differ by 0\.\d+ from the trained"):
        save(classifier(), tmp_path / "net.pt")
    assert list(tmp_path.iterdir()) == []


def test_logits_that_are_no_numbers_are_no_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = classifier()
    with torch.no_grad():
        next(broken.network.parameters()).fill_(float("nan"))
    with pytest.raises(ArchitectureError, match="differ by nan"):
        save(broken, tmp_path / "net.safetensors")


def test_made_up_inputs_are_the_same_each_time_and_as_the_data() -> None:
    pixels, numbers = inputs_like((1, 4, 4), torch.uint8), inputs_like((6,), torch.float32, 300)
    assert torch.equal(pixels, inputs_like((1, 4, 4), torch.uint8))
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (4, 1, 4, 4))
    assert pixels.float().std() > 50
    assert numbers.shape == (300, 6)
    assert abs(float(numbers.mean())) < 0.1
    assert abs(float(numbers.std()) - 1) < 0.1
