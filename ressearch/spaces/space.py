"""SearchSpace: choices and ranges over Architecture fields, sampled define-by-run, bounded by a budget.

A space maps keys to domains. Keys are Architecture's fields and some that stand for all stages
(`ressearch.networks.families`): ``depth`` (the papers' depth) or ``blocks_per_stage``, ``width`` (of the first stage,
doubled at each later one) and ``stages``; or RegNet's ``w0``, ``wa``, ``wm`` with ``depth`` (RegNet's: blocks). A
domain is one value, a list of choices, or a range ``{low, high, step, log}`` as in Optuna's ``suggest_*``. A range over
``depths`` or ``widths`` is drawn for each stage. ``width: {match: macs, target: 40M}`` solves for the width that meets
a cost. A choice may define its own sub-parameters: ``skip: [identity, {scaled: {alpha: {low: 0.1, high: 1.0}}}]``.

Points that describe no network, or that cost more than the budget, are never proposed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ressearch.errors import ArchitectureError, BudgetError, SpaceError
from ressearch.limits import LISTED_POINTS
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Budget, Cost, cost
from ressearch.networks.families import Match, depths_for, match_width, regnet, width_multiple, widths_for
from ressearch.shapes import Shape
from ressearch.spaces.domains import REGNET_KEYS, STAGED_KEYS, Choice, Matched, Range, is_per_stage, label, read
from ressearch.spaces.trials import GridTrial, Pinned, RandomTrial, Trial

_EXCLUSIVE = (
    ("depth", "depths"),
    ("depth", "blocks_per_stage"),
    ("blocks_per_stage", "depths"),
    ("width", "widths"),
    *((key, other) for key in REGNET_KEYS for other in ("depths", "blocks_per_stage", "width", "widths")),
)
_STANDS_FOR = {"widths": ("width", "w0"), "depths": ("depth", "blocks_per_stage"), "stem_width": ("width",)}
"""Keys that a field of an architecture follows from."""
_ATTEMPTS = 2000

NO_BUDGET = Budget()


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """The networks to choose from, as one domain of values per key.

    Args:
        parameters: domains by key, as in a study file: ``{"block": ["basic", "bottleneck"], "depth": [20, 56],
            "width": {"low": 8, "high": 32, "step": 8}}``.
        budget: bounds on cost; networks that cost more are never proposed.
        input_shape: one input of the data, for costs: (channels, height, width), (features,) or (tokens, features).
        num_classes: classes of the data, for costs.

    Raises:
        SpaceError: a key or value is unknown, `low` of a range is above `high`, or nothing in the space is a network.
        BudgetError: nothing in the space fits the budget.

    Examples:
        >>> space = SearchSpace({"depth": [8, 20], "skip": ["none", "identity"], "width": 8})
        >>> space.size, [network.depth for network in space.enumerate()]
        (4, [8, 8, 20, 20])
    """

    parameters: Mapping[str, Any]
    budget: Budget = NO_BUDGET
    input_shape: Shape = (3, 32, 32)
    num_classes: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, Mapping) or not self.parameters:
            raise SpaceError("the space is empty: name at least one choice, such as depth: [8, 20]")
        object.__setattr__(self, "parameters", {key: read(key, value) for key, value in self.parameters.items()})
        for one, other in _EXCLUSIVE:
            if one in self.parameters and other in self.parameters:
                raise SpaceError(f"{one} and {other} say the same thing: keep one", other)
        if any(key in self.parameters for key in REGNET_KEYS):
            for key in (*REGNET_KEYS, "depth"):
                if key not in self.parameters:
                    raise SpaceError(f"RegNet's widths need w0, wa, wm and depth (blocks); '{key}' is missing", key)
        self._require_networks()

    @property
    def size(self) -> float:
        """How many points the space has, networks or not; `math.inf` if a range is continuous."""
        staged = {key: domain for key, domain in self.parameters.items() if is_per_stage(key, domain)}
        counts = [domain.size for key, domain in self.parameters.items() if key not in staged and key != "stages"]
        stages = self.parameters.get("stages", Choice((self.default_stages,)))
        per_stages = sum(math.prod(domain.size**count for domain in staged.values()) for count in stages.values)
        points: float = math.prod(counts) * per_stages
        return points

    @property
    def ranges(self) -> int:
        """How many keys are ranges of numbers."""
        return sum(isinstance(domain, Range) for domain in self.parameters.values())

    @functools.cached_property
    def default_stages(self) -> int:
        """How many stages there are where no key says: as lists of one length have, else 3."""
        lengths = {
            len(value)
            for key in STAGED_KEYS
            if isinstance(domain := self.parameters.get(key), Choice)
            for value in domain.values
            if isinstance(value, tuple)
        }
        return lengths.pop() if len(lengths) == 1 else 3

    @property
    def match(self) -> Match | None:
        """The cost that every network's width is matched to, if there is one."""
        width = self.parameters.get("width")
        return width.match if isinstance(width, Matched) else None

    def suggest(self, trial: Trial) -> Architecture:
        """Draw one network, define-by-run, from an `optuna.Trial` or anything with its ``suggest_*`` methods.

        Raises ArchitectureError if the point drawn describes no network, BudgetError if it is too dear.
        """
        architecture, price = self._network(trial)
        if not self.budget.allows(price):
            raise BudgetError(f"{architecture.name} costs {price}, more than {self.budget}")
        return architecture

    def _network(self, trial: Trial) -> tuple[Architecture, Cost]:
        """Draw one network and its cost; costing it also proves that its fields fit each other and the input."""
        architecture = self._draw(trial)
        return architecture, cost(architecture, self.input_shape, self.num_classes)

    def _draw(self, trial: Trial) -> Architecture:
        drawn: dict[str, Any] = {}
        options: dict[str, Any] = {}
        for key, domain in self.parameters.items():
            if is_per_stage(key, domain):
                continue
            drawn[key] = domain.suggest(trial, key)
            if isinstance(domain, Choice):
                for option, nested in domain.options.get(drawn[key], {}).items():
                    options[option] = nested.suggest(trial, f"{drawn[key]}.{option}")
        stages = drawn.pop("stages", None)
        if stages is None and "w0" not in drawn:
            given = (len(drawn[key]) for key in STAGED_KEYS if isinstance(drawn.get(key), tuple))
            stages = next(given, self.default_stages)
        for key, domain in self.parameters.items():
            if is_per_stage(key, domain):
                drawn[key] = tuple(domain.suggest(trial, f"{key}[{stage}]") for stage in range(stages))
        return assemble(drawn, stages, options, self.input_shape, self.num_classes)

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every distinct network within the budget, in grid order: the last key varies fastest.

        Raises SpaceError if a range is continuous: then there is no end of them.
        """
        for point in self._points():
            if isinstance(point, Architecture):
                yield point

    def refusals(self) -> Counter[str]:
        """Return why points of the space are no networks: how many for each reason. Raises as `enumerate`."""
        return Counter(str(point) for point in self._points() if isinstance(point, ArchitectureError))

    def _points(self) -> Iterator[Architecture | ArchitectureError]:
        """Yield every distinct network within the budget, and an error for each point that is none, in grid order."""
        if math.isinf(self.size):
            raise SpaceError("a continuous range has no end of networks: give it a step, or sample")
        yield from self._known_points if self.size <= LISTED_POINTS else self._walk()

    @functools.cached_property
    def _known_points(self) -> tuple[Architecture | ArchitectureError, ...]:
        return tuple(self._walk())

    def _walk(self) -> Iterator[Architecture | ArchitectureError]:
        seen = set()
        path = GridTrial()
        while path.next():
            try:
                architecture = self.suggest(path)
            except BudgetError:
                continue
            except ArchitectureError as error:
                yield error
                continue
            if architecture not in seen:
                seen.add(architecture)
                yield architecture

    def sample(self, n: int, seed: int = 0) -> list[Architecture]:
        """Draw `n` networks at random, each key evenly; the same seed gives the same list.

        Raises BudgetError if what fits the budget is too rare to be found.
        """
        trial = RandomTrial(seed)
        return [self.sample_one(trial) for _ in range(n)]

    def sample_one(self, trial: Trial) -> Architecture:
        """Draw from `trial` until a network within the budget is found. Raises as `sample` does."""
        problem: Exception | None = None
        # A width that is matched to a cost takes some dozen costs to find.
        for _ in range(_ATTEMPTS if self.match is None else _ATTEMPTS // 10):
            try:
                return self.suggest(trial)
            except (ArchitectureError, BudgetError) as error:
                problem = error
        if isinstance(problem, BudgetError):
            raise BudgetError(f"nothing in the space fits the budget ({self.budget}); {self._cheapest()}")
        raise SpaceError(f"nothing in the space is a network: {problem}")

    def filter(
        self,
        max_params: int | str | None = None,
        max_macs: int | str | None = None,
        max_activations: int | str | None = None,
    ) -> SearchSpace:
        """Return the space without the networks that cost more than counts such as 20000 or ``20k``.

        Raises BudgetError if nothing is left, or a bound is not a count.
        """
        given = {"max_params": max_params, "max_macs": max_macs, "max_activations": max_activations}
        changes: dict[str, Any] = {key: bound for key, bound in given.items() if bound is not None}
        return dataclasses.replace(self, budget=dataclasses.replace(self.budget, **changes))

    def _cheapest(self) -> str:
        unbounded = dataclasses.replace(self, budget=NO_BUDGET)
        prices = [cost(one, self.input_shape, self.num_classes) for one in unbounded.sample(200)]
        budget = self.budget
        least = {field: min(budget.value(price, field) for price in prices) for field in budget.bounds}
        return "the cheapest seen has " + ", ".join(f"{field} {count}" for field, count in least.items())

    def _require_networks(self) -> None:
        """Refuse a choice that no network of the space can have, and a budget that nothing fits."""
        choices = ((key, domain) for key, domain in self.parameters.items() if isinstance(domain, Choice))
        for key, domain in choices:
            for value in domain.values:
                pinned = Pinned(RandomTrial(0), key, label(value))
                self._require_network(pinned, key)
                for option, nested in domain.options.get(value, {}).items():
                    for choice in nested.values if isinstance(nested, Choice) else ():
                        self._require_network(Pinned(pinned, f"{value}.{option}", choice), key)
        self.sample_one(RandomTrial(0))

    def _require_network(self, pinned: Trial, key: str) -> None:
        """Raise SpaceError, naming the key to blame, if none of many draws with a choice of `key` is a network."""
        problem = self._problem(pinned)
        if problem is not None:
            named = str(problem).split(":")[0].split(" ")[0]
            blamed = (one for one in self.parameters if one in (named, *_STANDS_FOR.get(named, ())))
            raise SpaceError(str(problem), next(blamed, key))

    def _problem(self, trial: Trial) -> ArchitectureError | None:
        """Return why none of many draws from `trial` is a network, or None if one is."""
        problem = None
        for _ in range(200):
            try:
                self._network(trial)
            except ArchitectureError as error:
                problem = error
            else:
                return None
        return problem


def assemble(
    drawn: Mapping[str, Any],
    stages: int | None,
    options: Mapping[str, float] | None = None,
    input_shape: Shape = (3, 32, 32),
    num_classes: int | None = None,
) -> Architecture:
    """Return the Architecture of some fields and family keys.

    Args:
        drawn: values by key: Architecture's fields and `ressearch.spaces.domains.FAMILY_KEYS`.
        stages: how many stages a family gets; None lets RegNet's parameters say.
        options: the skip style's options.
        input_shape: as in `ressearch.cost`, for widths that are matched to a cost.
        num_classes: as in `ressearch.cost`.

    Raises:
        ArchitectureError: they describe no network, or no width meets the cost it is to be matched to.
    """
    fields = {key: value for key, value in drawn.items() if key in _FIELDS}
    fields["skip_options"] = options or {}
    if "w0" in drawn:
        return _regnet(drawn, fields, stages)
    assert stages is not None
    block = fields.get("block", Architecture.block)
    if "depth" in drawn:
        ratio = fields.get("bottleneck_ratio")
        fields["depths"] = depths_for(
            drawn["depth"],
            block,
            stages,
            skip=fields.get("skip", Architecture.skip),
            stem=fields.get("stem"),
            bottleneck_ratio=ratio if isinstance(ratio, int | float) else None,
            has_head=fields.get("head_width") is not None,
        )
    elif "depths" not in fields:
        fields["depths"] = (drawn.get("blocks_per_stage", 3),) * stages
    width = drawn.get("width", 16)
    if isinstance(width, Match):
        multiple = width_multiple(fields.get("group_width"), fields.get("bottleneck_ratio"), block)
        architecture = match_width(
            lambda widths: Architecture(**{**fields, "widths": widths}),
            stages,
            width,
            input_shape,
            num_classes,
            multiple,
        )
    elif "growth_rate" in fields["skip_options"]:
        # A dense network's widths follow from its growth rate; the family's width is that of the stem.
        architecture = Architecture(**{"stem_width": drawn.get("width"), **fields})
    else:
        architecture = Architecture(**{"widths": widths_for(width, stages), **fields})
    if "depth" in drawn and architecture.depth != drawn["depth"]:
        raise ArchitectureError(
            f"depth: {drawn['depth']} does not come out: these stages have {architecture.depth} weighted layers"
        )
    return architecture


_FIELDS = {field.name for field in dataclasses.fields(Architecture)}


def _regnet(drawn: Mapping[str, Any], fields: dict[str, Any], stages: int | None) -> Architecture:
    group_width, ratio = fields.get("group_width"), fields.get("bottleneck_ratio", 1.0)
    for key, value in (("group_width", group_width), ("bottleneck_ratio", ratio)):
        if isinstance(value, tuple):
            raise ArchitectureError(f"{key}: {list(value)} is a list; RegNet's parameters take one number")
    found = regnet(
        drawn["w0"], drawn["wa"], drawn["wm"], drawn["depth"], group_width=group_width, bottleneck_ratio=ratio
    )
    if stages is not None and len(found.depths) != stages:
        raise ArchitectureError(f"stages: these RegNet parameters give {len(found.depths)}, not {stages}")
    fields |= {"depths": found.depths, "widths": found.widths, "group_width": found.group_widths}
    published = {"block": "bottleneck", "bottleneck_ratio": ratio, "stem": "simple", "stem_width": 32}
    return Architecture(**{**published, **fields})
