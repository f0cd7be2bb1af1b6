"""From clips to activations: what the sites of one pass give over the valid positions of each clip."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from wspy.atlas.derived import DerivedSite, SiteSchemes, folder_of
from wspy.atlas.store import Speed, Texts, Token
from wspy.audio import log_mel, n_frames
from wspy.errors import BadShape, NoText, NotStepwise, TooManyTokens, UnknownSite
from wspy.model.sites import list_sites, match_sites

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float32

    from wspy.corpus import Clip, Corpus
    from wspy.model import FramePlan, Model, ModelReference, TokenSequence

MEL = "mel"
"""The site of the spectrogram itself: Whisper's mel bands as units, at the middle of each frame. A control."""


@dataclass(frozen=True)
class Probe:
    """A site as a pass records it: where its values come from, and how many there are per frame or token."""

    name: str
    n_units: int
    position: Literal["frame", "token"]
    source: Literal["mel", "encoder", "decoder"]
    derived: DerivedSite | None = None
    """How the units are computed, where they are none of the model's own."""

    @property
    def base(self) -> str:
        """The site of the model that is read."""
        return self.derived.base if self.derived else self.name

    @property
    def folder(self) -> str:
        """The name of its atlas' folder."""
        return folder_of(self.name, self.derived)


@dataclass(frozen=True)
class Heard:
    """What the sites gave over one clip, in the order of the probes; tokens for decoder sites."""

    at: int
    activations: Sequence[Float32[np.ndarray, "position unit"]]
    tokens: list[Token]


class Ear(Protocol):
    """Hears a batch of clips, given by their places in the corpus."""

    def __call__(self, batch: Sequence[int]) -> Iterator[Heard]: ...


def find_probe(name: str, reference: ModelReference, schemes: SiteSchemes | None = None) -> Probe:
    """The site of that name, which must give each unit one value per frame or token.

    Args:
        schemes: what plugins have registered, for names such as `sae:demo`.

    Raises:
        UnknownSite: the model has no such site, or nobody knows the scheme.
        NotStepwise: the site has no value per frame or token.
        InputError: what the scheme says of an address that it cannot use with this model.
    """
    if name == MEL:
        return Probe(MEL, reference.dims.n_mels, "frame", "mel")
    scheme, colon, address = name.partition(":")
    if colon:
        if scheme not in (schemes or {}):
            raise UnknownSite(name, [site.name for site in list_sites(reference.dims)])
        derived = (schemes or {})[scheme](address, reference)
        base = find_probe(derived.base, reference)
        return Probe(name, derived.n_units, base.position, base.source, derived)
    found = match_sites(name, reference.dims)
    if len(found) != 1 or found[0].kind in ("conv", "pattern"):
        raise NotStepwise(name)
    site = found[0]
    return Probe(site.name, site.n_units, "frame" if site.side == "encoder" else "token", site.side)


def find_probes(patterns: Sequence[str], reference: ModelReference, schemes: SiteSchemes | None = None) -> list[Probe]:
    """The sites that match any pattern and can be recorded, in the order in which the model computes them.

    Args:
        schemes: what plugins have registered, for names such as `sae:demo`, which are no patterns.

    Raises:
        UnknownSite: a pattern that matches nothing.
        NotStepwise: a pattern that matches only sites without a value per frame or token.
        InputError: what a scheme says of an address that it cannot use with this model.
    """
    probes = [find_probe(MEL, reference)] if MEL in patterns else []
    for pattern in patterns:
        if pattern == MEL:
            continue
        if ":" in pattern:
            probes.append(find_probe(pattern, reference, schemes))
            continue
        fitting = [site for site in match_sites(pattern, reference.dims) if site.kind not in ("conv", "pattern")]
        if not fitting:
            raise NotStepwise(pattern)
        probes += [find_probe(site.name, reference) for site in fitting]
    order = [MEL, *(site.name for site in list_sites(reference.dims))]
    unique = {probe.name: probe for probe in probes}.values()
    return sorted(unique, key=lambda probe: (order.index(probe.base), probe.derived is not None, probe.name))


