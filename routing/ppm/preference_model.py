"""What a person would say of each pair, learned from the labels bought so far: a logistic model with errors.

logit of "a is truly better" = x·β + u_a − u_b, with Gaussian priors on the weights β and on one strength u per
completion of a prompt, so that a label of one pair also tells of the pairs that share a completion with it
(Bradley & Terry 1952 with covariates). A person names the truth with accuracy h whatever the pair:
P(person says a) = (1−h) + (2h−1)·σ(logit), so a label that contradicts everything else is taken for a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.logistic import sigmoid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS = 30
CONVERGED = 1e-5
ACCURACIES = np.array([0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.94, 0.97, 0.99])
SCALES = np.array([1.0, 1.5, 2.0, 3.0, 4.5])
# Exponents of a Beta prior on the accuracy, its mode .8: what crowds reach on preferences, worth five labels.
ACCURACY_PRIOR = (4.0, 1.0)
LEAST_LEFT = 0.05
MOST_COMPLETIONS = 64


@dataclass(frozen=True)
class Prior:
    """Weights before any label: mean [P] and standard deviation [P]; `strength` is that of a completion's strength."""

    mean: Floats
    sd: Floats
    strength: float


@dataclass(frozen=True)
class Sharing:
    """Which pairs share completions: each pair's group [N] and the places of a and b within it [N].

    Only groups that a pair can learn from are listed (G of them, at most K completions each); elsewhere group is −1.
    """

    group: Ints
    a: Ints
    b: Ints
    groups: int
    most: int

    def rows(self, chosen: Ints) -> Sharing:
        """The same for some of the pairs."""
        return Sharing(self.group[chosen], self.a[chosen], self.b[chosen], self.groups, self.most)


def sharing_of(group: Ints, a: Ints, b: Ints) -> Sharing:
    """From each pair's group, and its completions' numbers [N]; pairs alone in their group share with nobody.

    The cost is the cube of a group's completions, so one of more than MOST_COMPLETIONS falls into blocks of at most as
    many; a pair whose completions fall apart shares with nobody.
    """
    group, inside = _in_blocks(group, a, b)
    shared = inside & (np.bincount(group, minlength=1)[group] > 1)
    out_group = np.full(len(group), -1, dtype=np.int64)
    place_a, place_b = np.zeros(len(group), dtype=np.int64), np.zeros(len(group), dtype=np.int64)
    if not shared.any():
        return Sharing(out_group, place_a, place_b, 0, 0)
    numbers, out_group[shared] = np.unique(group[shared], return_inverse=True)
    ends = np.concatenate([out_group[shared], out_group[shared]])
    names = np.concatenate([a[shared], b[shared]])
    keys, inverse = np.unique(np.column_stack([ends, names]), axis=0, return_inverse=True)
    first = np.searchsorted(keys[:, 0], keys[:, 0])
    place = (np.arange(len(keys)) - first)[inverse.ravel()]
    half = int(shared.sum())
    place_a[shared], place_b[shared] = place[:half], place[half:]
    return Sharing(out_group, place_a, place_b, len(numbers), int(place.max()) + 1)


