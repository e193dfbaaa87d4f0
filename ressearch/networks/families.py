"""Families of networks: a few numbers that stand for the depths and widths of all stages.

Uniform families (He et al. 2015): the papers' `depth` and the first stage's `width`. RegNet's quantised linear widths
(Radosavovic et al. 2020). Iso-budget families: the width at which a network of given depth costs a given amount, so
that depths are compared fairly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ressearch.errors import ArchitectureError
from ressearch.limits import ARCHITECTURE
from ressearch.networks.architecture import Architecture
from ressearch.networks.blocks import get_block, weighted_layers
from ressearch.networks.cost import cost
from ressearch.networks.skips import SKIPS
from ressearch.networks.stems import STEMS
from ressearch.shapes import Shape
from ressearch.units import format_count


def depths_for(
    depth: int,
    block: str,
    stages: int,
    *,
    skip: str = "identity",
    stem: str | None = None,
    bottleneck_ratio: float | None = None,
    has_head: bool = False,
) -> tuple[int, ...]:
    """Return the blocks per stage of a uniform network of the papers' `depth`.

    He et al. 2015, section 4.2: depth = 2 + (weighted layers a block) x stages x n; 6n+2 for basic blocks in 3 stages.
    Stems of several layers, a head convolution and transitions between stages (`dense` skips, `convnext`) add theirs.

    Raises ArchitectureError, naming the nearest depths that exist, if no whole n fits.
    """
    kind = get_block(block)
    has_transitions = kind.transition is not None or (skip in SKIPS and SKIPS[skip].has_transitions)
    fixed = STEMS[stem or kind.defaults["stem"]].weighted + 1 + has_head + (stages - 1) * has_transitions
    step = weighted_layers(block, bottleneck_ratio) * stages
    blocks, rest = divmod(depth - fixed, step)
    if rest or blocks < 1:
        below, above = fixed + step * max(1, blocks), fixed + step * (max(0, blocks) + 1)
        choices = f"{below} or {above}" if below != above else f"{below}"
        between = ", transitions between them" if has_transitions and stages > 1 else ""
        raise ArchitectureError(
            f"depth {depth} is not {step}n+{fixed} ({block} blocks in {stages} stages{between}); nearest: {choices}"
        )
    return (blocks,) * stages


def widths_for(width: int, stages: int) -> tuple[int, ...]:
    """Return the widths of a uniform family: `width`, doubled at each later stage (He et al. 2015)."""
    return tuple(width * 2**stage for stage in range(stages))


class RegNet(NamedTuple):
    """What RegNet's parameters give: blocks, output channels and group width of each stage."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group_widths: tuple[int, ...] | None


def regnet(
    w0: int, wa: float, wm: float, depth: int, *, group_width: int | None = None, bottleneck_ratio: float = 1.0
) -> RegNet:
    """Return the stages of a RegNet: widths that grow linearly with the block, quantised to powers of `wm`.

    Block j of `depth` *blocks* (RegNet's depth, not the papers' count of layers) wants w0 + wa j channels; it gets
    w0 wm^s, s the nearest whole power, rounded to a multiple of 8; blocks of equal width make a stage. Widths then move
    to the nearest multiple that `group_width` divides. Radosavovic et al. 2020, section 3.3, eq. 2 to 4.

    Raises ArchitectureError for parameters outside w0 a multiple of 8, wa >= 0, wm > 1.

    Examples:
        >>> regnet(24, 24.48, 2.54, 22, group_width=16).widths  # RegNetX-400MF
        (32, 64, 160, 384)
    """
    for key, value in (("w0", w0), ("wa", wa), ("wm", wm), ("depth", depth)):
        if (why := ARCHITECTURE["depths" if key == "depth" else key].refusal(value)) is not None:
            raise ArchitectureError(f"{key}: {why}")
    if w0 % 8:
        raise ArchitectureError(f"w0: {w0!r} is not a multiple of 8")
    if wm == 1:
        raise ArchitectureError(f"wm: {wm!r} is not a number above 1")
    powers = [round(math.log((w0 + wa * block) / w0) / math.log(wm)) for block in range(depth)]
    quantised = [8 * round(w0 * wm**power / 8) for power in powers]
    stages = [(width, len(list(blocks))) for width, blocks in itertools.groupby(quantised)]
    depths = tuple(blocks for _, blocks in stages)
    if group_width is None:
        return RegNet(depths, tuple(width for width, _ in stages), None)
    widths, group_widths = [], []
    for width, _ in stages:
        inner = max(1, int(width * bottleneck_ratio))
        group = min(group_width, inner)
        multiple = math.lcm(group, max(1, int(bottleneck_ratio)))
        widths.append(int(max(multiple, round(inner / multiple) * multiple) / bottleneck_ratio))
        group_widths.append(group)
    return RegNet(depths, tuple(widths), tuple(group_widths))


