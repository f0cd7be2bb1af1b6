"""One pass over a corpus: every unit of a site, nothing kept but statistics.

The corpus is cut into shards of `SHARD_CLIPS` clips. A finished shard lands on disk whole, so an interrupted pass goes
on where it stopped, and the merged statistics do not depend on where that was.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.atlas.statistics import SiteStatistics
from wspy.atlas.store import (
    FORMAT,
    STATISTICS,
    TOKENS,
    About,
    SiteAtlas,
    Token,
    read_about,
    read_statistics,
    read_tokens,
    site_folder,
    write_statistics,
    write_tokens,
)
from wspy.audio import FRAME_S, n_frames
from wspy.errors import DamagedAtlas, NoText, NotStepwise, OutdatedAtlas, TooManyTokens
from wspy.files import locked
from wspy.model.sites import Site, match_sites
from wspy.progress import Progress, Silent

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, Float32

    from wspy.corpus import Clip, Corpus
    from wspy.model import Model, ModelReference, TokenSequence

SHARD_CLIPS = 64
BATCH_CLIPS = 8


def ensure_atlas(
    site: str,
    reference: ModelReference,
    corpus: Corpus,
    *,
    model: Callable[[], Model],
    progress: Progress | None = None,
) -> SiteAtlas:
    """The atlas of a site over a corpus, from disk if it is there, else from one pass that is then kept.

    Args:
        model: Gives the loaded model; called only when there is something left to compute.

    Raises:
        UnknownSite: the model has no such site.
        NotStepwise: the site has no value per frame or token.
        NoText: a decoder site, and no clip has a text.
        TooManyTokens, UnknownLanguage: a decoder site, and a clip that this model's decoder cannot read.
        Busy: another process builds the same atlas and does not finish.
    """
    found = _one_site(site, reference)
    folder = site_folder(found.name, reference, corpus)
    if not _is_built(folder):
        with locked(folder, f"the atlas of {found.name} over corpus {corpus.name!r}"):
            if not _is_built(folder):
                _build(found, corpus, folder, model(), progress or Silent())
    return SiteAtlas(folder)


def _is_built(folder: Path) -> bool:
    try:
        return (folder / STATISTICS).is_file() and bool(read_about(folder / STATISTICS))
    except OutdatedAtlas:
        return False


def _one_site(name: str, reference: ModelReference) -> Site:
    """The site of that name, which must give each unit one value per frame or token."""
    sites = match_sites(name, reference.dims)
    if len(sites) != 1 or sites[0].kind in ("conv", "pattern"):
        raise NotStepwise(name)
    return sites[0]


def _build(site: Site, corpus: Corpus, folder: Path, model: Model, progress: Progress) -> None:
    tokens = _Tokens(model) if site.side == "decoder" else None
    if tokens:
        tokens.check(corpus)
    about = About(
        format=FORMAT,
        site=site.name,
        n_units=site.n_units,
        position="token" if tokens else "frame",
        model=model.name,
        model_sha256=model.sha256,
        corpus=corpus.name,
        corpus_hash=corpus.hash,
        alignment_hash=corpus.alignment_hash if tokens else None,
        speed="exact",
    )
    shards = folder / "shards"
    starts = range(0, len(corpus.clips), SHARD_CLIPS)
    missing = [start for start in starts if not _usable(shards / f"{start:08d}.safetensors", about)]
    todo = [at for start in missing for at in range(start, min(start + SHARD_CLIPS, len(corpus.clips)))]
    description = f"Listening with {site.name}"
    clips = iter(progress.track(todo, description, total=len(todo)))
    for start in missing:
        shard = SiteStatistics(site.n_units)
        heard: list[list[Token]] = []
        span = range(start, min(start + SHARD_CLIPS, len(corpus.clips)))
        for batch in _batches(clips, len(span)):
            for at, activations, words in _activations(site, corpus, batch, model, tokens):
                heard.append(words)
                if len(activations):
                    shard.update(activations, at, corpus.clips[at].id)
        if tokens:
            write_tokens(shards / f"{start:08d}.jsonl", heard)
        write_statistics(shards / f"{start:08d}.safetensors", shard, about)
    _finish(folder, shards, starts, about)


def _usable(shard: Path, about: About) -> bool:
    """Whether a shard of an interrupted pass is whole, and of what is being built."""
    try:
        return shard.is_file() and read_about(shard) == about
    except DamagedAtlas:
        return False


def _batches(clips: Iterator[int], count: int) -> Iterator[list[int]]:
    """The next `count` clips in batches; each clip is drawn when it is needed, so that progress stays true."""
    while count > 0:
        size = min(BATCH_CLIPS, count)
        yield [next(clips) for _ in range(size)]
        count -= size


def _finish(folder: Path, shards: Path, starts: Sequence[int], about: About) -> None:
    """Merge the shards into the atlas and drop them."""
    merged = SiteStatistics(about.n_units)
    heard: list[list[Token]] = []
    for start in starts:
        merged = merged.merge(read_statistics(shards / f"{start:08d}.safetensors"))
        if about.position == "token":
            heard += read_tokens(shards / f"{start:08d}.jsonl")
    if about.position == "token":
        write_tokens(folder / TOKENS, heard)
    write_statistics(folder / STATISTICS, merged, about)
    shutil.rmtree(shards)


def _activations(
    site: Site, corpus: Corpus, batch: Sequence[int], model: Model, tokens: _Tokens | None
) -> list[tuple[int, Float32[np.ndarray, "position unit"], list[Token]]]:
    """Per clip its place in the corpus, the site's activations over valid positions, and their tokens."""
    import torch

    from wspy.audio import log_mel
    from wspy.model import capture, encode

    clips = [corpus.clips[at] for at in batch]
    samples = [corpus.audio(clip) for clip in clips]
    mels = torch.from_numpy(np.stack([log_mel(sound, model.dims.n_mels) for sound in samples])).to(model.device)
    with torch.inference_mode(), _autocast(model):
        if tokens:
            sequences = [tokens.sequence(corpus, clip) for clip in clips]
            return tokens.activations(site, batch, clips, sequences, samples, mels)
        with capture(model, [site.name]) as cache:
            encode(model, mels, stop_after=site.name)
            # Flattening the last axes makes a unit of every head dimension, for sites that keep heads apart.
            values = cache[site.name].flatten(2)
    return [
        (at, activations[: n_frames(len(sound))].float().cpu().numpy(), [])
        for at, sound, activations in zip(batch, samples, values, strict=True)
    ]


