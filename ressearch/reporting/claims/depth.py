"""What depth does: the best depth and those tied with it, where more depth no longer helps, and where it hurts."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ressearch.reporting.claims.claim import Claim, analysis, number, span
from ressearch.reporting.claims.lines import HELD, DepthLine, depth_lines
from ressearch.reporting.evidence import Evidence
from ressearch.statistics.means import Family, differences
from ressearch.statistics.ordered import Line, lines
from ressearch.units import listed

METHOD = (
    "each depth against every run of deeper and of shallower depths (Williams 1971; Bretz 2006), Welch 1947 or, where "
    "variances are alike (Bartlett 1937), one shared variance; tested together over all depths and lines by the "
    "simulated least p-value (Westfall and Young 1993)"
)


@analysis("depth")
def depth(evidence: Evidence) -> list[Claim]:
    """Best depth, saturation and onset of degradation of every line."""
    found = depth_lines(evidence)
    if not found:
        return []
    known = known_lines(evidence)
    if not known:
        return [_untested(evidence, line) for line in found]
    causes = _causes(evidence, found, known)
    claims: list[Claim] = []
    for line, result, cause in zip(found, known, causes, strict=True):
        claims += [_best(evidence, line, result), _saturation(evidence, line, result)]
        claims.append(_onset(evidence, line, result, cause))
    return claims


@functools.lru_cache(maxsize=4)
def known_lines(evidence: Evidence) -> tuple[Line, ...]:
    """Return what is known of each line of depth, tested together; none where no network has a second seed."""
    found = depth_lines(evidence)
    networks = [one for line in found for one in line.networks]
    if not networks or np.isnan((means := evidence.means(networks)).variance).all():
        return ()
    place = {network: at for at, network in enumerate(networks)}
    members = [[place[one] for one in line.networks] for line in found]
    return tuple(lines(means, members, [line.depths for line in found]))


def _subject(line: DepthLine) -> dict[str, object]:
    return {**line.subject, "depths": list(line.depths), "held": line.held}


def _seeds(evidence: Evidence, line: DepthLine) -> int:
    return sum(len(evidence.scores[one]) for one in line.networks)


def _resolution(result: Line) -> str:
    if np.isnan(result.detectable):
        return "there is one seed per network, so nothing says what chance alone would do"
    if result.detectable < 1e-8:
        return "the seeds of a network do not differ, so nothing says what chance alone would do"
    return f"a difference of {number(result.detectable)} would have been seen in 80 % of cases"


def _begin(line: DepthLine) -> str:
    text = f"{line.label}, {HELD[line.held]}" if line.held in HELD and line.held != "width" else line.label
    return f"{text[:1].upper()}{text[1:]}"


def _best(evidence: Evidence, line: DepthLine, result: Line) -> Claim:
    tied, best = result.tied, result.best
    told = len(tied) < len(line.depths)
    top = f"depth {line.depths[best]} ({number(result.mean[best])})"
    others = [str(one) for one in tied if one != line.depths[best]]
    if not told:
        sentence = (
            f"{_begin(line)}: no depth from {line.depths[0]} to {line.depths[-1]} was shown to be better than another "
            f"(the highest mean is at {top}); {_resolution(result)}."
        )
    elif others:
        sentence = (
            f"{_begin(line)}: accuracy is highest at {top}, which these seeds cannot tell from depth "
            f"{listed(others)}; the other depths are lower."
        )
    else:
        sentence = f"{_begin(line)}: accuracy is highest at {top}; every other depth is lower."
    beaten = [min(one, other) for one, other in zip(result.p_below_deeper, result.p_below_shallower, strict=True)]
    return Claim(
        "best_depth",
        _subject(line),
        line.depths[best] if told else None,
        min(tied),
        max(tied),
        METHOD,
        _seeds(evidence, line),
        sentence,
        p=min(beaten),
        more={
            "tied": list(tied),
            "highest_mean_at": line.depths[best],
            "highest_mean": result.mean[best],
            "detectable": result.detectable,
        },
    )


def _untested(evidence: Evidence, line: DepthLine) -> Claim:
    """Return what can be said of a line with one seed of each network: no test, and no depth called best."""
    scores = [float(evidence.scores[one][0]) for one in line.networks]
    best = int(np.argmax(scores))
    sentence = (
        f"{_begin(line)}: the highest accuracy is at depth {line.depths[best]} ({number(scores[best])}); with one "
        "seed per network nothing says whether another depth is as good."
    )
    more = {"tied": list(line.depths), "highest_mean_at": line.depths[best], "highest_mean": scores[best]}
    ends = min(line.depths), max(line.depths)
    return Claim("best_depth", _subject(line), None, *ends, "one seed: not tested", len(scores), sentence, more=more)


def _saturation(evidence: Evidence, line: DepthLine, result: Line) -> Claim:
    place, last = result.saturation, len(line.depths) - 1
    first_harm = result.onset
    high = line.depths[first_harm - 1] if first_harm is not None else line.depths[last]
    if place == last:
        sentence = (
            f"{_begin(line)}: accuracy still rises up to depth {line.depths[last]}, the deepest studied; where more "
            "depth stops helping is not within the depths studied."
        )
    elif place == 0:
        sentence = f"{_begin(line)}: more depth than {line.depths[0]} was not shown to help; {_resolution(result)}."
    else:
        sentence = (
            f"{_begin(line)}: depth helps up to {line.depths[place]}; that still more of it helps was not shown "
            f"({_resolution(result)})."
        )
    return Claim(
        "saturation_depth",
        _subject(line),
        None if place == last else line.depths[place],
        line.depths[place],
        max(high, line.depths[place]),
        METHOD,
        _seeds(evidence, line),
        sentence,
        p=float(result.p_below_deeper[place - 1]) if place else None,
        more={"is_within_depths": place != last, "detectable": result.detectable},
    )


def _onset(evidence: Evidence, line: DepthLine, result: Line, cause: str) -> Claim:
    place = result.onset
    if place is None:
        sentence = f"{_begin(line)}: no depth up to {line.depths[-1]} was shown to hurt; {_resolution(result)}."
        return Claim(
            "degradation_onset",
            _subject(line),
            None,
            None,
            None,
            METHOD,
            _seeds(evidence, line),
            sentence,
            p=float(min(result.p_below_shallower)),
            more={"detectable": result.detectable, "cause": None},
        )
    fall = result.falls[place]
    assert fall is not None
    run = [line.depths[fall.first], line.depths[fall.last]]
    above = f"depth {run[0]}" if run[0] == run[1] else f"the mean of depths {run[0]} to {run[1]}"
    deepest = "" if place == len(line.depths) - 1 else f", and no deeper one recovers ({_deepest(line, result)})"
    sentence = (
        f"{_begin(line)}: depth hurts from {line.depths[place]} on. Depth {line.depths[place]} "
        f"({number(result.mean[place])}) is {number(fall.size)} below {above} "
        f"({span(fall.low, fall.high)}, held together with every depth){deepest}. {_CAUSES[cause]}"
    )
    return Claim(
        "degradation_onset",
        _subject(line),
        line.depths[place],
        line.depths[min(result.saturation + 1, place)],
        line.depths[place],
        METHOD,
        _seeds(evidence, line),
        sentence.strip(),
        p=float(result.p_below_shallower[place]),
        more={
            "detectable": result.detectable,
            "cause": cause,
            "fall": {"below_depths": run, "estimate": fall.size, "low": fall.low, "high": fall.high},
        },
    )


def _deepest(line: DepthLine, result: Line) -> str:
    return f"depth {line.depths[-1]}: {number(result.mean[-1])}"


_CAUSES = {
    "degradation": "Training accuracy falls as well: the deeper network is harder to train, which He et al. (2015) "
    "call degradation, not overfitting.",
    "overfitting": "Training accuracy does not fall but rises: this is overfitting, not the degradation of He et al. "
    "(2015).",
    "cannot tell": "These seeds cannot tell whether training accuracy falls too, so neither degradation nor "
    "overfitting is shown.",
    "not recorded": "Training accuracy is not on record, so degradation cannot be told from overfitting.",
}


def _causes(evidence: Evidence, found: Sequence[DepthLine], known: Sequence[Line]) -> list[str]:
    """Say of each line whether what hurts is hard training or overfitting, by training accuracy; tested together."""
    pairs = []
    for line, result in zip(found, known, strict=True):
        if result.onset is not None:
            pairs.append((line.networks[-1], line.networks[int(np.argmax(result.mean[: result.onset]))]))
    if not pairs:
        return ["cannot tell"] * len(found)
    if not evidence.train_scores:
        return ["not recorded"] * len(found)
    networks = sorted({one for pair in pairs for one in pair})
    means = evidence.means(networks, of_training=True)
    rows = differences(len(networks), [(networks.index(one), networks.index(other)) for one, other in pairs])
    family = Family.of(means.contrasts(rows))
    verdicts = iter(
        "degradation" if high < 0 else "overfitting" if low > 0 else "cannot tell"
        for low, high in zip(family.low, family.high, strict=True)
    )
    return ["cannot tell" if result.onset is None else next(verdicts) for result in known]
