"""One pass over a corpus: against a plain hook, across interruptions, for both sides of the model."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from wspy.atlas import build, ensure_atlas
from wspy.atlas.store import STATISTICS, SiteAtlas, read_statistics, site_folder, write_statistics
from wspy.audio import SAMPLE_RATE, log_mel
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import DamagedAtlas, NoText, NotStepwise, OutOfRange, TooManyTokens, UnknownSite
from wspy.model import Model
from wspy.testing import tiny_whisper

SITE = "encoder.blocks.1.mlp.1"


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_whisper()


def noise(n_clips: int, name: str = "noise", text: str | None = None) -> Corpus:
    rng = np.random.default_rng(0)
    lengths = rng.uniform(0.3, 3, size=n_clips)
    return Corpus.in_memory(
        name,
        [
            (
                rng.normal(scale=0.1, size=int(length * SAMPLE_RATE)).astype(np.float32),
                Clip(f"clip-{n}", text=text),
                None,
            )
            for n, length in enumerate(lengths)
        ],
    )


def ensure(site: str, model: Model, corpus: Corpus):
    return ensure_atlas(site, model.reference, corpus, model=lambda: model)


def activations_by_hand(model: Model, corpus: Corpus, clip: Clip) -> np.ndarray:
    """The neurons of `SITE` over a clip's own frames, by openai-whisper and a hook alone."""
    kept = []
    samples = corpus.audio(clip)
    hook = model.whisper.encoder.blocks[1].mlp[1].register_forward_hook(lambda *args: kept.append(args[2]))
    with torch.inference_mode():
        model.whisper.encoder(torch.from_numpy(log_mel(samples))[None])
    hook.remove()
    return kept[0][0, : -(-len(samples) // 320)].numpy()


def test_the_pass_records_what_a_plain_hook_sees(model):
    corpus = noise(11)
    atlas = ensure(SITE, model, corpus)
    by_hand = [activations_by_hand(model, corpus, clip) for clip in corpus.clips]
    for idx in (0, 100, 255):
        unit = atlas.unit(idx)
        peaks = np.array([clip[:, idx].max() for clip in by_hand])
        assert unit.n_clips == 11 and unit.n_frames == sum(len(clip) for clip in by_hand)
        assert unit.top[1].clip.tolist() == np.argsort(-peaks, kind="stable").tolist()
        assert unit.top[1].value == pytest.approx(np.sort(peaks)[::-1], abs=1e-5)
        assert unit.mean == pytest.approx(np.concatenate(by_hand)[:, idx].mean(), abs=1e-4)
        best = int(unit.top[1].clip[0])
        assert int(unit.top[1].frame[0]) == by_hand[best][:, idx].argmax()


def test_an_interrupted_pass_goes_on_and_gives_the_same_bits(model, monkeypatch):
    monkeypatch.setattr(build, "SHARD_CLIPS", 4)
    corpus = noise(14)
    folder = site_folder(SITE, model.reference, corpus)
    ensure(SITE, model, corpus)
    whole = (folder / STATISTICS).read_bytes()
    shutil.rmtree(folder)

    passes = []
    log_mels = build.n_frames

    def stop_in_the_third_shard(n_samples: int) -> int:
        passes.append(n_samples)
        if len(passes) == 10:
            raise KeyboardInterrupt
        return log_mels(n_samples)

    monkeypatch.setattr(build, "n_frames", stop_in_the_third_shard)
    with pytest.raises(KeyboardInterrupt):
        ensure(SITE, model, corpus)
    assert sorted(path.name for path in (folder / "shards").glob("*.safetensors")) == [
        "00000000.safetensors",
        "00000004.safetensors",
    ]
    ensure(SITE, model, corpus)
    assert len(passes) == 10 + (14 - 8)  # the two finished shards were not heard again
    assert (folder / STATISTICS).read_bytes() == whole
    assert not (folder / "shards").exists()


def test_a_finished_atlas_is_read_without_the_model(model):
    corpus = noise(3)
    ensure(SITE, model, corpus)
    again = ensure_atlas(SITE, model.reference, corpus, model=lambda: pytest.fail("the model was loaded"))
    assert again.about.n_units == 256 and again.about.corpus_hash == corpus.hash


def test_another_model_or_corpus_has_an_atlas_of_its_own(model):
    folders = {
        site_folder(SITE, model.reference, noise(3)),
        site_folder(SITE, model.reference, noise(4)),
        site_folder(SITE, tiny_whisper(seed=1).reference, noise(3)),
        site_folder("encoder.blocks.0.mlp.1", model.reference, noise(3)),
    }
    assert len(folders) == 4


@pytest.mark.parametrize("site", ["encoder.blocks.0", "encoder.blocks.1.attn.heads", "encoder.ln_post"])
def test_every_stepwise_site_has_an_atlas(model, site):
    assert ensure(site, model, noise(2)).unit(63).n_clips == 2


def test_sites_without_steps_units_out_of_range_and_unknown_sites_are_refused(model):
    corpus = noise(2)
    for site in ("encoder.blocks.0.attn.pattern", "encoder.conv1", "encoder.blocks.*.mlp.1"):
        with pytest.raises(NotStepwise, match="wspy sites"):
            ensure(site, model, corpus)
    with pytest.raises(UnknownSite):
        ensure("encoder.blocks.7.mlp.1", model, corpus)
    with pytest.raises(OutOfRange, match="choose 0 to 255"):
        ensure(SITE, model, corpus).unit(256)


def test_a_damaged_atlas_says_what_to_do(model):
    corpus = noise(2)
    path = ensure(SITE, model, corpus).folder / STATISTICS
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DamagedAtlas, match="delete that folder"):
        ensure(SITE, model, corpus)
    with pytest.raises(DamagedAtlas):
        read_statistics(path)


def test_decoder_sites_run_over_text_tokens_only(model):
    corpus = noise(3, text="seven hungry dogs")
    atlas = ensure("decoder.blocks.0.mlp.1", model, corpus)
    tokens = atlas.tokens[0]
    assert "".join(token.text for token in tokens).strip() == "seven hungry dogs"
    assert {token.word for token in tokens} == {"seven", "hungry", "dogs"}
    starts = [token.heard_s for token in tokens]
    assert starts == sorted(starts) and starts[0] >= 0 and starts[-1] <= corpus.clips[0].duration_s
    assert atlas.unit(0).n_frames == 3 * len(tokens)


def test_tokens_are_heard_between_the_boundaries_that_openai_whisper_finds(model):
    from whisper.timing import find_alignment

    text = "seven hungry dogs ran home"
    corpus = noise(3, text=text)
    tokenizer = model.tokenizer()
    heads = sorted({layer for layer, _ in build._Tokens(model).heads})
    assert heads == [1]  # of the random model: the upper half of the layers
    for clip, tokens in zip(corpus.clips, ensure("decoder.blocks.0.mlp.1", model, corpus).tokens, strict=True):
        samples = corpus.audio(clip)
        words = find_alignment(
            model.whisper,
            tokenizer,
            tokenizer.encode(f" {text}"),
            torch.from_numpy(log_mel(samples)),
            2 * -(-len(samples) // 320),
        )
        bounds = [(round(float(w.start), 2), round(float(w.end), 2)) for w in words if w.word.strip()]
        assert len(tokens) == len(bounds) == 5  # each word is one token
        for token, (start, end) in zip(tokens, bounds, strict=True):
            assert token.heard_s == pytest.approx((start + end) / 2, abs=0.006)


@pytest.mark.parametrize("n_samples", [1, 100, 320, 321, 700])
def test_tokens_of_a_clip_of_hardly_a_frame_stay_within_it(model, n_samples):
    corpus = Corpus.in_memory("short", [(np.full(n_samples, 0.1, np.float32), Clip("a", text="hello"), None)])
    atlas = ensure("decoder.blocks.0.mlp.1", model, corpus)
    assert all(0 <= token.heard_s <= 0.06 for token in atlas.tokens[0])
    assert ensure(SITE, model, corpus).unit(0).n_frames == -(-n_samples // 320)


def test_a_text_that_the_decoder_cannot_read_is_refused_by_clip_before_the_pass(model, monkeypatch):
    short, long = noise(2, text="hello").clips, "long " * 500
    sound = np.full(8000, 0.1, np.float32)
    corpus = Corpus.in_memory("long", [(sound, short[0], None), (sound, replace(short[1], text=long), None)])
    monkeypatch.setattr(build, "_activations", lambda *args: pytest.fail("the pass began"))
    with pytest.raises(TooManyTokens, match="clip 'clip-1'"):
        ensure("decoder.blocks.0.mlp.1", model, corpus)


def test_blank_texts_are_no_texts(model):
    with pytest.raises(NoText):
        ensure("decoder.blocks.0.mlp.1", model, noise(2, text=" \n "))


@pytest.mark.parametrize("n_clips", [1, 4, 5])
def test_corpora_that_end_at_and_beside_a_shard_count_every_clip_once(model, monkeypatch, n_clips):
    monkeypatch.setattr(build, "SHARD_CLIPS", 4)
    unit = ensure(SITE, model, noise(n_clips)).unit(3)
    assert unit.n_clips == n_clips == unit.histogram[1].sum() == unit.histogram[-1].sum()
    assert sorted(unit.top[1].clip.tolist()) == list(range(n_clips))


def test_an_atlas_of_an_older_layout_is_made_anew(model):
    corpus = noise(2)
    atlas = ensure(SITE, model, corpus)
    path = atlas.folder / STATISTICS
    write_statistics(path, read_statistics(path), atlas.about.model_copy(update={"format": 1}))
    with pytest.raises(DamagedAtlas, match="version 1"):
        SiteAtlas(atlas.folder)
    assert ensure(SITE, model, corpus).about == atlas.about


def test_clips_without_text_are_left_out_of_decoder_sites(model):
    with_text, without = noise(3, text="hello"), noise(3)
    clips = [replace(clip, text=clip.text if n else None) for n, clip in enumerate(with_text.clips)]
    mixed = Corpus.in_memory(
        "mixed", [(with_text.audio(old), new, None) for old, new in zip(with_text.clips, clips, strict=True)]
    )
    atlas = ensure("decoder.blocks.0.mlp.1", model, mixed)
    assert atlas.tokens[0] == [] and atlas.unit(0).n_clips == 2
    with pytest.raises(NoText, match="'noise'"):
        ensure("decoder.blocks.0.mlp.1", model, without)


def test_words_of_the_alignment_stand_in_for_a_missing_text(model):
    corpus = noise(2)
    aligned = Alignment((Interval(0.0, 0.1, "good"), Interval(0.1, 0.2, "morning")), (), "none", "planted")
    heard = Corpus.in_memory("heard", [(corpus.audio(clip), clip, aligned) for clip in corpus.clips])
    atlas = ensure("decoder.blocks.0.mlp.1", model, heard)
    assert [token.word for token in atlas.tokens[0]] == ["good", "morning"]
    assert atlas.about.alignment_hash == heard.alignment_hash


def test_a_damaged_shard_is_made_again(model, monkeypatch):
    monkeypatch.setattr(build, "SHARD_CLIPS", 2)
    corpus = noise(4)
    folder = site_folder(SITE, model.reference, corpus)
    whole = ensure(SITE, model, corpus).unit(5)
    shutil.rmtree(folder)
    (folder / "shards").mkdir(parents=True)
    (folder / "shards" / "00000000.safetensors").write_bytes(b"half a file")
    again = ensure(SITE, model, corpus).unit(5)
    assert again.mean == whole.mean and again.top[1].clip.tolist() == whole.top[1].clip.tolist()
