"""What there is to learn by: each objective's name, what it reads of the model, the data it takes, its options.

Nothing here needs torch, so that pages and the API can offer objectives without loading it; the losses themselves are
in `registry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Need = Literal["scores", "logps", "ref_logps", "divergence", "rewards", "segments", "tokens", "features", "peers"]
Reader = Literal[
    "pair",
    "ranking",
    "ratings",
    "unpaired",
    "demonstration",
    "controlled",
    "hindsight",
    "criticised",
    "refined",
    "ordered",
    "attributes",
    "directed",
    "marked",
]


@dataclass(frozen=True, slots=True)
class Objective:
    """A training loss with the data that it takes.

    `consumes` names shapes of a dataset version, best first, each with how its rows are read; `lacking` says what a
    version without them lacks. `beside` names shapes that are read as well, best first, and `lacking_beside` what a
    version without any of them lacks, empty where the objective does without. `defaults` holds its options, by name,
    with their values unless a run says otherwise.
    """

    name: str
    title: str
    summary: str
    needs: frozenset[Need]
    consumes: Mapping[str, Reader]
    lacking: str
    loss: str
    source: str
    defaults: Mapping[str, float | str] = field(default_factory=dict)
    beside: Mapping[str, Reader] = field(default_factory=dict)
    lacking_beside: str = ""

    @property
    def makes(self) -> Literal["reward-model", "policy"]:
        """What a run makes."""
        return "reward-model" if "scores" in self.needs else "policy"

    @property
    def short_title(self) -> str:
        """Its title without what it makes: `DPO` of `Policy (DPO)`."""
        return self.title.partition("(")[2].removesuffix(")") or self.title

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Its options as a run gives them, with its own defaults. Raises ValueError for one that it does not read."""
        foreign = [name for name in given if name not in self.defaults]
        if foreign:
            known = f"it reads {', '.join(self.defaults)}" if self.defaults else "it reads none"
            raise ValueError(f"{self.name} has no option {', '.join(foreign)}; {known}")
        return {**self.defaults, **given}


_PAIRS: Mapping[str, Reader] = {"preference-conversational": "pair", "preference": "pair", "ranked": "ranking"}
_LISTS: Mapping[str, Reader] = {"ranked": "ranking", "ratings": "ratings"}
_SINGLE: Mapping[str, Reader] = {"unpaired": "unpaired", "preference-conversational": "pair", "preference": "pair"}
_NO_LISTS = "no rankings or ratings to train on; freeze one in the shape ranked or ratings"
_NO_PAIRS = "no preferences to train on; freeze one in the shape preference or ranked"
_IMITATION = "−log π(tokens) / tokens"
_SCORES: frozenset[Need] = frozenset({"scores"})
_POLICY: frozenset[Need] = frozenset({"logps"})
_AGAINST_REFERENCE: frozenset[Need] = frozenset({"logps", "ref_logps"})


def _pairwise(
    name: str, title: str, summary: str, needs: frozenset[Need], loss: str, source: str, **defaults: float | str
) -> Objective:
    return Objective(name, title, summary, needs, _PAIRS, _NO_PAIRS, loss, source, defaults)


