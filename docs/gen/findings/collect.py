"""Makes the page of findings from the runs that `measure.py` kept: figures, sounds, numbers, and then the text.

    python docs/gen/findings/collect.py

Nothing is measured here. A section whose runs are missing is a failure, and nothing is written in its place.
"""

from __future__ import annotations

import json

import attended
import page
import plan
import shelf
import units
import words

NUMBERS = shelf.SHOWN / "numbers.json"


def collect() -> shelf.Numbers:
    """All figures and sounds into the site, and all numbers by name."""
    numbers: shelf.Numbers = {}
    for model in plan.MODELS:
        name = attended.NAMES[model]
        for part in (attended.rollout, attended.one_sentence, words.bigrams, words.embeddings):
            numbers |= part(model, name)
    for part in (units.phones, units.mixed, attended.window, attended.heads, attended.chop, words.semantic):
        numbers |= part("tiny.en", "tiny")
    for draw in (units.cards, units.dictionary, units.mixed_figure, attended.maps, attended.sentence):
        draw()
    for draw_one in (units.auroc_figure, attended.window_figure, attended.heads_figure, words.embedding_map):
        draw_one("tiny.en")
    shelf.remove_others()
    numbers |= {f"command.{key}": shelf.command(key) for key in page.COMMANDS}
    return numbers


if __name__ == "__main__":
    found = collect()
    numbers = {name: found[name] for name in sorted(page.names())}
    NUMBERS.write_text(json.dumps(numbers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    page.write()
