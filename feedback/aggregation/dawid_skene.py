"""Dawid and Skene (1979): each annotator has a confusion matrix, found by EM on sparse votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feedback.aggregation.majority import majority
from feedback.aggregation.votes import Bools, Floats, Ints, Votes, modes

_FLOOR = 1e-300  # keeps log finite where smoothing is 0


@dataclass(frozen=True)
class DawidSkene:
    """``posterior`` ``(n_items, n_labels)``; ``label``/``tied`` as in majority; ``prior`` ``(n_labels,)``;
    ``confusion`` ``(n_annotators, true, said)`` with rows that sum to 1; ``log_likelihood`` of the votes in nats;
    ``objective``: what EM climbs (log likelihood plus log of the Dirichlet prior) after each iteration."""

    posterior: Floats
    label: Ints
    tied: Bools
    prior: Floats
    confusion: Floats
    log_likelihood: float
    objective: tuple[float, ...]
    converged: bool


def dawid_skene(
    votes: Votes, *, smoothing: float = 0.01, max_iterations: int = 200, tolerance: float = 1e-7
) -> DawidSkene:
    """Maximum a posteriori Dawid–Skene, started from the majority shares.

    E step: ``q_ik ∝ p_k Π_{(a,l) on i} π_akl``. M step: ``p_k ∝ s + Σ_i q_ik`` and ``π_akl ∝ s + Σ_{i: a said l} q_ik``
    with ``s = smoothing`` (a Dirichlet(1 + s) prior; 0 is plain EM). Stops when the objective grows by less than
    ``tolerance`` per vote. Items without votes get the prior, so their label is the prior's mode; look at the number
    of votes before using it. Source: Dawid & Skene, Applied Statistics 28(1), 1979.
    Raises ValueError for negative smoothing or without any vote.
    """
    if smoothing < 0:
        raise ValueError("smoothing must be 0 or more")
    if not votes.item.size:
        raise ValueError("Dawid–Skene needs at least one vote")
    posterior = _start(votes)
    trace: list[float] = []
    converged = False
    for _ in range(max_iterations):
        prior, confusion = _maximise(votes, posterior, smoothing)
        posterior, log_likelihood = _expect(votes, prior, confusion)
        trace.append(log_likelihood + _log_dirichlet(prior, confusion, smoothing))
        if len(trace) > 1 and trace[-1] - trace[-2] < tolerance * votes.item.size:
            converged = True
            break
    label, tied = modes(posterior)
    return DawidSkene(posterior, label, tied, prior, confusion, log_likelihood, tuple(trace), converged)


def _start(votes: Votes) -> Floats:
    soft = majority(votes).soft
    unseen = soft.sum(axis=1) == 0
    soft[unseen] = 1.0 / votes.n_labels
    return soft


def _maximise(votes: Votes, posterior: Floats, smoothing: float) -> tuple[Floats, Floats]:
    labels, annotators = votes.n_labels, votes.n_annotators
    seen = np.bincount(votes.item, minlength=votes.n_items) > 0
    prior = posterior[seen].sum(axis=0) + smoothing
    said = votes.annotator * labels + votes.label
    confusion = np.empty((annotators, labels, labels))
    for true in range(labels):
        weights = posterior[votes.item, true]
        confusion[:, true] = np.bincount(said, weights=weights, minlength=annotators * labels).reshape(-1, labels)
    confusion += smoothing
    total = confusion.sum(axis=2, keepdims=True)
    # a row that no vote speaks about is uniform
    confusion = np.divide(confusion, total, out=np.full_like(confusion, 1.0 / labels), where=total > 0)
    return prior / prior.sum(), confusion


def _expect(votes: Votes, prior: Floats, confusion: Floats) -> tuple[Floats, float]:
    log_confusion = np.log(np.maximum(confusion, _FLOOR))
    scores = np.tile(np.log(np.maximum(prior, _FLOOR)), (votes.n_items, 1))
    for true in range(votes.n_labels):
        evidence = log_confusion[votes.annotator, true, votes.label]
        scores[:, true] += np.bincount(votes.item, weights=evidence, minlength=votes.n_items)
    best = scores.max(axis=1, keepdims=True)
    mass = np.exp(scores - best)
    total = mass.sum(axis=1, keepdims=True)
    return mass / total, float((best + np.log(total)).sum())


def _log_dirichlet(prior: Floats, confusion: Floats, smoothing: float) -> float:
    if smoothing == 0:
        return 0.0
    return float(smoothing * (np.log(prior).sum() + np.log(confusion).sum()))
