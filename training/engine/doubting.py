"""Labels of a run as reward models of other prompts leave them."""

import shutil

import numpy as np

from training.engine.files import sha256_json
from training.engine.learner import Learner, Split
from training.engine.loop import Trainer
from training.engine.progress import VoteProgress
from training.engine.setup import Setup
from training.engine.votes import relabelled, strengths_by_votes
from training.objectives.voting import doubted


def doubted_by_votes(setup: Setup, learner: Learner, split: Split) -> tuple[Split, dict[str, int]]:
    """A split with the labels that the votes leave, and how many pairs there are, turned round and softened.

    Two reward models a round, each of half of the prompts; a vote that is done is kept in the run's folder.
    """
    config, team, folder = setup.config, setup.team, setup.run_dir / "votes"
    options = config.objective_options

    def train(half: Split, number: int) -> Learner:
        seed = config.seed + 1 + number
        own = config.model_copy(update={"objective": "bt", "seed": seed})
        model = setup.load(setup.base, own.taught, learner.path, seed, whole=True)
        voter = Learner(model, own.taught, own, learner.path, team)
        place = folder / str(number)
        place.mkdir(parents=True, exist_ok=True)
        said = f"Vote {number + 1} of {2 * options.rounds}"
        progress = VoteProgress(setup.run_dir, setup.device, said, silent=not team.leads)
        fingerprint = sha256_json([config.fingerprint(setup.base_hash, None), number])
        Trainer(voter, half, Split([]), place, fingerprint, progress, setup.stop).run()
        return voter

    strengths = strengths_by_votes(split, options.rounds, train, folder, team)
    given = np.array([edge.probability for group in split.groups for edge in group.preferences])
    labels = doubted(
        strengths,
        given,
        flip_share=options.flip_share,
        soften_share=options.soften_share,
        vote_margin=options.vote_margin,
    )
    for number in range(2 * options.rounds if team.leads else 0):
        shutil.rmtree(folder / str(number), ignore_errors=True)
    votes = {"pairs": len(given), "flipped": int(labels.flipped.sum()), "softened": int(labels.softened.sum())}
    return relabelled(split, labels), votes
