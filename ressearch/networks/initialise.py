"""Starting values: He initialisation everywhere, then what the skip style's paper says (`Skip.initialise`)."""

from __future__ import annotations

import math

from torch import nn

from ressearch.networks.attention import SelfAttention
from ressearch.networks.merges import GatedSum
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.skips import get_skip


def initialise(network: ResidualNetwork) -> None:
    """Draw a network's weights from torch's global random state.

    Convolutions: He normal by fan-out, a group's for grouped ones (He et al. 2015b). Linear layers: He normal by
    fan-in; attention's projections: Xavier uniform (Vaswani et al. 2017); the classifier keeps torch's default (uniform
    within 1/sqrt(fan-in)). Norms 1 and 0, biases 0, gates' biases the skip's option. Then `zero_gamma`, and the skip
    style's own rule.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear) and module is not network.get_classifier():
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, SelfAttention):
            for rows in module.project_in.weight.chunk(3):
                nn.init.xavier_uniform_(rows)
            nn.init.xavier_uniform_(module.project_out.weight)
        elif isinstance(module, GatedSum):
            nn.init.constant_(module.gate.bias, module.initial_bias)  # type: ignore[arg-type]
    architecture = network.architecture
    if architecture.zero_gamma:
        for unit in network.units:
            _zero_last_norm(unit.branch)
    # A style may set the classifier; a network without one gives it a stand-in that holds, and draws, no numbers.
    classifier = network.classifier if network.num_classes else nn.Linear(network.num_features, 1, device="meta")
    get_skip(architecture.skip, architecture.skip_options).initialise(network.units, classifier)


def _zero_last_norm(branch: nn.Module) -> None:
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
    last = [module for module in branch.modules() if isinstance(module, norms)][-1]
    nn.init.zeros_(last.weight)
