"""The optimizer of a trial: made from the recipe, set to each step's learning rate, restored from a checkpoint.

A step that is captured as a CUDA graph reads the learning rate from the device, so each parameter group then has a
tensor of its own for it: groups that shared one would all train at the rate that was written last.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ressearch.training.recipe import Recipe


def make_optimizer(
    groups: Sequence[dict[str, Any]], recipe: Recipe, is_captured: bool = False
) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over parameter groups; each group's `factor` scales its learning rate.

    Args:
        groups: as torch takes them (`params`, `weight_decay`), with `factor`.
        recipe: which optimizer, and its momentum.
        is_captured: whether its steps are to be captured as a CUDA graph; rates are then tensors.
    """
    if is_captured:
        groups = [{**group, "lr": torch.zeros((), device=group["params"][0].device)} for group in groups]
    if recipe.optimizer == "adamw":
        # torch warns that a capturable optimizer takes a step outside a graph: the first few are meant to.
        warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
        return torch.optim.AdamW(groups, 0.0, fused=True, capturable=is_captured)
    optimizer = torch.optim.SGD(groups, 0.0, recipe.momentum, nesterov=recipe.momentum > 0, fused=True)
    if recipe.momentum:
        # From zeros the first step gives the momentum that torch starts with. torch's fused kernel makes the buffers
        # uninitialised instead, and leaves them so where the gradient scaler of float16 skips the first step.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                zeros = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                optimizer.state[parameter]["momentum_buffer"] = zeros
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, scaled by each group's factor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr * group["factor"])
        else:
            group["lr"] = lr * group["factor"]


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over the moments and step counts of a checkpoint, and nothing else of it.

    What the groups are (rates as tensors, capturable or not) depends on the device, which need not be the one that the
    checkpoint was written on.
    """
    own = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": own})
