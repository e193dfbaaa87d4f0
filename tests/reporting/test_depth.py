"""He et al. 2015 at the extremes: a thousand residual layers pass gradients, a hundred plain ones do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ressearch import Architecture, build


def first_stage_gradient(architecture: Architecture, side: int = 8) -> float:
    """Mean norm of the first stage's weight gradients after one backward pass on random images, per unit of loss."""
    torch.manual_seed(0)
    network = build(architecture, num_classes=10)
    logits = network(torch.randn(4, 3, side, side))
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    norms = [p.grad.norm().item() for p in network.stages[0].parameters() if p.grad is not None and p.ndim > 1]
    return sum(norms) / len(norms)


@pytest.mark.parametrize("name", ["resnet1202-cifar", "preresnet1001-cifar"])
def test_a_thousand_residual_layers_pass_finite_gradients_to_the_first_stage(name: str) -> None:
    network = Architecture.preset(name)
    assert network.depth > 1000
    assert first_stage_gradient(network) > 1e-3


@pytest.mark.parametrize("norm_order", ["pre", "post"])
def test_without_norms_gradients_vanish_in_the_plain_network_of_depth_110_only(norm_order: str) -> None:
    residual = Architecture(depths=(18,) * 3, norm="none", norm_order=norm_order, skip="depth_scaled")
    plain = residual.replace(skip="none")
    assert residual.depth == plain.depth == 110
    assert first_stage_gradient(plain) < 1e-6 * first_stage_gradient(residual)
    assert 0.1 < first_stage_gradient(residual) / first_stage_gradient(residual.replace(depths=(6,) * 3)) < 10


def test_with_batch_norm_plain_gradients_explode_with_depth_instead() -> None:
    # Yang et al. 2019 (A mean field theory of batch normalization): at the start they grow exponentially with depth.
    shallow, deep = (Architecture(depths=(blocks,) * 3, skip="none") for blocks in (2, 18))
    residual = deep.replace(skip="identity")
    assert first_stage_gradient(deep) > 1e4 * first_stage_gradient(shallow)
    assert first_stage_gradient(residual) < 1e-3 * first_stage_gradient(deep)
