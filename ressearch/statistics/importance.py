"""How much each axis of a search sets its best networks apart: PED-ANOVA, with an interval and a test.

PED-ANOVA (Watanabe, Bansal and Hutter 2023) takes the share of each value among the best networks and among all, and
measures how far the two distributions are apart (Pearson's divergence). This is the formula of Optuna's
`PedAnovaImportanceEvaluator` for categories, on counts: the hundreds of resamples behind the intervals then cost
milliseconds, of ten thousand networks too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ressearch.statistics.means import Floats

TOP = 0.25
"""The part of the networks that counts as the best."""

_RESAMPLES = 100
_SHUFFLES = 999
_SEED = 0


@dataclass(frozen=True)
class Importances:
    """Of A axes.

    Attributes:
        share: of each axis in the sum over axes, shape (A,); zero everywhere if nothing sets the best apart.
        low, high: ends of 95 % intervals, by the spread over networks drawn again with replacement (Efron 1979).
        p: of «its values were handed out at random» (permutations), adjusted for the number of axes (Bonferroni).
    """

    share: Floats
    low: Floats
    high: Floats
    p: Floats


def importances(axes: list[np.ndarray], score: Floats, top: float = TOP) -> Importances:
    """Return how much each axis sets the best `top` of the networks apart.

    Args:
        axes: for each axis the networks' classes as numbers from 0, shape (N,).
        score: of the networks, more is better, shape (N,).
        top: the part that counts as the best; networks that tie with its last one count too.
    """
    rng = np.random.default_rng(_SEED)
    tables = [np.eye(int(codes.max()) + 1)[codes] for codes in axes]
    once = np.ones((1, len(score)))
    found = _divergences(tables, once, _best(once, score, top))[0]
    drawn = rng.multinomial(len(score), np.full(len(score), 1 / len(score)), size=_RESAMPLES).astype(float)
    spread = _shares(_divergences(tables, drawn, _best(drawn, score, top))).std(axis=0, ddof=1)
    share = _shares(found[None])[0]
    chosen = int(_best(once, score, top).sum())
    p = np.array([_chance(table.sum(axis=0), chosen, value, rng) for table, value in zip(tables, found, strict=True)])
    low, high = np.clip([share - 1.96 * spread, share + 1.96 * spread], 0.0, 1.0)
    return Importances(share, low, high, np.minimum(p * len(axes), 1.0))


def divergence(best: Floats, every: Floats) -> Floats:
    """Return Pearson's divergence of the best networks' values from all networks', from counts of shape (…, C)."""
    ours, theirs = (_density(counts) + 1e-12 for counts in (best, every))
    return np.asarray((theirs * (ours / theirs - 1) ** 2).sum(axis=-1))


def _density(counts: Floats) -> Floats:
    """Return the probability of each of C values: a kernel on each value seen, and one network spread over all C."""
    total, classes = counts.sum(axis=-1, keepdims=True), counts.shape[-1]
    kernels = (counts > 0).sum(axis=-1, keepdims=True) + 1
    density: Floats = ((total / kernels + counts) / (classes / kernels + 1) + 1 / classes) / (total + 1)
    return density


def _best(drawn: Floats, score: Floats, top: float) -> Floats:
    """Return how often each network is drawn, shape (B, N), zero for those not among the best of the draw."""
    order = np.argsort(-score, kind="stable")
    wanted = math.ceil(top * len(score))
    last = (drawn[:, order].cumsum(axis=1) >= wanted).argmax(axis=1)
    kept: Floats = drawn * (score[None] >= score[order][last][:, None])
    return kept


def _divergences(tables: list[Floats], drawn: Floats, best: Floats) -> Floats:
    found: Floats = np.stack([divergence(best @ table, drawn @ table) for table in tables], axis=1)
    return found


def _shares(found: Floats) -> Floats:
    found = np.where(found < 1e-15, 0.0, found)
    total = found.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    return shares


def _chance(counts: Floats, chosen: int, value: float, rng: np.random.Generator) -> float:
    """Return the probability of such a divergence where the best are drawn at random."""
    drawn = rng.multivariate_hypergeometric(counts.astype(int), chosen, size=_SHUFFLES, method="marginals")
    reached = divergence(drawn.astype(float), counts) >= value - 1e-12
    return float((1 + reached.sum()) / (1 + _SHUFFLES))
