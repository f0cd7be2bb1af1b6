"""The passes over the corpus: clean, without the neuron, and without each control."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wspy.audio import n_frames
from wspy.errors import NoText, TooManyTokens
from wspy.model import TokenSequence, capture, encode, forced_tokens, mel_batch, teacher_force, transcribe
from wspy.units import mlp_site
from wspy_ablate.choose import choose
from wspy_ablate.summarise import ALL, WITH, WITHOUT, Heard, summarise
from wspy_ablate.words import Word, place_words, words_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.analysis import Context
    from wspy.corpus import Clip
    from wspy_ablate import Ablate
    from wspy_ablate.result import AblateResult

BATCH = 8


@dataclass(frozen=True)
class Ablation:
    """One neuron and what its activation becomes in every frame."""

    idx: int
    value: float


def measure(context: Context, inputs: Ablate.Inputs) -> AblateResult:
    """Run the clean model and all ablations over a sample of the corpus.

    Raises:
        OutOfRange: the model has no such layer or neuron.
        PhoneNeedsAlignment, UnknownPhone: a phone was asked for that the corpus does not know.
        NoText: no clip has any words.
        TooManyTokens, UnknownLanguage: a clip that this model's decoder cannot read.
    """
    site = mlp_site(context, "encoder", inputs.layer, inputs.idx)
    chosen = choose(context, site, inputs)
    others = np.delete(np.arange(context.reference.dims.d_mlp), inputs.idx)
    controls = context.rng.choice(others, size=min(inputs.controls, len(others)), replace=False)
    ablations = [
        Ablation(idx, context.atlas(site).unit(idx).mean if inputs.mode == "mean" else 0.0)
        for idx in [inputs.idx, *(int(control) for control in controls)]
    ]
    passes = _Passes(context, inputs.layer, ablations, chosen.phone)
    passes.read(chosen.clips, transcribed={clip.id for clip in chosen.clips[: inputs.transcripts]})
    if not any(heard.words for heard in passes.heard):
        raise NoText(context.corpus.name)
    written_by = [(ablation.idx, ablation.value) for ablation in ablations]
    return summarise(context, inputs, site, chosen, passes.heard, written_by, passes.removed())


class _Passes:
    """Runs the clean model and every ablation over clips, batch by batch."""

    def __init__(self, context: Context, layer: int, ablations: Sequence[Ablation], phone: str | None) -> None:
        self.context, self.model, self.phone = context, context.model, phone
        self.layer, self.ablations = layer, ablations
        self.site, self.block = f"encoder.blocks.{layer}.mlp.1", f"encoder.blocks.{layer}"
        self.heard: list[Heard] = []
        weight = self.model.whisper.encoder.blocks[layer].mlp[2].weight
        self.directions: list[Tensor] = [weight[:, ablation.idx] for ablation in ablations]
        self._removed, self._stream = np.zeros(len(ablations)), 0.0

    def removed(self) -> list[float]:
        """Per ablation the size of what it took from the residual stream, over the size of the stream."""
        shares: list[float] = np.sqrt(self._removed / max(self._stream, 1e-30)).tolist()
        return shares

    def read(self, clips: Sequence[Clip], transcribed: set[str]) -> None:
        """Read all clips, those of one language together, and write down some of them."""
        ordered = sorted(clips, key=lambda clip: (clip.language or "", clip.id not in transcribed, clip.id))
        texts = {clip.id: self.context.corpus.text(clip) for clip in clips}
        for clip in ordered:  # refuses at once what would end the passes at their last clip
            self._sequence(clip, texts[clip.id] or "")
        batches = [
            same[start : start + BATCH]
            for _, group in itertools.groupby(ordered, key=lambda clip: (clip.language, clip.id in transcribed))
            for same in [list(group)]
            for start in range(0, len(same), BATCH)
        ]
        what = f"Reading with {len(self.ablations)} neurons switched off in turn"
        for batch in self.context.progress.track(batches, what, len(batches), unit="batches"):
            with torch.inference_mode():
                self._read(batch, [texts[clip.id] for clip in batch], batch[0].id in transcribed)

    def _read(self, batch: Sequence[Clip], texts: Sequence[str | None], write: bool) -> None:
        samples = [self.context.corpus.audio(clip) for clip in batch]
        frames = [n_frames(len(sound)) for sound in samples]
        ends_s = [clip.duration_s for clip in batch]
        mels = mel_batch(self.model, samples)
        with capture(self.model, [self.site, self.block]) as cache:
            clean = encode(self.model, mels)
        assert clean is not None  # only a pass that stops early gives none
        own: list[str] = []
        if write or None in texts:
            own = self._transcribe(clean, batch, ends_s)
        sequences = [
            self._sequence(clip, own[at] if text is None else text)
            for at, (clip, text) in enumerate(zip(batch, texts, strict=True))
        ]
        found = [
            self._heard(clip, text, sequence) for clip, text, sequence in zip(batch, texts, sequences, strict=True)
        ]
        self._listen(found, clean, sequences, own if write else [])
        for at, ablation in enumerate(self.ablations):
            added = (ablation.value - cache[self.site][..., ablation.idx, None]) * self.directions[at]
            features = self._after(cache[self.block] + added)
            self._removed[at] += _square(added, frames)
            written = self._transcribe(features, batch, ends_s) if write else []
            self._listen(found, features, sequences, written)
        self._stream += _square(cache[self.block], frames)
        self.heard += found

    def _after(self, stream: Float[Tensor, "batch frame d_model"]) -> Float[Tensor, "batch frame d_model"]:
        """What the encoder makes of the residual stream after the layer's block.

        A neuron adds its activation times its direction to the stream and reaches nothing else in its block, so an
        ablation begins here, and the blocks before are computed once for all.
        """
        encoder = self.model.whisper.encoder
        for block in encoder.blocks[self.layer + 1 :]:
            stream = block(stream)
        features: Tensor = encoder.ln_post(stream)
        return features

    def _listen(
        self,
        found: Sequence[Heard],
        features: Float[Tensor, "batch frame d_model"],
        sequences: Sequence[TokenSequence],
        written: Sequence[str],
    ) -> None:
        """One pass of the decoder: the loss of each clip's tokens, added to what was heard of it."""
        logits = teacher_force(self.model, features, sequences).logits
        for at, (heard, sequence) in enumerate(zip(found, sequences, strict=True)):
            n, prompt = len(sequence.ids), sequence.n_prompt
            ids = torch.tensor(sequence.ids[prompt:], device=logits.device)
            # The row of the last token of the prompt predicts the first of the text.
            losses = torch.nn.functional.cross_entropy(logits[at, prompt - 1 : n - 1].float(), ids, reduction="none")
            heard.losses.append(losses.double().cpu().numpy())
            heard.written += written[at : at + 1]

    def _heard(self, clip: Clip, text: str | None, sequence: TokenSequence) -> Heard:
        words = words_of(self.model, sequence, clip.language)
        n = len(sequence.ids) - sequence.n_prompt
        masks = np.zeros((3, n))
        masks[ALL] = 1
        has_phone = self._has_phone(clip, words)
        for word, found in zip(words, has_phone, strict=True):
            if found is not None:
                masks[WITH if found else WITHOUT, list(word.tokens)] = 1
        return Heard(clip, text, words, has_phone, masks)

    def _has_phone(self, clip: Clip, words: Sequence[Word]) -> list[bool | None]:
        alignment = self.context.corpus.alignment(clip) if self.phone else None
        if alignment is None:
            return [None] * len(words)
        placed = place_words([word.text for word in words], alignment)
        return [None if phones is None else self.phone in phones for phones in placed]

    def _sequence(self, clip: Clip, text: str) -> TokenSequence:
        try:
            return forced_tokens(self.model, text, language=clip.language)
        except TooManyTokens as error:
            raise TooManyTokens(error.n_tokens, error.limit, f"The text of clip {clip.id!r}") from None

    def _transcribe(
        self, features: Float[Tensor, "batch frame d_model"], batch: Sequence[Clip], ends_s: Sequence[float]
    ) -> list[str]:
        written = transcribe(self.model, features, language=batch[0].language, ends_s=ends_s)
        return [transcription.text for transcription in written]


def _square(stream: Float[Tensor, "batch frame d_model"], frames: Sequence[int]) -> float:
    """The sum of squares over the valid frames of each clip."""
    return sum(float(clip[:n].square().sum(dtype=torch.float64)) for clip, n in zip(stream, frames, strict=True))
