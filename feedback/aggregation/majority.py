"""Majority vote that says where it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feedback.aggregation.votes import Bools, Floats, Ints, Votes, modes


@dataclass(frozen=True)
class Majority:
    """``soft`` ``(n_items, n_labels)``: share of (weighted) votes, all zero without votes. ``label`` ``(n_items,)``:
    the most voted label or ``NO_LABEL``. ``tied``: two or more labels share first place. ``n_votes`` ``(n_items,)``."""

    soft: Floats
    label: Ints
    tied: Bools
    n_votes: Ints


def majority(votes: Votes, weights: Floats | None = None) -> Majority:
    """Share of votes per label and its mode; ``weights`` ``(V,)`` counts each vote so much (default 1).

    A split vote is reported in ``tied`` and gets ``NO_LABEL``: which label comes first never decides.
    Raises ValueError for weights of another length, or negative ones.
    """
    n_votes = np.bincount(votes.item, minlength=votes.n_items)
    mass = votes.counts() if weights is None else _weighted(votes, weights)
    total = mass.sum(axis=1, keepdims=True)
    soft = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    label, tied = modes(soft)
    return Majority(soft=soft, label=label, tied=tied, n_votes=n_votes)


def _weighted(votes: Votes, weights: Floats) -> Floats:
    if weights.shape != votes.item.shape or (weights < 0).any():
        raise ValueError("weights need one non-negative number per vote")
    flat = votes.item * votes.n_labels + votes.label
    mass = np.bincount(flat, weights=weights, minlength=votes.n_items * votes.n_labels)
    return mass.reshape(votes.n_items, votes.n_labels).astype(np.float64)
