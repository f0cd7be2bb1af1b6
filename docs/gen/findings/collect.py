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

PARTS = (
    units.phones, units.dictionary, units.mixed, attended.rollout, attended.window, attended.heads, attended.chop,
    attended.one_sentence, words.bigrams, words.embeddings, words.semantic,
)  # fmt: skip
DRAWINGS = (
    units.cards, units.feature_cards, units.mixed_figure, attended.maps, attended.window_figure, attended.sentence,
)  # fmt: skip


def collect() -> shelf.Numbers:
    """All figures and sounds into the site, and all numbers by name."""
    numbers: shelf.Numbers = {}
    for model in plan.MODELS:
        name = attended.NAMES[model]
        for part in PARTS:
            numbers |= part(model, name)
    for draw in DRAWINGS:
        draw()
    for draw_one in (units.auroc_figure, attended.heads_figure, words.embedding_map):
        draw_one(plan.HEARD_MODEL)
    shelf.remove_others()
    numbers |= {f"command.{key}": shelf.command(key) for key in page.COMMANDS}
    return numbers


if __name__ == "__main__":
    found = collect()
    numbers = {name: found[name] for name in sorted(page.names())}
    NUMBERS.write_text(json.dumps(numbers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    page.write()