def _in_blocks(group: Ints, a: Ints, b: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """(group [N], large ones in blocks with numbers of their own; whether both completions are in one block [N])."""
    members = np.unique(np.column_stack([np.concatenate([group, group]), np.concatenate([a, b])]), axis=0)
    large = np.bincount(members[:, 0], minlength=1) > MOST_COMPLETIONS
    rows = np.flatnonzero(large[group])
    out, inside = group.copy(), np.ones(len(group), dtype=bool)
    parent: dict[tuple[int, int], tuple[int, int]] = {}
    size: dict[tuple[int, int], int] = {}

    def block(one: tuple[int, int]) -> tuple[int, int]:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    ends = [((int(group[row]), int(a[row])), (int(group[row]), int(b[row]))) for row in rows]
    for one, other in ends:
        first, second = block(one), block(other)
        joined = size.get(first, 1) + size.get(second, 1)
        if first != second and joined <= MOST_COMPLETIONS:
            parent[second], size[first] = first, joined
    numbers: dict[tuple[int, int], int] = {}
    for row, (one, other) in zip(rows, ends, strict=True):
        inside[row] = block(one) == block(other)
        out[row] = int(group.max()) + 1 + numbers.setdefault(block(one), len(numbers))
    return out, inside


@dataclass(frozen=True)
class Belief:
    """P(a is truly better) as a logit with mean [N] and variance [N]."""

    mean: Floats
    variance: Floats

    @property
    def probability(self) -> Floats:
        """P(a is truly better) [N], the logit's uncertainty averaged out (MacKay 1992)."""
        return sigmoid(self.mean / np.sqrt(1.0 + np.pi * self.variance / 8.0))


@dataclass(frozen=True)
class _Curvature:
    """The Hessian in blocks: S⁻¹ of the weights [P, P], D⁻¹ of the strengths [G, K, K], B between them [G, K, P]."""

    weights: Floats
    strengths: Floats
    between: Floats


@dataclass(frozen=True)
class PreferenceModel:
    """The fit: weights β [P], strengths u [G, K], the curvature there, and each label's gradient and weight [n]."""

    beta: Floats
    strength: Floats
    accuracy: float
    curvature: _Curvature
    gradient: Floats
    weight: Floats

    def belief(self, x: Floats, sharing: Sharing) -> Belief:
        """Of any pairs: x [N, P] and their sharing, by the Laplace approximation."""
        mean = _logits(x, sharing, self.beta, self.strength)
        rest, own = x.copy(), np.zeros(len(x))
        inside = np.flatnonzero(sharing.group >= 0)
        if len(inside):
            g, a, b = sharing.group[inside], sharing.a[inside], sharing.b[inside]
            pull = self.curvature.strengths[g, a] - self.curvature.strengths[g, b]
            rest[inside] -= np.einsum("nk,nkp->np", pull, self.curvature.between[g])
            own[inside] = pull[np.arange(len(g)), a] - pull[np.arange(len(g)), b]
        return Belief(mean, own + np.einsum("np,np->n", rest @ self.curvature.weights, rest))

    def without_own(self, belief: Belief, owner: Ints) -> Belief:
        """Of some labelled pairs [L], what the labels of all other pairs say; owner [n] is each label's row there."""
        gradient = np.bincount(owner, self.gradient, minlength=len(belief.mean))
        weight = np.bincount(owner, self.weight, minlength=len(belief.mean))
        left = np.maximum(1.0 - weight * belief.variance, LEAST_LEFT)
        return Belief(belief.mean - belief.variance * gradient / left, belief.variance / left)


def _logits(x: Floats, sharing: Sharing, beta: Floats, strength: Floats) -> Floats:
    out = x @ beta
    inside = sharing.group >= 0
    g = sharing.group[inside]
    out[inside] += strength[g, sharing.a[inside]] - strength[g, sharing.b[inside]]
    return np.asarray(out, dtype=np.float64)


def fit_preferences(
    x: Floats,
    sharing: Sharing,
    said_a: Floats,
    prior: Prior,
    accuracy: float,
    start: PreferenceModel | None = None,
) -> PreferenceModel:
    """The most probable weights and strengths given labels said_a [n] (1: a, 0: b, ½: tie) of pairs x [n, P].

    Newton's method with expected curvature and step halving. Raises ValueError unless ½ < accuracy < 1.
    """
    if not 0.5 < accuracy < 1.0:
        raise ValueError("People's accuracy lies between one half and one.")
    beta = prior.mean.copy() if start is None else start.beta
    strength = np.zeros((sharing.groups, sharing.most)) if start is None else start.strength
    value = _objective(x, sharing, said_a, prior, accuracy, beta, strength)
    for _ in range(STEPS):
        gradient, weight = _slopes(_logits(x, sharing, beta, strength), said_a, accuracy)
        curvature = _curvature(x, sharing, weight, prior)
        to_beta, to_strength = _step(x, sharing, gradient, prior, curvature, beta, strength)
        size, new = 1.0, -np.inf
        while size > 1e-3:
            new = _objective(x, sharing, said_a, prior, accuracy, beta + size * to_beta, strength + size * to_strength)
            if new >= value:
                break
            size /= 2.0
        if new < value:
            break
        beta, strength, change, value = beta + size * to_beta, strength + size * to_strength, new - value, new
        if change < CONVERGED * max(len(said_a), 1):
            break
    gradient, weight = _slopes(_logits(x, sharing, beta, strength), said_a, accuracy)
    return PreferenceModel(beta, strength, accuracy, _curvature(x, sharing, weight, prior), gradient, weight)


def _chance(logit: Floats, accuracy: float) -> tuple[Floats, Floats]:
    """(P(person says a), its derivative in the logit)."""
    truth = sigmoid(logit)
    spread = 2.0 * accuracy - 1.0
    return (1.0 - accuracy) + spread * truth, spread * truth * (1.0 - truth)


def _slopes(logit: Floats, said_a: Floats, accuracy: float) -> tuple[Floats, Floats]:
    p, slope = _chance(logit, accuracy)
    spread = p * (1.0 - p)
    return slope * (said_a - p) / spread, slope**2 / spread


def _objective(
    x: Floats, sharing: Sharing, said_a: Floats, prior: Prior, accuracy: float, beta: Floats, strength: Floats
) -> float:
    p, _ = _chance(_logits(x, sharing, beta, strength), accuracy)
    likelihood = float(said_a @ np.log(p) + (1.0 - said_a) @ np.log(1.0 - p))
    penalty = float((((beta - prior.mean) / prior.sd) ** 2).sum())
    return likelihood - 0.5 * (penalty + float((strength**2).sum()) / prior.strength**2)


def _curvature(x: Floats, sharing: Sharing, weight: Floats, prior: Prior) -> _Curvature:
    """Strengths are eliminated group by group (a Schur complement): the cost grows with the pairs, not their cube."""
    weighted = x * weight[:, None]
    full = x.T @ weighted
    full[np.diag_indices_from(full)] += 1.0 / prior.sd**2
    shape = (sharing.groups, sharing.most)
    blocks = np.zeros((*shape, sharing.most))
    diagonal = np.arange(sharing.most)
    blocks[:, diagonal, diagonal] = 1.0 / prior.strength**2
    between = np.zeros((*shape, x.shape[1]))
    inside = np.flatnonzero(sharing.group >= 0)
    g, a, b, w = sharing.group[inside], sharing.a[inside], sharing.b[inside], weight[inside]
    for one, other in ((a, b), (b, a)):
        np.add.at(blocks, (g, one, one), w)
        np.add.at(blocks, (g, one, other), -w)
    np.add.at(between, (g, a), weighted[inside])
    np.subtract.at(between, (g, b), weighted[inside])
    inverse = np.linalg.inv(blocks) if sharing.groups else blocks
    schur = full - np.einsum("gkp,gkq->pq", between, inverse @ between, optimize=True)
    return _Curvature(np.asarray(np.linalg.inv(schur), dtype=np.float64), np.asarray(inverse), between)


def _step(
    x: Floats,
    sharing: Sharing,
    gradient: Floats,
    prior: Prior,
    curvature: _Curvature,
    beta: Floats,
    strength: Floats,
) -> tuple[Floats, Floats]:
    by_beta = x.T @ gradient - (beta - prior.mean) / prior.sd**2
    by_strength = -strength / prior.strength**2
    inside = np.flatnonzero(sharing.group >= 0)
    g = sharing.group[inside]
    np.add.at(by_strength, (g, sharing.a[inside]), gradient[inside])
    np.subtract.at(by_strength, (g, sharing.b[inside]), gradient[inside])
    inner = np.einsum("gkl,gl->gk", curvature.strengths, by_strength)
    to_beta = curvature.weights @ (by_beta - np.einsum("gkp,gk->p", curvature.between, inner))
    to_strength = inner - np.einsum("gkl,glp,p->gk", curvature.strengths, curvature.between, to_beta, optimize=True)
    return np.asarray(to_beta), np.asarray(to_strength)


def accuracy_of(others: Belief, said_a: Floats) -> float:
    """People's accuracy: posterior mean on a grid, from what all *other* labels say of each labelled pair.

    The prior keeps the weights small and with them the logits, which alone would look like careless people; so the
    logits may be up to SCALES[-1] times as large, every scale being equally likely.
    """
    logit = np.outer(SCALES, others.mean / np.sqrt(1.0 + np.pi * others.variance / 8.0))
    p = (1.0 - ACCURACIES[:, None, None]) + (2.0 * ACCURACIES[:, None, None] - 1.0) * sigmoid(logit)
    log_likelihood = np.log(p) @ said_a + np.log(1.0 - p) @ (1.0 - said_a)
    wrong, right = np.log(1.0 - ACCURACIES), np.log(ACCURACIES)
    log_likelihood += (ACCURACY_PRIOR[0] * right + ACCURACY_PRIOR[1] * wrong)[:, None]
    mass = np.exp(log_likelihood - log_likelihood.max()).sum(axis=1)
    return float(mass @ ACCURACIES / mass.sum())


def with_label(others: Floats, said_a: Floats, accuracy: float) -> Floats:
    """P(a is truly better) [n] after a person's label: log-odds add up; a tie says nothing of the side."""
    return with_labels(others, np.arange(len(others)), said_a, accuracy)


def with_labels(others: Floats, owner: Ints, said_a: Floats, accuracy: float | Floats) -> Floats:
    """P(a is truly better) [L] after labels said_a [n], each of the pair owner [n]; people err independently.

    accuracy is everybody's, or of each label [n].
    """
    odds = np.log(others / (1.0 - others))
    said = (2.0 * said_a - 1.0) * np.log(accuracy / (1.0 - accuracy))
    return sigmoid(odds + np.bincount(owner, said, minlength=len(others)))
