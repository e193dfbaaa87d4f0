"""A network as the backbone of another: its feature maps instead of its logits, as timm's ``features_only`` gives them.

The maps are the last one of each resolution, finest first, which is how timm lists them: of a ResNet on ImageNet the
stem's map ahead of its max-pool, then one per stage; of a ResNet on CIFAR, or a ConvNeXt, one per stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from ressearch.errors import ArchitectureError
from ressearch.limits import short
from ressearch.networks.architecture import Architecture
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.plan import plan

_SIDE = 2**40
"""Side of the image, never made, whose reductions are looked up: so large that windows' edges do not count."""


class FeatureInfo:
    """Which feature maps a backbone returns, with timm's ``FeatureInfo`` methods.

    ``feature_info[i]`` is map i of all that the network has: a dict of ``num_chs`` (its channels), ``reduction`` (input
    side / map side), ``module`` (the name of the module whose output it is) and ``index``.

    Args:
        info: every map that the network has.
        out_indices: those that are returned.
    """

    def __init__(self, info: Sequence[dict[str, Any]], out_indices: Sequence[int]) -> None:
        self.info, self.out_indices = list(info), tuple(out_indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one map of all."""
        return self.info[index]

    def __len__(self) -> int:
        """Return how many maps the network has."""
        return len(self.info)

    def get(self, key: str, index: int | Sequence[int] | None = None) -> Any:
        """Return a figure of the maps returned, or of those of `index` (a number gives that one alone)."""
        if isinstance(index, int):
            return self.info[index][key]
        return [self.info[one][key] for one in (self.out_indices if index is None else index)]

    def channels(self, index: int | Sequence[int] | None = None) -> Any:
        """Return the channels of the maps returned; `index` as in `get`."""
        return self.get("num_chs", index)

    def reduction(self, index: int | Sequence[int] | None = None) -> Any:
        """Return how many times smaller than the input's the maps' sides are; `index` as in `get`."""
        return self.get("reduction", index)

    def module_name(self, index: int | Sequence[int] | None = None) -> Any:
        """Return the names of the modules whose outputs the maps are; `index` as in `get`."""
        return self.get("module", index)

    def get_dicts(self, keys: Sequence[str] | None = None, index: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return the maps returned, or those of `index`, as dicts of `keys` (all)."""
        chosen = [self.info[one] for one in (self.out_indices if index is None else index)]
        return [{key: one[key] for key in (keys or one)} for one in chosen]


def feature_maps(architecture: Architecture) -> list[dict[str, Any]]:
    """Return the feature maps that a network has, as `FeatureInfo` keeps them: the last of each resolution.

    Raises ArchitectureError if it works on vectors or sequences, which have no maps.
    """
    if architecture.modality != "image":
        raise ArchitectureError(
            f"features_only: block '{architecture.block}' works on {architecture.modality}s, which have no feature "
            "maps; num_classes=0 gives its features, shape (batch, num_features)"
        )
    last: dict[int, dict[str, Any]] = {}
    for module, (channels, side, _) in _shapes(architecture):
        reduction = round(_SIDE / side)
        last[reduction] = {"num_chs": channels, "reduction": reduction, "module": module}
    return [{**one, "index": index} for index, one in enumerate(last.values())]


def _shapes(architecture: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the modules whose output may be a feature map, in order, with its shape."""
    shape: tuple[int, ...] = (3, _SIDE, _SIDE)
    planned = plan(architecture)
    for at, layer in enumerate(planned.stem):
        _, shape = layer.trace(shape)
        yield f"stem.{at}", shape
    for at, stage in enumerate(planned.stages):
        for part, count in stage.parts:
            for _ in range(count):
                _, shape = part.trace(shape)
        yield f"stages.{at}", shape


class Backbone(nn.Module):
    """Maps ``(batch, channels, height, width)`` to a list of feature maps, each (batch, its channels, …).

    It shares the modules of `network` up to the last map, under the same names: their weights are the network's, and
    ``backbone.load_state_dict(network.state_dict(), strict=False)`` reads them from a copy.

    Args:
        network: an image network alone; a trained one, or ``build``'s.
        out_indices: which maps, in this order; -1 is the last. None takes all.

    Attributes:
        feature_info: the maps (`FeatureInfo`).

    Raises:
        ArchitectureError: the network has no feature maps, or none of these.
    """

    def __init__(self, network: ResidualNetwork, out_indices: Sequence[int] | None = None) -> None:
        super().__init__()
        if network.replicates > 1:
            raise ArchitectureError(f"features_only: {network.replicates} replicates in one network have no maps apart")
        found = feature_maps(network.architecture)
        self.architecture = network.architecture
        self.feature_info = FeatureInfo(found, _indices(out_indices, len(found)))
        self._names = self.feature_info.module_name()
        deepest = found[max(self.feature_info.out_indices)]["module"]
        room, _, at = deepest.partition(".")
        self.stem = network.stem if room == "stages" else network.stem[: int(at) + 1]
        self.stages = network.stages[: int(at) + 1] if room == "stages" else nn.Sequential()

    def forward(self, input: Tensor) -> list[Tensor]:
        """Return the feature maps, finest first unless `out_indices` says otherwise."""
        maps, x = {}, input
        for room in ("stem", "stages"):
            for at, module in enumerate(self.get_submodule(room).children()):
                x = module(x)
                if (name := f"{room}.{at}") in self._names:
                    maps[name] = x
        return [maps[name] for name in self._names]


def _indices(wanted: Sequence[int] | None, count: int) -> list[int]:
    """Return indices of maps counted from the first. Raises ArchitectureError for one that is not there."""
    if wanted is None:
        return list(range(count))
    is_list = isinstance(wanted, list | tuple) and all(type(one) is int for one in wanted)
    if not is_list or not wanted or not all(-count <= one < count for one in wanted):
        raise ArchitectureError(
            f"out_indices: {short(wanted)} are no indices of feature maps; the network has {count}: "
            f"0 to {count - 1}, or -{count} to -1"
        )
    return [one % count for one in wanted]