def _autocast(model: Model) -> contextlib.AbstractContextManager[object]:
    """Half precision where that is faster: on CUDA."""
    import torch

    return torch.autocast("cuda") if model.device.type == "cuda" else contextlib.nullcontext()


class _Tokens:
    """Decoder activations from one teacher-forced pass, and when each token is heard."""

    def __init__(self, model: Model) -> None:
        self.model = model
        heads = model.whisper.alignment_heads.indices().T.tolist()
        self.heads = [(int(layer), int(head)) for layer, head in heads]
        self.patterns = sorted({f"decoder.blocks.{layer}.cross_attn.pattern" for layer, _ in self.heads})

    def check(self, corpus: Corpus) -> None:
        """Refuse at once what would end the pass at its last clip."""
        n_text = 0
        for clip in corpus.clips:
            sequence = self.sequence(corpus, clip)
            n_text += len(sequence.ids) - 1 - sequence.n_prompt
        if n_text == 0:
            raise NoText(corpus.name)

    def sequence(self, corpus: Corpus, clip: Clip) -> TokenSequence:
        """What the decoder reads for a clip."""
        from wspy.model import forced_tokens

        try:
            return forced_tokens(self.model, corpus.text(clip) or "", language=clip.language)
        except TooManyTokens as error:
            raise TooManyTokens(error.n_tokens, error.limit, f"The text of clip {clip.id!r}") from None

    def activations(
        self,
        site: Site,
        batch: Sequence[int],
        clips: Sequence[Clip],
        sequences: Sequence[TokenSequence],
        samples: Sequence[np.ndarray],
        mels: torch.Tensor,
    ) -> list[tuple[int, Float32[np.ndarray, "position unit"], list[Token]]]:
        """Text tokens only: the prompt is left out, and so is the end-of-text token."""
        import torch

        from wspy.model import capture, encode, teacher_force

        features = encode(self.model, mels)
        assert features is not None  # only a pass that stops early gives none
        with capture(self.model, [site.name, *self.patterns]) as cache:
            teacher_force(self.model, features, sequences)
            values = cache[site.name].flatten(2).float().cpu().numpy()
            attention = {name: cache[name] for name in self.patterns}
        found: list[tuple[int, np.ndarray, list[Token]]] = []
        for i, (at, clip, sequence) in enumerate(zip(batch, clips, sequences, strict=True)):
            text = slice(sequence.n_prompt, len(sequence.ids) - 1)
            if text.stop <= text.start:
                found.append((at, values[i, :0], []))
                continue
            frames = n_frames(len(samples[i]))
            rows = [attention[f"decoder.blocks.{layer}.cross_attn.pattern"][i, head] for layer, head in self.heads]
            # The row that predicts a token listens to it: the one before it. On the CPU, for Apple's have no float64.
            weights = torch.stack([row[: len(sequence.ids), :frames].float().cpu() for row in rows])
            times = _token_times(weights, text.start - 1, text.stop)
            found.append((at, values[i, text], self._heard(list(sequence.ids[text]), times, clip.language)))
        return found

    def _heard(self, ids: list[int], times: list[float], language: str | None) -> list[Token]:
        tokenizer = self.model.tokenizer(language=language)
        words, groups = tokenizer.split_to_word_tokens(ids)
        word_of = [word.strip() for word, group in zip(words, groups, strict=True) for _ in group]
        return [
            Token(tokenizer.decode([token]), word, round(time, 2))
            for token, word, time in zip(ids, word_of, times, strict=True)
        ]


def _token_times(weights: Float[torch.Tensor, "head token frame"], first_row: int, end_row: int) -> list[float]:
    """When each token is heard, in seconds: dynamic time warping over cross-attention.

    The steps and constants are those of `whisper.timing.find_alignment`, over one pass that is made anyway. A token
    is heard halfway between its start and the next one's, which lies inside the word more often than either.

    Args:
        first_row: The row before the first token's own, which predicts it.
        end_row: The row after the last token's own.
    """
    import torch
    from whisper.timing import dtw, median_filter

    weights = weights / weights.sum(dim=-1, keepdim=True)
    std, mean = weights.std(dim=-2, keepdim=True, unbiased=False), weights.mean(dim=-2, keepdim=True)
    # Attention that no token changes (a clip of one frame, say) has no spread and tells no time.
    standard = torch.nan_to_num((weights - mean) / std, nan=0.0, posinf=0.0, neginf=0.0)
    matrix = median_filter(standard, 7).mean(dim=0)[first_row:end_row]
    token_of_step, frame_of_step = dtw(-matrix)
    starts = frame_of_step[np.concatenate([[True], np.diff(token_of_step) > 0])] * FRAME_S
    times: list[float] = ((starts[:-1] + starts[1:]) / 2).tolist()
    return times
