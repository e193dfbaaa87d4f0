"""Scaling fits: how error falls with depth, parameters or MACs along a line, where the data can carry such a fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ressearch.reporting.claims.claim import Claim, analysis, number
from ressearch.reporting.claims.lines import DepthLine, depth_lines
from ressearch.reporting.evidence import COST_WORDS, Evidence
from ressearch.statistics.means import Floats
from ressearch.statistics.power_law import PowerLaw, fit, flatness, smooth_variance

METHOD = (
    "error = c + a·x^(-b) by variable projection over a grid of b, c and a not below 0 (non-negative least squares), "
    "weighted by the variance over seeds as a power of the error (gamma quasi-likelihood: McCullagh and Nelder 1989); "
    "profile intervals by F (Bates and Watts 1988); cf. Besiroglu et al. 2024"
)
_FEWEST = 5
"""Distinct sizes that a curve of three parameters needs, one of which is held out."""

_CONFIDENCE = 0.965
"""Of the profile intervals: as the weights are estimated, this holds 95 % (`benchmarks/planted_truth.py`)."""

_UNKNOWN = 3.0
"""An interval of the exponent wider than this (or without an end) says nothing."""


@analysis("scaling")
def scaling(evidence: Evidence) -> list[Claim]:
    """The power law along each line of depth, over each size that is known."""
    claims = []
    found = depth_lines(evidence)
    if found and max(len(line.depths) for line in found) < _FEWEST:
        reason = f"{max(len(line.depths) for line in found)} depths are too few for a curve of three parameters"
        sentence = f"No scaling law is given: {reason}; {_FEWEST} are needed."
        return [
            Claim("scaling_fit", {"over": "depth"}, None, None, None, METHOD, 0, sentence, more={"refused": reason})
        ]
    for line in found:
        for size in ("depth", "params", "macs"):
            if size in evidence.networks and size != line.held:
                made = _fitted(evidence, line, size)
                if made is not None:
                    claims.append(made)
    return claims


def _fitted(evidence: Evidence, line: DepthLine, size: str) -> Claim | None:
    networks = list(line.networks)
    sizes = np.array([evidence.rows[one][size] for one in networks], dtype=float)
    if np.isnan(sizes).any() or len(set(sizes)) < 3:
        return None
    words = COST_WORDS.get(size, size)
    subject = {**line.subject, "over": size, "held": line.held}
    seeds = sum(len(evidence.scores[one]) for one in networks)
    name = line.label[:1].upper() + line.label[1:]

    def refused(reason: str, **more: Any) -> Claim:
        sentence = f"{name}: no scaling law over {words} is given, because {reason}."
        return Claim(
            "scaling_fit", subject, None, None, None, METHOD, seeds, sentence, more={"refused": reason, **more}
        )

    if len(set(sizes)) < _FEWEST:
        return refused(f"{len(set(sizes))} sizes are too few for a curve of three parameters; {_FEWEST} are needed")
    means = evidence.means(networks)
    if np.isnan(means.variance).any():
        return refused("with one seed per network nothing says how much of the curve is chance")
    x, errors, variances = _observations(evidence, networks, sizes)
    order = np.argsort(sizes)
    mean_errors = 1 - means.mean
    peak = int(order[int(np.argmin(mean_errors[order]))])
    rise = float(mean_errors[order[-1]] - mean_errors[peak])
    known = means.contrasts(np.eye(len(networks))[[order[-1]]] - np.eye(len(networks))[[peak]])
    if peak != order[-1] and rise > float(known.reach()[0]):
        return refused(f"error does not fall throughout: it rises by {number(rise)} from its lowest to the largest")
    found = fit(x, errors, variances, _CONFIDENCE)
    flat = flatness(x, errors, variances, found)
    if flat > 0.05:
        return refused("the errors cannot be told from a constant", p_of_constant=flat)
    if np.isinf(found.exponent_high) or found.exponent_high - found.exponent_low > _UNKNOWN or found.exponent_low <= 0:
        return refused(
            f"the data do not bound its exponent ({_bounds(found)})",
            exponent=found.exponent,
            exponent_low=found.exponent_low,
            exponent_high=found.exponent_high,
        )
    held_out = _held_out(x, errors, variances, sizes)
    rivals = _rivals(x, errors, variances, found)
    sentence = (
        f"{name}: error falls with {words} as {found.floor:.3f} + "
        f"{found.scale:.3f}·({words}/{found.unit:.3g})^-{found.exponent:.2f}; "
        f"exponent {found.exponent_low:.2f} to {found.exponent_high:.2f}, floor {found.floor_low:.3f} to "
        f"{found.floor_high:.3f} (95 %). {held_out['sentence']} {rivals['sentence']}"
    )
    return Claim(
        "scaling_fit",
        subject,
        found.exponent,
        found.exponent_low,
        found.exponent_high,
        METHOD,
        seeds,
        sentence.strip(),
        p=flat,
        more={
            "exponent": found.exponent,
            "floor": found.floor,
            "floor_low": found.floor_low,
            "floor_high": found.floor_high,
            "scale": found.scale,
            "unit": found.unit,
            "held_out": {key: value for key, value in held_out.items() if key != "sentence"},
            "aicc": rivals["aicc"],
        },
    )


def _bounds(found: PowerLaw) -> str:
    high = "no upper end" if np.isinf(found.exponent_high) else f"{found.exponent_high:.2f}"
    return f"95 % interval from {found.exponent_low:.2f} to {high}"


def _observations(evidence: Evidence, networks: list[int], sizes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return every seed as an observation: its size, its error, and the variance of seeds at such an error."""
    scores = [evidence.scores[one] for one in networks]
    count = np.array([len(one) for one in scores])
    own = np.array([one.var(ddof=1) if len(one) > 1 else np.nan for one in scores])
    variance = smooth_variance(np.array([1 - one.mean() for one in scores]), own, count - 1.0)
    return np.repeat(sizes, count), 1 - np.concatenate(scores), np.repeat(variance, count)