@dataclass(frozen=True)
class Match:
    """An iso-budget: the cost that a network's width is to meet.

    Attributes:
        cost: ``params``, ``macs`` or ``activations``.
        target: how many.
        tolerance: largest relative deviation that is accepted.
    """

    cost: str
    target: int
    tolerance: float = 0.02

    def deviation(self, count: float) -> float:
        """Return how far a count is from the target, relative to it; negative below."""
        return count / self.target - 1


def width_multiple(
    group_width: int | tuple[int, ...] | None, bottleneck_ratio: float | tuple[float, ...] | None, block: str
) -> int:
    """Return the smallest number whose multiples are widths that `group_width` divides (1 if there is none)."""
    if group_width is None:
        return 1
    ratio = get_block(block).defaults["bottleneck_ratio"] if bottleneck_ratio is None else bottleneck_ratio
    groups = group_width if isinstance(group_width, tuple) else (group_width,)
    if get_block(block).modality != "image" or isinstance(ratio, tuple):
        return math.lcm(*groups)
    multiples = (next((n for n in range(1, 4 * group + 1) if (n * ratio) % group == 0), group) for group in groups)
    return math.lcm(*multiples)


def match_width(
    make: Callable[[tuple[int, ...]], Architecture],
    stages: int,
    match: Match,
    input_shape: Shape,
    num_classes: int | None = None,
    multiple: int = 1,
) -> Architecture:
    """Return the network of a family whose cost meets `match`.

    The widths are those of a uniform family, w, 2w, 4w, …, for the real w that comes nearest, each rounded to a
    `multiple`; where that is not near enough, single stages move by one more step.

    Args:
        make: makes the network of given widths.
        stages: how many widths.
        match: the cost to meet.
        input_shape: as in `ressearch.cost`.
        num_classes: as in `ressearch.cost`.
        multiple: what every width must be a multiple of (group widths, heads).

    Raises:
        ArchitectureError: nothing comes within the tolerance; the text says how near the nearest comes.
    """

    def count(widths: tuple[int, ...]) -> float | None:
        if max(widths) > ARCHITECTURE["widths"].most:  # no network, and dearer than any
            return math.inf
        try:
            counted: float = getattr(cost(make(widths), input_shape, num_classes), match.cost)
            return counted
        except ArchitectureError:
            return None

    def rounded(width: float) -> tuple[int, ...]:
        return tuple(max(1, round(width * 2**stage / multiple)) * multiple for stage in range(stages))

    low, high = multiple / 2**stages, float(multiple)
    while (found := count(rounded(high))) is None or found < match.target:
        low, high = high, 2 * high
    last_step = multiple / 2 ** (stages + 2)  # finer than the last stage's widths can tell
    while high - low > last_step:
        middle = (low + high) / 2
        found = count(rounded(middle))
        low, high = (middle, high) if found is None or found < match.target else (low, middle)

    def nearest(candidates: set[tuple[int, ...]]) -> tuple[float, tuple[int, ...]] | None:
        counts = [(widths, count(widths)) for widths in sorted(candidates)]
        found = [(abs(match.deviation(number)), widths) for widths, number in counts if number not in (None, math.inf)]
        return min(found, default=None)

    base = {rounded(low), rounded(high)}
    best = nearest(base)
    if best is None or best[0] > match.tolerance:
        moves = itertools.product((-multiple, 0, multiple), repeat=min(stages, 4))
        moved = {
            tuple(width + step for width, step in itertools.zip_longest(widths, move, fillvalue=0))
            for widths in base
            for move in moves
        }
        best = nearest({widths for widths in moved | base if min(widths) >= 1})
    if best is None:
        cost(make(rounded(multiple)), input_shape)  # says what is wrong with it
        raise ArchitectureError(f"no width gives a network of {match.cost} {format_count(match.target)}")
    architecture = make(best[1])
    price = cost(architecture, input_shape, num_classes)
    if best[0] > match.tolerance:
        found_count = getattr(price, match.cost)
        raise ArchitectureError(
            f"width: no width meets {match.cost} {format_count(match.target)} within {match.tolerance:.1%} "
            f"at depth {architecture.depth}; nearest: widths {list(best[1])} with {format_count(found_count)} "
            f"({match.deviation(found_count):+.1%}); a larger 'tolerance' accepts it"
        )
    return architecture
