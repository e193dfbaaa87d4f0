"""Networks written as plain PyTorch: the file alone gives the logits of the network, for every kind of part."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from ressearch import Architecture, build
from ressearch.errors import ArchitectureError
from ressearch.export import Classifier, save, write_code
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.cost import input_channels
from ressearch.networks.layers import NORMS
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS
from ressearch.networks.stems import STEMS

SHAPES = {"image": (3, 32, 32), "vector": (12,), "sequence": (6, 8)}

CHOICES = (
    [{"block": one} for one in BLOCKS]
    + [{"skip": one} for one in SKIPS]
    + [{"skip": one, "block": "transformer"} for one in SKIPS]
    + [{"norm": one, "norm_order": order} for one in NORMS for order in ("post", "pre")]
    + [{"shortcut": one, "norm_order": order} for one in SHORTCUTS for order in ("post", "pre")]
    + [{"stem": one} for one in STEMS]
    + [{"se_ratio": 0.25, "dropout": 0.1}, {"block": "bottleneck", "kernel_size": (3, 5), "group_width": 2}]
)


def meaningful() -> list[Architecture]:
    found = []
    for choice in CHOICES:
        try:
            found.append(Architecture(depths=(2, 4), **({"widths": (8, 16)} | choice)))  # type: ignore[arg-type]
        except ArchitectureError:
            continue  # such as convolutions after a linear stem, or dense skips that widen no further
    return found


@pytest.mark.parametrize("architecture", meaningful(), ids=lambda one: one.name)
def test_the_code_gives_the_networks_logits(architecture: Architecture) -> None:
    shape = SHAPES[architecture.modality]
    text = write_code(architecture, shape, 5)
    assert "ressearch" not in text.split('"""', 2)[2]
    assert max(map(len, text.splitlines())) <= 120
    written = types.ModuleType("written")
    exec(compile(text, "written.py", "exec"), written.__dict__)
    network = build(architecture, input_channels(shape), 5).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # scales that start at 0 would hide their branches
            parameter += 0.1 * torch.randn_like(parameter)
        again = written.Network().eval()
        again.load_state_dict(network.state_dict())
        inputs = torch.randn(2, *shape)
        torch.testing.assert_close(again(inputs), network(inputs), atol=1e-4, rtol=1e-4)


def test_equal_blocks_are_a_loop_of_one_class() -> None:
    text = write_code(Architecture.preset("resnet20-cifar"))
    assert text.count("class ") == 3  # the mean, the block, the network
    assert "*(BasicBlock(16, 16, stride=1) for _ in range(3))" in text
    assert "nn.Conv2d(in_width, width, 3, stride=stride, padding=1, bias=False)" in text


def test_saved_code_runs_alone_with_the_weights_beside_it(tmp_path: Path) -> None:
    network = build(Architecture.from_name("basic-d1.1-w4.8"), 1, 3)
    classifier = Classifier(network, torch.tensor([[[9.0]]]), torch.tensor([[[3.0]]]), "abc", (1, 8, 8), torch.uint8)
    save(classifier, tmp_path / "my.net.py")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["my.net.py", "my.net.safetensors"]
    assert 'load("my.net.safetensors")' in (tmp_path / "my.net.py").read_text()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-I", "my.net.py", "my.net.safetensors"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert done.stdout == f"{parameters:,} parameters; logits of shape (2, 3)\n"
    written = types.ModuleType("written")
    exec((tmp_path / "my.net.py").read_text(), written.__dict__)
    pixels = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        expected = classifier.eval()(pixels)
        torch.testing.assert_close(written.load(tmp_path / "my.net.safetensors")(pixels), expected)