def text_source(corpus: Corpus) -> Texts:
    """Whose words the decoder reads: where the corpus has no text, Whisper's own transcript is taken."""
    unknown = sum(corpus.text(clip) is None for clip in corpus.clips)
    return "corpus" if not unknown else "whisper" if unknown == len(corpus.clips) else "mixed"


def make_ear(probes: Sequence[Probe], corpus: Corpus, model: Callable[[], Model], speed: Speed) -> Ear:
    """What hears for these probes, which must share their source.

    Raises:
        NoText: decoder sites, and no clip has a text.
        TooManyTokens, UnknownLanguage: decoder sites, and a clip that this model's decoder cannot read.
    """
    if probes[0].source == "mel":
        return _MelEar(corpus, probes[0].n_units)
    if probes[0].source == "encoder":
        return _EncoderEar(probes, corpus, model(), speed)
    return _DecoderEar(probes, corpus, model())


class _Reader:
    """Takes the units of every probe out of what the model computed."""

    def __init__(self, probes: Sequence[Probe], model: Model) -> None:
        self.probes = probes
        self.sites = list(dict.fromkeys(probe.base for probe in probes))
        self.units = {probe.name: probe.derived.load(model) for probe in probes if probe.derived}

    def __call__(
        self, cache: Mapping[str, torch.Tensor], row: int, positions: slice
    ) -> list[Float32[np.ndarray, "position unit"]]:
        """The values of one clip.

        Raises:
            BadShape: a derived site that gives another number of units than it said.
        """
        found = []
        for probe in self.probes:
            # Flattening the last axes makes a unit of every head dimension, for sites that keep heads apart.
            values = cache[probe.base][row, positions].flatten(1).float()
            if probe.derived:
                values = self._computed(probe, values)
            found.append(values.cpu().numpy())
        return found

    def _computed(self, probe: Probe, values: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            units = self.units[probe.name](values).float()
        if units.shape != (len(values), probe.n_units):
            raise BadShape(f"What {probe.name} gives", units.shape, f"[{len(values)}, {probe.n_units}]")
        return units


class _MelEar:
    def __init__(self, corpus: Corpus, n_mels: int) -> None:
        self.corpus, self.n_mels = corpus, n_mels

    def __call__(self, batch: Sequence[int]) -> Iterator[Heard]:
        for at in batch:
            samples = self.corpus.audio(self.corpus.clips[at])
            mel = log_mel(samples, self.n_mels)  # frame f is centred on mel frame 2 f
            yield Heard(at, [np.ascontiguousarray(mel[:, : 2 * n_frames(len(samples)) : 2].T)], [])


class _EncoderEar:
    def __init__(self, probes: Sequence[Probe], corpus: Corpus, model: Model, speed: Speed) -> None:
        names = [site.name for site in list_sites(model.dims)]
        self.read, self.corpus, self.model, self.speed = _Reader(probes, model), corpus, model, speed
        self.last = max(self.read.sites, key=names.index)  # what lies deeper costs nothing

    def __call__(self, batch: Sequence[int]) -> Iterator[Heard]:
        import torch

        from wspy.model import capture, encode, mel_batch

        heard = {at: self.corpus.audio(self.corpus.clips[at]) for at in batch}
        for plan, some in self._planned(heard):
            with torch.inference_mode(), autocast(self.model), capture(self.model, self.read.sites) as cache:
                encode(self.model, mel_batch(self.model, [heard[at] for at in some]), self.last, plan)
            for i, at in enumerate(some):
                yield Heard(at, self.read(cache, i, slice(n_frames(len(heard[at])))), [])

    def _planned(
        self, heard: Mapping[int, Float32[np.ndarray, " sample"]]
    ) -> Iterator[tuple[FramePlan | None, list[int]]]:
        """The clips of a batch by the frames that are computed for them: at `exact` speed, and where there is too
        little padding to save, the whole window."""
        from wspy.model import plan_frames, windows_at_once

        plans: dict[int, FramePlan | None] = dict.fromkeys(heard)
        if self.speed == "condensed":
            plans = {at: plan_frames(self.model, n_frames(len(sound))) for at, sound in heard.items()}
        for plan in dict.fromkeys(plans.values()):
            some = [at for at in heard if plans[at] == plan]
            n = len(some) if plan else windows_at_once(self.model)
            for first in range(0, len(some), n):
                yield plan, some[first : first + n]


def autocast(model: Model) -> contextlib.AbstractContextManager[object]:
    """Half precision where that is faster: on CUDA."""
    import torch

    return torch.autocast("cuda") if model.device.type == "cuda" else contextlib.nullcontext()


class _DecoderEar:
    """Decoder activations from one teacher-forced pass, and when each token is heard."""

    def __init__(self, probes: Sequence[Probe], corpus: Corpus, model: Model) -> None:
        from wspy.model import alignment_sites

        self.read, self.corpus, self.model = _Reader(probes, model), corpus, model
        self.patterns = alignment_sites(model)
        # Refuse at once what would end the pass at its last clip.
        known = [(clip, text) for clip in corpus.clips if (text := corpus.text(clip)) is not None]
        sequences = [self._sequence(clip, text) for clip, text in known]
        if len(known) == len(corpus.clips) and not any(len(s.ids) - 1 - s.n_prompt for s in sequences):
            raise NoText(corpus.name)

    def __call__(self, batch: Sequence[int]) -> Iterator[Heard]:
        """Text tokens only: the prompt is left out, and so is the end-of-text token."""
        import torch

        from wspy.model import alignment_weights, capture, encode, mel_batch, teacher_force, token_times

        clips = [self.corpus.clips[at] for at in batch]
        samples = [self.corpus.audio(clip) for clip in clips]
        with torch.inference_mode(), autocast(self.model):
            features = encode(self.model, mel_batch(self.model, samples))
            assert features is not None  # only a pass that stops early gives none
            texts = self._texts(clips, features)
            sequences = [self._sequence(clip, text) for clip, text in zip(clips, texts, strict=True)]
            with capture(self.model, [*self.read.sites, *self.patterns]) as cache:
                teacher_force(self.model, features, sequences)
        attention: Mapping[str, torch.Tensor] = {name: cache[name] for name in self.patterns}
        for i, (at, clip, sequence) in enumerate(zip(batch, clips, sequences, strict=True)):
            text = slice(sequence.n_prompt, len(sequence.ids) - 1)
            heard: list[Token] = []
            if text.stop > text.start:
                frames = n_frames(len(samples[i]))
                weights = alignment_weights(self.model, attention, i, len(sequence.ids), frames)
                times = token_times(weights, text.start - 1, text.stop)
                heard = self._heard(list(sequence.ids[text]), times, clip.language)
            yield Heard(at, self.read(cache, i, text), heard)

    def _texts(self, clips: Sequence[Clip], features: torch.Tensor) -> list[str]:
        """The clips' texts; Whisper's own transcript, up to the clip's end, where the corpus has none."""
        from wspy.model import transcribe_mixed

        texts = [self.corpus.text(clip) for clip in clips]
        unknown = [i for i, text in enumerate(texts) if text is None]
        if unknown:
            languages = [clips[i].language for i in unknown]
            ends_s = [clips[i].duration_s for i in unknown]
            for i, found in zip(
                unknown, transcribe_mixed(self.model, features[unknown], languages, ends_s=ends_s), strict=True
            ):
                texts[i] = found.text
        return [text or "" for text in texts]

    def _sequence(self, clip: Clip, text: str) -> TokenSequence:
        """What the decoder reads for a clip."""
        from wspy.model import forced_tokens

        try:
            return forced_tokens(self.model, text, language=clip.language)
        except TooManyTokens as error:
            raise TooManyTokens(error.n_tokens, error.limit, f"The text of clip {clip.id!r}") from None

    def _heard(self, ids: list[int], times: list[float], language: str | None) -> list[Token]:
        tokenizer = self.model.tokenizer(language=language)
        words, groups = tokenizer.split_to_word_tokens(ids)
        word_of = [word.strip() for word, group in zip(words, groups, strict=True) for _ in group]
        return [
            Token(tokenizer.decode([token]), word, round(time, 2))
            for token, word, time in zip(ids, word_of, times, strict=True)
        ]