_ALL = (
    _pairwise(
        "bt",
        "Reward model (Bradley–Terry)",
        "Scores completions, so that the preferred one of a pair scores higher. Ties pull scores together.",
        _SCORES,
        "−p log σ(d − m) − (1 − p) log σ(−d − m) + c (r_a + r_b)², d = r_a − r_b",
        "arXiv:2307.09288, arXiv:2312.09244",
        label_smoothing=0.0,
        margin_scale=0.0,
        centring=0.0,
    ),
    _pairwise(
        "dpo",
        "Policy (DPO)",
        "Writes what was preferred, held to the policy it started from.",
        _AGAINST_REFERENCE,
        "−p log σ(h) − (1 − p) log σ(−h), h = β (ρ_a − ρ_b)",
        "arXiv:2305.18290",
        beta=0.1,
        label_smoothing=0.0,
    ),
    _pairwise(
        "ipo",
        "Policy (IPO)",
        "Stops pulling a pair apart once it is far enough apart; for labels without noise.",
        _AGAINST_REFERENCE,
        "p (a − 1/2β)² + (1 − p) (a + 1/2β)², a = ρ_a/|a| − ρ_b/|b|",
        "arXiv:2310.12036",
        beta=0.1,
        label_smoothing=0.0,
    ),
    _pairwise(
        "hinge",
        "Policy (hinge)",
        "Learns only from pairs that are not yet clearly apart.",
        _AGAINST_REFERENCE,
        "p max(0, 1 − h) + (1 − p) max(0, 1 + h)",
        "arXiv:2305.10425",
        beta=0.1,
        label_smoothing=0.0,
    ),
    _pairwise(
        "robust",
        "Policy (robust DPO)",
        "Takes the chance that a label is wrong out of the loss: pair by pair where annotators differ.",
        _AGAINST_REFERENCE,
        "(p L₊ − (1 − p) L₋) / q weighted by q², q = 2p − 1, L± = −log σ(±h)",
        "arXiv:2403.00409",
        beta=0.1,
        label_smoothing=0.0,
    ),
    _pairwise(
        "dpo_norm",
        "Policy (DPO, length-normalised)",
        "DPO on rewards per token, so that long completions do not win by their length.",
        _AGAINST_REFERENCE,
        "as dpo with h = β (ρ_a/|a| − ρ_b/|b|)",
        "arXiv:2411.15124",
        beta=5.0,
        label_smoothing=0.0,
    ),
    _pairwise(
        "simpo",
        "Policy (SimPO)",
        "Rewards the mean log-probability per token and needs no reference policy.",
        _POLICY,
        "−p log σ(h − γ) − (1 − p) log σ(−h − γ), h = β (log π(a)/|a| − log π(b)/|b|)",
        "arXiv:2405.14734",
        beta=2.0,
        target_margin=1.0,
        label_smoothing=0.0,
    ),
    _pairwise(
        "orpo",
        "Policy (ORPO)",
        "Imitates the chosen completion and lowers the odds of the rejected one, without a reference policy.",
        _POLICY,
        "p (ℓ_a − β log σ(o)) + (1 − p) (ℓ_b − β log σ(−o)), o = log odds(a) − log odds(b), ℓ = −log π per token",
        "arXiv:2403.07691",
        beta=0.1,
        label_smoothing=0.0,
    ),
    Objective(
        "kto",
        "Policy (KTO)",
        "Learns from completions called good or bad, one by one; of a pair the chosen is good and the rejected bad.",
        _AGAINST_REFERENCE | {"divergence"},
        _SINGLE,
        "no completions called good or bad to train on; freeze one in the shape unpaired",
        "good: λ_g (1 − σ(β (ρ − z))), bad: λ_b (1 − σ(β (z − ρ))), z = max(0, KL) over the step",
        "arXiv:2402.01306",
        {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
    ),
    _pairwise(
        "t_reg",
        "Policy (DPO with token rewards)",
        "DPO that also says which tokens to keep: the reference policy rewards each token by how much more likely it "
        "is when asked for a good answer than for a bad one.",
        _AGAINST_REFERENCE | {"tokens"},
        "dpo + α |p − σ(h)| (reg_a + reg_b), reg = −β Σ_t r_t log π(y_t), "
        "r_t = σ(log π_good(y_t) − log π_bad(y_t)) − ½",
        "arXiv:2412.02685",
        beta=0.1,
        label_smoothing=0.0,
        token_weight=0.25,
    ),
    Objective(
        "plackett_luce",
        "Reward model (Plackett–Luce)",
        "Scores completions so that whole rankings become likely; a tie stands for all orders of its completions.",
        _SCORES,
        _LISTS,
        _NO_LISTS,
        "−Σ_k log(e^{s_k} / Σ_{j ≥ k} e^{s_j}) + c Σ s²",
        "Plackett 1975; Xia et al. 2008 (ListMLE)",
        {"centring": 0.0},
    ),
    Objective(
        "lipo_lambda",
        "Policy (LiPO-λ)",
        "Weighs each pair of a ranking by how much its order matters: far apart and near the top counts most.",
        _AGAINST_REFERENCE,
        _LISTS,
        _NO_LISTS,
        "Σ_{ψi > ψj} |2^ψi − 2^ψj| |1/log(1 + τi) − 1/log(1 + τj)| log(1 + e^{−(si − sj)}), s = β ρ",
        "arXiv:2402.01878",
        {"beta": 0.1},
    ),
    Objective(
        "pro",
        "Policy (PRO)",
        "Ranks by the mean log-probability per token and imitates the best completion; needs no reference policy.",
        _POLICY,
        _LISTS,
        _NO_LISTS,
        "−Σ_k log(e^{s_k} / Σ_{j ≥ k} e^{s_j}) + α (−s_1), s = log π per token",
        "arXiv:2306.17492",
        {"sft_weight": 0.05},
    ),
    _pairwise(
        "ensemble",
        "Reward model (ensemble)",
        "Several reward models on one base model; where they differ, nobody has said much.",
        _SCORES,
        "mean over heads k of n_k × bt, n_k ~ Poisson(1) per prompt; R = mean, min or mean − λ var",
        "arXiv:2310.02743",
        heads=4,
        bootstrap="prompts",
        combine="mean",
        uncertainty_weight=1.0,
        label_smoothing=0.0,
        margin_scale=0.0,
    ),
    _pairwise(
        "strength_voting",
        "Reward model (voted labels)",
        "Lets reward models vote on labels that they have not seen: labels with the votes against them are turned "
        "round, doubtful ones softened, sure ones kept apart by a margin.",
        _SCORES | {"features", "peers"},
        "−p log σ(d − m) − (1 − p) log σ(−d − m) + c (−log (e^{z·z′/T} / Σ_j e^{z·z′_j/T})), p and m by the votes",
        "arXiv:2401.06080",
        rounds=2,
        flip_share=0.1,
        soften_share=0.1,
        vote_margin=0.5,
        contrast_weight=0.1,
        temperature=0.05,
        label_smoothing=0.0,
    ),
    Objective(
        "multi_objective",
        "Reward model (several attributes)",
        "Learns each rated attribute by itself; a gate that learns from preferences says by the prompt how much each "
        "counts, and mere length counts nothing.",
        _SCORES | {"rewards"},
        {"ratings": "attributes"},
        "no ratings of completions to train on; freeze one in the shape ratings",
        "Σ_a (½ + r_a − y_a)² over rated a, last layer by ridge; then bt on R = Σ_a g_a(prompt) (r_a − λ_a log|a|)",
        "arXiv:2406.12845 (ArmoRM)",
        {"ridge_penalty": 1.0, "gate_width": 64, "gate_steps": 300, "verbosity": "removed"},
        _PAIRS,
        "no preferences beside its ratings; freeze one in the shapes ratings and preference",
    ),
    Objective(
        "fine_grained",
        "Reward model (marked spans)",
        "Says of each sentence what kinds of errors it has, and of the whole how complete it is; both make the reward.",
        _SCORES | {"rewards", "segments"},
        {"spans": "marked"},
        "no marked spans to train on; freeze one in the shape spans",
        "−y log σ(z_k) − (1 − y) log σ(−z_k) of each segment and type, and bt on completeness c; "
        "R = w_c c − Σ_k w_k mean σ(z_k)",
        "arXiv:2306.01693",
        {
            "segment": "sentence",
            "unmarked": "clean",
            "type_weights": "",
            "completeness_weight": 1.0,
            "label_smoothing": 0.0,
        },
        _PAIRS,
    ),
    Objective(
        "pair_pm",
        "Pair model (both orders)",
        "Reads two completions at once and says how likely the first is better; each pair is learned in both orders.",
        _SCORES,
        {"preference-conversational": "ordered", "preference": "ordered"},
        "no preferences to train on; freeze one in the shape preference",
        "−p log σ(s_ab) − (1 − p) log σ(−s_ab), and the same for s_ba with 1 − p; P(a) = σ((s_ab − s_ba) / 2)",
        "arXiv:2306.02561 (PairRM)",
        {"label_smoothing": 0.0},
    ),
    Objective(
        "sft",
        "Policy (imitation)",
        "Imitates the completions that were preferred over all others, and the refinements.",
        _POLICY,
        {"prompt-completion": "demonstration"},
        "no completions to imitate; freeze one in the shape prompt-completion",
        _IMITATION,
        "Ouyang et al. 2022, arXiv:2203.02155",
    ),
    Objective(
        "conditional",
        "Policy (conditioned on ratings)",
        "Imitates every rated completion after a line that says its ratings; ask for the best ones afterwards.",
        _POLICY,
        {"ratings": "controlled"},
        "no ratings of completions to train on; freeze one in the shape ratings",
        f"{_IMITATION}, after the prompt with “[scale: value/highest, …]”",
        "arXiv:2310.05344 (SteerLM)",
    ),
    Objective(
        "directional",
        "Policy (direction of attributes)",
        "Imitates the completion that reaches furthest in a direction of rated attributes, after a line that says the "
        "direction; ask for your own direction afterwards.",
        _POLICY,
        {"ratings": "directed"},
        "no ratings of completions to train on; freeze one in the shape ratings",
        f"{_IMITATION}, of argmax_a v·y(a) after the prompt with “[scale: part of v, …]”, |v| = 1",
        "arXiv:2402.18571 (DPA)",
        {"directions": 4},
    ),
    Objective(
        "hindsight",
        "Policy (chain of hindsight)",
        "Imitates a bad answer followed by a good one, with the critique between them where there is one; continue "
        "after “Good: ” to get good ones.",
        _POLICY,
        {"critiques": "criticised", "preference-conversational": "hindsight", "preference": "hindsight"},
        "no critiques with refinements and no preferences to train on; freeze one in the shape critiques or preference",
        f"{_IMITATION}, of “Bad: … Critique: … Good: …”",
        "arXiv:2302.02676",
    ),
    Objective(
        "ilf",
        "Policy (imitation of refinements)",
        "Imitates what people made of completions after criticising them.",
        _POLICY,
        {"critiques": "refined"},
        "no critiques with refinements to train on; freeze one in the shape critiques",
        f"{_IMITATION}, of the refinement after the bare prompt",
        "arXiv:2303.16749 (its last step; refinements are people's)",
    ),
)

OBJECTIVES: Mapping[str, Objective] = {objective.name: objective for objective in _ALL}
READ_SHAPES = frozenset(shape for objective in _ALL for shape in objective.consumes)
