"""The text of the findings with its numbers put in: `docs/findings.md` from the template and `numbers.json`.

    python docs/gen/findings/page.py

Where the template says `{{name}}`, the page says the number of that name, so it can only be one that was measured.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).parent / "findings.template.md"
NUMBERS = DOCS / "assets" / "findings" / "numbers.json"
PAGE = DOCS / "findings.md"
_NAME = re.compile(r"\{\{([\w.-]+)\}\}")
COMMANDS = (
    "phones-tiny.en", "rollout-jfk-tiny.en", "window-tiny.en",
    "heads-tiny.en", "chop-jfk-tiny.en", "chop-tiny.en", "embeddings-tiny.en",
    "semantic-layer-tiny.en", "sae-eval-tiny.en",
)  # fmt: skip
"""Steps whose command lines the page shows."""


def render() -> str:
    """The whole page.

    Raises:
        KeyError: the text names a number that was not measured.
    """
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8"))
    return _NAME.sub(lambda name: numbers[name[1]], TEMPLATE.read_text(encoding="utf-8"))


def names() -> set[str]:
    """The numbers that the text says."""
    return set(_NAME.findall(TEMPLATE.read_text(encoding="utf-8")))


def write() -> None:
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    write()
