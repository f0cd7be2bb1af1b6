"""What replacing a site's activations costs the transcript: teacher-forced cross-entropy and word errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wspy.audio import n_frames
from wspy.model import (
    TokenSequence,
    WordErrors,
    encode,
    forced_tokens,
    mel_batch,
    patch,
    teacher_force,
    transcribe,
    word_errors,
)
from wspy.progress import Progress
from wspy_sae.evaluate import replaced_frames

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.corpus import Clip, Corpus
    from wspy.model import Model

BATCH = 8
TOKENS_OF_TEXT = 3
"""A transcript may get so many times as long as its text, timestamps included."""
TOKENS_UNKNOWN = 224
Replacement = Callable[[Tensor], Tensor]
"""Takes the activations of some frames and gives what the model shall go on with."""


@dataclass
class Cost:
    """What one replacement does, clip by clip."""

    losses: list[float] = field(default_factory=list)
    """Summed cross-entropy of the clip's text and its end, in nats."""
    n_tokens: list[int] = field(default_factory=list)
    errors: list[WordErrors] = field(default_factory=list)

    @property
    def cross_entropy(self) -> float:
        """Nats per token."""
        return sum(self.losses) / max(sum(self.n_tokens), 1)


def measure_costs(
    model: Model,
    corpus: Corpus,
    clips: Sequence[Clip],
    site: str,
    replacements: Mapping[str, Replacement | None],
    progress: Progress,
) -> tuple[dict[str, Cost], int]:
    """Read and transcribe clips with each replacement in turn; None leaves the model as it is, and must come first.

    Only frames of the clip are replaced; padding stays as the model computes it. A clip without a text is compared with
    what the untouched model writes; the second result says how many there are.

    Raises:
        TooManyTokens, UnknownLanguage: a clip that this model's decoder cannot read.
    """
    costs = {name: Cost() for name in replacements}
    texts = {clip.id: corpus.text(clip) for clip in clips}
    for clip in clips:  # refuses at once what would end the passes at their last clip
        forced_tokens(model, texts[clip.id] or "", language=clip.language)
    ordered = sorted(clips, key=lambda clip: (clip.duration_s, clip.id))
    batches = [ordered[first : first + BATCH] for first in range(0, len(ordered), BATCH)]
    for batch in progress.track(batches, f"Reading with {len(replacements)} replacements", len(batches), "batches"):
        with torch.inference_mode():
            _read(model, corpus, batch, texts, site, replacements, costs)
    return costs, sum(text is None for text in texts.values())


def _read(
    model: Model,
    corpus: Corpus,
    batch: Sequence[Clip],
    texts: dict[str, str | None],
    site: str,
    replacements: Mapping[str, Replacement | None],
    costs: dict[str, Cost],
) -> None:
    sounds = [corpus.audio(clip) for clip in batch]
    lengths = [n_frames(len(sound)) for sound in sounds]
    limit = max(_most_tokens(model, texts[clip.id], clip) for clip in batch)
    mels = mel_batch(model, sounds)
    own: list[str] = []
    for name, replacement in replacements.items():
        features = _features(model, mels, site, lengths, replacement)
        written = _written(model, features, batch, limit)
        own = own or written
        expected = [own[at] if texts[clip.id] is None else texts[clip.id] or "" for at, clip in enumerate(batch)]
        sequences = [
            forced_tokens(model, text, language=clip.language) for clip, text in zip(batch, expected, strict=True)
        ]
        for loss, n in _losses(model, features, sequences):
            costs[name].losses.append(loss)
            costs[name].n_tokens.append(n)
        costs[name].errors += [
            word_errors(text, found, clip.language or "en")
            for clip, text, found in zip(batch, expected, written, strict=True)
        ]


def _most_tokens(model: Model, text: str | None, clip: Clip) -> int:
    """How long a transcript may get: three times the text. A model that is broken repeats itself without end."""
    if text is None:
        return TOKENS_UNKNOWN
    return min(TOKENS_OF_TEXT * len(forced_tokens(model, text, language=clip.language).ids), TOKENS_UNKNOWN)


def _written(
    model: Model, features: Float[Tensor, "batch frame d_model"], clips: Sequence[Clip], limit: int
) -> list[str]:
    """Free transcripts; clips of one language together."""
    found: dict[int, str] = {}
    for language in dict.fromkeys(clip.language for clip in clips):
        rows = [row for row, clip in enumerate(clips) if clip.language == language]
        ends_s = [clips[row].duration_s for row in rows]
        written = transcribe(model, features[rows], language=language, max_tokens=limit, ends_s=ends_s)
        found.update(zip(rows, (one.text for one in written), strict=True))
    return [found[row] for row in range(len(clips))]


def _features(
    model: Model, mels: Tensor, site: str, lengths: list[int], replacement: Replacement | None
) -> Float[Tensor, "batch frame d_model"]:
    """What the decoder reads, with the site's frames replaced."""
    patches = {site: lambda value: replaced_frames(value, lengths, replacement)} if replacement else {}
    with patch(model, patches):
        features = encode(model, mels)
    assert features is not None  # only a pass that stops early gives none
    return features


def _losses(
    model: Model, features: Float[Tensor, "batch frame d_model"], sequences: Sequence[TokenSequence]
) -> list[tuple[float, int]]:
    """Per clip the summed cross-entropy of its text and end, and their number of tokens."""
    logits = teacher_force(model, features, sequences).logits
    found = []
    for at, sequence in enumerate(sequences):
        n, prompt = len(sequence.ids), sequence.n_prompt
        ids = torch.tensor(sequence.ids[prompt:], device=logits.device)
        # The row of the last token of the prompt predicts the first of the text.
        loss = torch.nn.functional.cross_entropy(logits[at, prompt - 1 : n - 1].float(), ids, reduction="sum")
        found.append((float(loss), n - prompt))
    return found


def recovered(clean: float, replaced: float, ablated: float) -> float | None:
    """The share of the loss of an ablation that a replacement saves: 1 costs nothing, 0 is as bad as the ablation.

    None where the ablation itself costs nothing.
    """
    return (ablated - replaced) / (ablated - clean) if ablated > clean else None
