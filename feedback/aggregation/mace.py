"""MACE (Hovy et al. 2013): each annotator either knows the label or spams from a fixed habit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feedback.aggregation.majority import majority
from feedback.aggregation.votes import Bools, Floats, Ints, Votes, modes


@dataclass(frozen=True)
class Mace:
    """``posterior`` ``(n_items, n_labels)``; ``label``/``tied`` as in majority; ``competence`` ``(n_annotators,)``:
    probability that a vote is knowledge and not spam; ``spam`` ``(n_annotators, n_labels)``: what spam looks like."""

    posterior: Floats
    label: Ints
    tied: Bools
    competence: Floats
    spam: Floats
    log_likelihood: float
    converged: bool


def mace(votes: Votes, *, smoothing: float = 0.1, max_iterations: int = 200, tolerance: float = 1e-7) -> Mace:
    """EM for MACE with a uniform label prior, started from the majority shares (deterministic, one start).

    A vote of annotator ``a`` is the true label with probability ``c_a`` and else drawn from ``s_a``:
    ``P(l | k) = c_a [l = k] + (1 − c_a) s_al``. ``smoothing`` adds that pseudo-count to every M step count, which keeps
    an annotator with few votes near the middle. Source: Hovy, Berg-Kirkpatrick, Vaswani & Hovy, NAACL 2013.
    Raises ValueError for smoothing of 0 or less, or without any vote.
    """
    if smoothing <= 0 or not votes.item.size:
        raise ValueError("MACE needs smoothing above 0 and at least one vote")
    competence = _start(votes)
    spam = np.full((votes.n_annotators, votes.n_labels), 1.0 / votes.n_labels)
    previous, converged = -np.inf, False
    for _ in range(max_iterations):
        posterior, log_likelihood = _expect(votes, competence, spam)
        if abs(log_likelihood - previous) < tolerance * votes.item.size:
            converged = True
            break
        previous = log_likelihood
        competence, spam = _maximise(votes, posterior, competence, spam, smoothing)
    label, tied = modes(posterior)
    return Mace(posterior, label, tied, competence, spam, log_likelihood, converged)


def _start(votes: Votes) -> Floats:
    """How often each annotator is with the majority's share, squeezed away from 0 and 1."""
    share = majority(votes).soft[votes.item, votes.label]
    total = np.bincount(votes.annotator, minlength=votes.n_annotators)
    agreed = np.bincount(votes.annotator, weights=share, minlength=votes.n_annotators)
    return (agreed + 0.5) / (total + 1.0)


def _expect(votes: Votes, competence: Floats, spam: Floats) -> tuple[Floats, float]:
    habit = ((1 - competence)[:, None] * spam)[votes.annotator, votes.label]
    known = np.log(habit + competence[votes.annotator])
    guessed = np.log(habit)
    base = np.bincount(votes.item, weights=guessed, minlength=votes.n_items)
    flat = votes.item * votes.n_labels + votes.label
    gain = np.bincount(flat, weights=known - guessed, minlength=votes.n_items * votes.n_labels)
    scores = base[:, None] + gain.reshape(votes.n_items, votes.n_labels) - np.log(votes.n_labels)
    best = scores.max(axis=1, keepdims=True)
    mass = np.exp(scores - best)
    total = mass.sum(axis=1, keepdims=True)
    return mass / total, float((best + np.log(total)).sum())


def _maximise(
    votes: Votes, posterior: Floats, competence: Floats, spam: Floats, smoothing: float
) -> tuple[Floats, Floats]:
    skill = competence[votes.annotator]
    habit = (1 - skill) * spam[votes.annotator, votes.label]
    knowing = posterior[votes.item, votes.label] * skill / (skill + habit)
    known = np.bincount(votes.annotator, weights=knowing, minlength=votes.n_annotators)
    total = np.bincount(votes.annotator, minlength=votes.n_annotators)
    said = votes.annotator * votes.n_labels + votes.label
    spam_mass = np.bincount(said, weights=1 - knowing, minlength=votes.n_annotators * votes.n_labels)
    spammed: Floats = spam_mass.reshape(votes.n_annotators, votes.n_labels).astype(np.float64) + smoothing
    return (known + smoothing) / (total + 2 * smoothing), spammed / spammed.sum(axis=1, keepdims=True)
