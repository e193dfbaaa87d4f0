"""What paid: the effect of each axis with the others held fixed, and the values that the best networks have.

A search is no depth study: its deeper networks differ from its shallower ones in more than depth. So the effect of an
axis is estimated from all networks together, and refused where the search cannot tell it from another's.
"""

from __future__ import annotations

import numpy as np

from ressearch.reporting.claims.ablation import ablation_path
from ressearch.reporting.claims.claim import Claim, analysis, span
from ressearch.reporting.claims.importance import axis_importances
from ressearch.reporting.claims.lines import depth_lines
from ressearch.reporting.claims.terms import CONFOUNDED, SPARE, Term, is_number, rival_of, terms_of, with_constant
from ressearch.reporting.evidence import COSTS, Evidence
from ressearch.statistics.means import Floats
from ressearch.statistics.regression import Fit, least_squares

METHOD = (
    "least squares over all fully trained networks, the other axes held fixed; robust to unequal variances (HC3: "
    "MacKinnon and White 1985); p-values by Holm (1979)"
)
_BEST = "the best of as many networks drawn again with replacement, 1,000 times (Radosavovic et al. 2020)"

_FEWEST_BEST = 20


@analysis("axes")
def axes(evidence: Evidence) -> list[Claim]:
    """Which axes matter, the way to the best network, the effect of every axis, and the values among the best."""
    seeds_tell = any(len(scores) > 1 for scores in evidence.scores.values())
    if depth_lines(evidence) and not evidence.is_search and seeds_tell:
        return []  # the lines say what depth does, and pairs what the choices do
    overview = [*axis_importances(evidence), *ablation_path(evidence)]
    said, refused = ([one for one in overview if (one.estimate is None) == is_refusal] for is_refusal in (False, True))
    return [*said, *axis_effects(evidence), *best_values(evidence), *refused]


def axis_effects(evidence: Evidence) -> list[Claim]:
    """Return the effect of each axis with the others fixed; of depth and width also at equal MACs."""
    terms = terms_of(evidence)
    networks, score = evidence.numbers, evidence.mean
    if not terms or len(networks) < len(terms) + 1 + SPARE:
        return []
    claims = _effects(evidence, terms, terms, score, "the other axes")
    sized = [term for term in terms if term.axis in ("depth", "width")]
    cost = next((key for key in ("macs", "params") if key in evidence.networks), None)
    if cost is not None and len(sized) == 2 and evidence.networks[cost].notna().all():
        column = np.log2(evidence.networks[cost].to_numpy(dtype=float))
        dear = Term(cost, None, None, "doubling", column)
        kept = [term for term in terms if term.axis != "width"]
        depth = [term for term in terms if term.axis == "depth"]
        held = f"the other axes and {'MACs' if cost == 'macs' else cost} (deeper is narrower)"
        claims += _effects(evidence, [*kept, dear], depth, score, held)
    return _holm(claims)


def _effects(evidence: Evidence, terms: list[Term], asked: list[Term], score: Floats, held: str) -> list[Claim]:
    fit = least_squares(with_constant(terms), score)
    return [_claim(term, 1 + at, fit, terms, held, len(score)) for at, term in enumerate(terms) if term in asked]


def _claim(term: Term, place: int, fit: Fit, terms: list[Term], held: str, count: int) -> Claim:
    subject = {"axis": term.axis, "held": held, "unit": term.unit}
    if term.value is not None:
        subject |= {"value": term.value, "against": term.against}
    said = _axis_words(term)
    if fit.inflation[place] > CONFOUNDED:
        return Claim(
            "axis_effect",
            subject,
            None,
            None,
            None,
            METHOD,
            count,
            f"{said}: this search cannot tell its effect from that of {rival_of(terms, term)}, "
            "with which it went together.",
            more={"variance_inflation": fit.inflation[place]},
        )
    weights = np.zeros(len(fit.estimate))
    weights[place] = 1.0
    value, error, p = fit.contrast(weights)
    low, high = value - fit.reach(error), value + fit.reach(error)
    digits = 3 if high - low > 0.002 else 4
    return Claim(
        "axis_effect",
        subject,
        value,
        low,
        high,
        METHOD,
        count,
        f"{said}, with {held} held fixed, changes accuracy by {value:+.{digits}f} ({span(low, high, digits)}).",
        p=p,
        more={"standard_error": error, "variance_inflation": fit.inflation[place]},
    )


def _axis_words(term: Term) -> str:
    name = term.axis.replace("_", " ")
    if term.value is not None:
        return f"{name[:1].upper()}{name[1:]} {term.value} instead of {term.against}"
    return f"Doubling {name}" if term.unit == "doubling" else f"One more of {name}"


def _holm(claims: list[Claim]) -> list[Claim]:
    """Return the claims with p-values adjusted for their number (Holm 1979); what is not shown is said to be so."""
    tested = [place for place, one in enumerate(claims) if one.p is not None]
    adjusted: dict[int, float] = {}
    least = 0.0
    for rank, place in enumerate(sorted(tested, key=lambda one: claims[one].p or 0.0)):
        least = max(least, min((claims[place].p or 0.0) * (len(tested) - rank), 1.0))
        adjusted[place] = least
    made = []
    for place, one in enumerate(claims):
        if place not in adjusted:
            made.append(one)
            continue
        sentence = one.sentence
        if adjusted[place] > 0.05:
            over = f" over {len(tested)} effects" if len(tested) > 1 else ""
            sentence = f"{sentence[:-1]}, which{over} cannot be told from none."
        made.append(Claim(**{**one.__dict__, "p": adjusted[place], "sentence": sentence}))
    return made


def best_values(evidence: Evidence) -> list[Claim]:
    """Return, for each axis, the value that the best networks have, with a band by resampling."""
    networks, score = evidence.numbers, evidence.mean
    if len(networks) < _FEWEST_BEST or not evidence.is_search:
        return []
    rng = np.random.default_rng(0)
    size = max(len(networks) // 4, 10)
    drawn = rng.integers(len(networks), size=(1000, size))
    best = drawn[np.arange(1000), score[drawn].argmax(axis=1)]
    claims = []
    for axis in evidence.axes:
        if axis in COSTS or axis == "stem_width":
            continue
        values = evidence.networks[axis].iloc[best]
        if is_number(values):
            low, middle, high = (float(one) for one in np.quantile(values.to_numpy(dtype=float), [0.025, 0.5, 0.975]))
            sentence = f"Among the best, {axis.replace('_', ' ')} is {middle:g} (95 % band {low:g} to {high:g})."
            claims.append(Claim("best_values", {"axis": axis}, middle, low, high, _BEST, len(networks), sentence))
        else:
            shares = values.astype(str).value_counts(normalize=True)
            said = ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:3])
            sentence = f"Among the best, {axis.replace('_', ' ')} is most often {shares.index[0]} ({said})."
            claims.append(
                Claim("best_values", {"axis": axis}, str(shares.index[0]), None, None, _BEST, len(networks), sentence,
                      more={"shares": {str(key): float(value) for key, value in shares.items()}})
            )  # fmt: skip
    return claims


__all__ = ["axes", "axis_effects", "best_values", "terms_of"]
