"""Losses that teach a policy from pairs."""

from torch import Tensor, relu
from torch.nn.functional import logsigmoid

from training.objectives.registry import Inputs, Loss, Objective, Options, required, smoothed


def dpo(inputs: Inputs, options: Options) -> Loss:
    """Direct preference optimisation (arXiv:2305.18290) with soft labels.

    With the implicit reward b (logp - ref_logp), h = reward_left - reward_right, p = P(left better) after label
    smoothing (conservative DPO):

        sigmoid   w [ -p log s(h) - (1 - p) log s(-h) ]
        hinge     w [ p max(0, 1 - h) + (1 - p) max(0, 1 + h) ]                     (arXiv:2305.10425)
        ipo       w [ p (a - 1/2b)^2 + (1 - p) (a + 1/2b)^2 ]                       (arXiv:2310.12036, eq. 17)

    where a is the difference of log-ratios *per token*, as in the paper's own experiments.
    Reads `logps`, `ref_logps` [R], and for ipo `scored` [R], the number of tokens. Raises ValueError without them.
    """
    logps, ref_logps = required(inputs.logps, "logps"), required(inputs.ref_logps, "ref_logps")
    edges = inputs.edges
    ratios = logps - ref_logps
    p = smoothed(edges.probability.to(logps.dtype), options.label_smoothing)
    if options.loss_type == "ipo":
        per_token = ratios / required(inputs.scored, "scored").clamp(min=1)
        loss = _ipo(per_token[edges.left] - per_token[edges.right], p, options.beta)
    else:
        h = options.beta * (ratios[edges.left] - ratios[edges.right])
        loss = _hinge(h, p) if options.loss_type == "hinge" else _sigmoid(h, p)
    return Loss(per_edge=edges.weight.to(logps.dtype) * loss, rewards=options.beta * ratios.detach())


def _sigmoid(h: Tensor, p: Tensor) -> Tensor:
    return -p * logsigmoid(h) - (1 - p) * logsigmoid(-h)


def _hinge(h: Tensor, p: Tensor) -> Tensor:
    return p * relu(1 - h) + (1 - p) * relu(1 + h)


def _ipo(a: Tensor, p: Tensor, beta: float) -> Tensor:
    target = 1 / (2 * beta)
    return p * (a - target) ** 2 + (1 - p) * (a + target) ** 2


DPO = Objective("dpo", dpo, frozenset({"logps", "ref_logps"}), "pairs")
