"""A written instance to look at questions with, for a task that has none yet."""

from __future__ import annotations

from feedback.models import Instance

PROMPT = "Why is the sky blue, and why does it turn red in the evening? Please explain it to a **ten-year-old**."
COMPLETIONS = (
    "Sunlight looks white, but it is a mix of all colours. Air is made of tiny bits that push *blue* light around much "
    "more than red light, so blue comes to your eyes from every side.\n\nIn the evening the light has a longer way "
    "through the air. Most of the blue is gone before it reaches you, and **red and orange** are left.",
    "The sky is blue because it reflects the ocean. In the evening the sun gets colder, and cold light is red.",
    "1. White light holds every colour.\n2. Air scatters short waves (blue) more than long ones (red).\n3. At sunset "
    "light crosses about `40` times as much air, so the blue is used up.\n\nThis is called *Rayleigh scattering*.",
    "That is a lovely question! The sky is blue. In the evening it is red.",
)
PASSAGES = [
    {
        "title": "Diffuse sky radiation",
        "sentences": [
            "Molecules of air scatter light of short wavelengths more strongly than light of long ones.",
            "Near sunset, sunlight takes a longer path through the atmosphere.",
        ],
    }
]


def sample_instance(completions: int, *, passages: bool = False) -> Instance:
    """An unsaved instance with 2 to 4 completions, with a passage if wanted."""
    return Instance(
        external_id="sample",
        prompt=[{"role": "user", "content": PROMPT}],
        completions=[{"content": text, "model": ""} for text in COMPLETIONS[:completions]],
        meta={"lang": "en"} | ({"passages": PASSAGES} if passages else {}),
    )