def _held_out(x: Floats, errors: Floats, variances: Floats, sizes: Floats) -> dict[str, Any]:
    """Fit without the largest size and compare what that says of it with what it reached."""
    largest = float(sizes.max())
    kept = x < largest
    if len(set(x[kept])) < 4:
        return {"sentence": ""}
    said = float(fit(x[kept], errors[kept], variances[kept]).error(largest))
    got = float(errors[~kept].mean())
    spread = float(np.sqrt(variances[~kept].mean() / (~kept).sum()))
    return {
        "predicted": said,
        "obtained": got,
        "standard_error": spread,
        "sentence": f"Fitted without the largest network, it predicts {said:.3f} there; obtained: {got:.3f}.",
    }


def _rivals(x: Floats, errors: Floats, variances: Floats, found: PowerLaw) -> dict[str, Any]:
    """Compare simpler curves by AICc: no floor, a straight line in log x, a constant."""
    weight = np.mean(variances) / variances
    root, count = np.sqrt(weight), len(x)

    def misfit(columns: Floats) -> float:
        rest = (
            errors * root
            - columns * root[:, None] @ np.linalg.lstsq(columns * root[:, None], errors * root, rcond=None)[0]
        )
        return float((rest**2).sum())

    pure = min(misfit((x / found.unit)[:, None] ** -one) for one in np.linspace(0.01, 4, 200))
    misfits = {
        "power law with a floor": (found.misfit, 3),
        "power law without a floor": (pure, 2),
        "straight line in the logarithm": (misfit(np.column_stack([np.ones(count), np.log(x)])), 2),
        "constant": (misfit(np.ones((count, 1))), 1),
    }
    aicc = {
        name: count * np.log(max(rest, 1e-300) / count) + 2 * (k + 1) + 2 * (k + 1) * (k + 2) / max(count - k - 2, 1)
        for name, (rest, k) in misfits.items()
    }
    best = min(aicc, key=lambda name: aicc[name])
    sentence = (
        ""
        if best == "power law with a floor" or aicc["power law with a floor"] - aicc[best] < 2
        else f"A {best} describes the data as well with fewer parameters (AICc), so extrapolate neither."
    )
    return {"aicc": aicc, "best": best, "sentence": sentence}


__all__ = ["scaling"]
