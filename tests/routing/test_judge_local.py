"""A local model as a judge: replies of its own, and the likelihood of what people would say next."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest

from feedback.exceptions import InvalidInput
from feedback.model_folder import UnsafeFolder
from feedback.models import Annotation
from routing.judge.asking import Material, view_of
from routing.judge.backends import JudgeRequest
from routing.judge.backends.local import LocalBackend
from routing.judge.calling import judge
from routing.judge.config import NEGATIVE_FOLLOWUPS, POSITIVE_FOLLOWUPS, JudgeConfig, Order
from routing.judge.outcome import Abstention, ParsedVerdict
from routing.judge.prompts import build_prompt
from routing.models import JudgeCall, Verdict
from routing.services import judges
from tests.conftest import Cast
from tests.routing.asking import asked_by, combine_orders
from tests.routing.judging_cast import assert_money_adds_up, judge_all, set_cap
from tests.routing.test_judge_parsing import INJECTIONS
from tests.routing.tiny_judge import write_tiny_model

pytest.importorskip("torch")
LOCAL = {"backend": "transformers", "model": "tiny", "max_tokens": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / "tiny"
    made.mkdir()
    write_tiny_model(made)
    return made


@pytest.fixture(scope="module")
def backend(folder: Path) -> LocalBackend:
    return LocalBackend(folder)


@pytest.fixture
def cast_with_model(cast: Cast, folder: Path, settings: Any) -> Cast:
    settings.MODELS_DIR = folder.parent
    set_cap(cast.task, 10_000_000)
    return cast


def config(**more: Any) -> JudgeConfig:
    return JudgeConfig.model_validate({"name": "local", **LOCAL, **more})


def request(made: JudgeConfig, material: Material) -> JudgeRequest:
    prompt = build_prompt(made, asked_by(made), material, "ab", Random(0))
    return JudgeRequest(made, asked_by(made), prompt, material, view_of(material, "ab"), "ab", "k")


def test_a_reply_brings_its_tokens_with_log_probabilities(backend: LocalBackend) -> None:
    reply = backend.complete(request(config(top_logprobs=5), Material("Hi", ("a", "b"))))
    assert reply.truncated
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 24
    assert "".join(token.token for token in reply.logprobs) == reply.text
    assert all(len(token.top) <= 5 and max(token.top.values()) <= 0.0 for token in reply.logprobs)
    again = backend.complete(request(config(top_logprobs=5), Material("Hi", ("a", "b"))))
    assert again.text == reply.text


def test_a_sampled_reply_repeats_with_its_seed(backend: LocalBackend) -> None:
    pair = Material("Hi", ("a", "b"))
    texts = [backend.complete(request(config(temperature=1.0, seed=seed), pair)).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_prompt_that_the_model_has_no_room_for_is_an_abstention(tmp_path: Path) -> None:
    write_tiny_model(tmp_path, positions=64)
    made = config()
    call = judge(made, asked_by(made), LocalBackend(tmp_path), Material("Hi", ("a", "b")), "ab", Random(0))
    assert isinstance(call.outcome, Abstention)
    assert (call.outcome.reason, call.cost) == ("too_long", 0)


@pytest.mark.slow
@pytest.mark.parametrize("injection", INJECTIONS)
def test_no_injection_brings_a_local_model_out_of_the_schema(backend: LocalBackend, injection: str) -> None:
    made, material = config(max_tokens=16), Material("Say hi.", (injection, "hi"))
    orders: tuple[Order, ...] = ("ab", "ba")
    calls = [judge(made, asked_by(made), backend, material, order, Random(0)) for order in orders]
    verdict = combine_orders(calls[0], calls[1], made)
    assert all(isinstance(call.outcome, Abstention) for call in calls)
    assert (verdict.p_a, verdict.needs_person) == (None, True)


def log_likelihood(backend: LocalBackend, text: str, said: str) -> float:
    """Mean log-probability of the last bytes of a text, each a token, computed one by one."""
    import torch

    ids = backend._tokenizer(text)["input_ids"]
    total = 0.0
    for place in range(len(ids) - len(said.encode()), len(ids)):
        with torch.inference_mode():
            logits = backend._model(torch.tensor([ids[:place]])).logits[0, -1].float()
        total += float(torch.log_softmax(logits, -1)[ids[place]])
    return total / len(said.encode())


def test_follow_up_likelihood_is_the_mean_of_what_the_model_says_of_each(backend: LocalBackend) -> None:
    made = config(shape="follow-up", positive_followups=["Thanks."], negative_followups=["No, that is wrong."])
    reply = json.loads(backend.complete(request(made, Material("Hi", ("good", "bad")))).text)
    for number, text in enumerate(("good", "bad"), 1):
        heads = [f"Hi\n{text}\n{said}" for said in ("Thanks.", "No, that is wrong.")]
        expected = log_likelihood(backend, heads[0], "Thanks.") - log_likelihood(
            backend, heads[1], "No, that is wrong."
        )
        assert reply[f"completion_{number}"] == pytest.approx(expected, abs=1e-4)


def test_follow_up_likelihood_prefers_the_higher_score_wherever_it_stands(backend: LocalBackend) -> None:
    made = config(shape="follow-up")
    assert (len(POSITIVE_FOLLOWUPS), len(NEGATIVE_FOLLOWUPS)) == (3, 3)
    one = judge(made, asked_by(made), backend, Material("Hi", ("good", "bad")), "ab", Random(0))
    other = judge(made, asked_by(made), backend, Material("Hi", ("bad", "good")), "ab", Random(0))
    assert one.p_a is not None
    assert other.p_a is not None
    assert one.p_a == pytest.approx(1 - other.p_a, abs=1e-6)
    assert isinstance(one.outcome, ParsedVerdict)
    scores = one.outcome.said.scores
    assert one.p_a == pytest.approx(1 / (1 + math.exp(scores[1] - scores[0])), abs=1e-6)


@pytest.mark.parametrize(
    ("template", "shape"),
    [
        ("{{ raise_exception('Roles must alternate.') }}", "pairwise"),
        ("{{ raise_exception('Roles must alternate.') }}", "follow-up"),
        ("{% for message in messages %}{{ message['content'] | upper }}{% endfor %}", "follow-up"),
    ],
)
def test_a_template_that_refuses_a_conversation_or_changes_it_is_an_abstention(
    folder: Path, template: str, shape: str
) -> None:
    own = LocalBackend(folder)
    own._tokenizer.chat_template = template
    made = config(shape=shape)
    call = judge(made, asked_by(made), own, Material("Hi", ("a", "b")), "ab", Random(0))
    assert isinstance(call.outcome, Abstention)
    assert (call.outcome.reason, call.cost) == ("bad_reply", 0)
    assert "template" in call.outcome.detail


@pytest.mark.django_db(transaction=True)
def test_a_local_model_that_talks_nonsense_gives_abstentions_only(cast_with_model: Cast) -> None:
    cast = cast_with_model
    local = judges.create_judge(cast.project, "Local", LOCAL, actor=cast.owner)
    job = judge_all(cast, local)
    assert (job.state, job.result["abstained"]) == ("succeeded", 5), job.result
    assert not Annotation.objects.filter(source="judge").exists()
    assert {call.parse_status for call in JudgeCall.objects.all()} <= {"truncated", "not_json", "empty"}
    assert_money_adds_up(cast.task)


@pytest.mark.django_db(transaction=True)
def test_follow_ups_judge_a_task(cast_with_model: Cast) -> None:
    cast = cast_with_model
    local = judges.create_judge(cast.project, "Local", {**LOCAL, "shape": "follow-up"}, actor=cast.owner)
    job = judge_all(cast, local)
    assert (job.state, job.result["judged"]) == ("succeeded", 5), job.result
    assert (JudgeCall.objects.count(), Verdict.objects.exclude(p_a=None).count()) == (5, 5)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["gone", "../tiny", "", "/etc"])
def test_only_models_of_this_installation_can_be_named(cast_with_model: Cast, name: str) -> None:
    with pytest.raises(InvalidInput):
        judges.create_judge(cast_with_model.project, "J", {**LOCAL, "model": name}, actor=cast_with_model.owner)


def test_a_folder_with_code_or_pickles_is_refused(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UnsafeFolder, match=r"pytorch_model\.bin"):
        LocalBackend(tmp_path)
