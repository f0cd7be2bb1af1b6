"""One pass over a corpus: against a plain hook, across interruptions, for both sides of the model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.atlas.conftest import noise
from wspy.atlas import (
    build,
    build_part,
    damaged_atlases,
    ensure_atlas,
    ensure_atlases,
    hearing,
    list_atlases,
    merge_parts,
)
from wspy.atlas.store import (
    BUILDING,
    DIRECTIONS,
    FORMAT,
    PHONES,
    STATISTICS,
    TOKENS,
    WORDS,
    SiteAtlas,
    corpus_folder,
    read_arrays,
    site_folder,
    write_arrays,
)
from wspy.audio import log_mel
from wspy.corpus import Alignment, Clip, Corpus, Interval
from wspy.errors import (
    DamagedAtlas,
    NoPhones,
    NoText,
    NotStepwise,
    OutdatedAtlas,
    OutOfRange,
    PartsDoNotFit,
    TooManyTokens,
    UnknownSite,
)
from wspy.model import Model, random_reference, random_weights
from wspy.testing import tiny_whisper

SITE = "encoder.blocks.1.mlp.1"
FILES = (STATISTICS, PHONES, WORDS, TOKENS, DIRECTIONS)


def ensure(site: str, model: Model, corpus: Corpus):
    return ensure_atlas(site, model.reference, corpus, model=lambda: model)


def ensure_all(sites: Sequence[str], model: Model, corpus: Corpus, **settings) -> list[SiteAtlas]:
    return ensure_atlases(sites, model.reference, corpus, model=lambda: model, **settings)


def content(atlas: SiteAtlas) -> dict[str, bytes]:
    return {name: path.read_bytes() for name in FILES if (path := atlas.folder / name).is_file()}


def unfinished(model: Model, corpus: Corpus) -> list[Path]:
    return sorted((corpus_folder(model.reference, corpus) / BUILDING).glob("[!.]*/*"))


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
    monkeypatch.setattr(build, "ORDERED_CLIPS", 4)
    monkeypatch.setattr(build, "BATCH_CLIPS", 2)
    monkeypatch.setattr(build, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(build, "CALIBRATION_FRAMES", 400)
    corpus = noise(14, phones=True)
    whole = ensure(SITE, model, corpus)
    bits = content(whole)
    assert set(bits) == {STATISTICS, PHONES, DIRECTIONS}
    shutil.rmtree(whole.folder)

    heard: list[int] = []
    take_in = build._Pass._take_in

    def stop_at_the_fifth_batch(self: build._Pass, batch: list[hearing.Heard]) -> None:
        heard.extend(clip.at for clip in batch)
        if len(heard) == 10:
            raise KeyboardInterrupt
        take_in(self, batch)

    monkeypatch.setattr(build._Pass, "_take_in", stop_at_the_fifth_batch)
    with pytest.raises(KeyboardInterrupt):
        ensure(SITE, model, corpus)
    assert [path.name for path in unfinished(model, corpus)] == ["00000004"]  # batches of two: 8 clips
    again = ensure(SITE, model, corpus)
    assert sorted(heard[:8] + heard[10:]) == list(range(14))  # what the checkpoint had was not heard again
    assert content(again) == bits
    assert not unfinished(model, corpus)


KILLED = """
import os, random, shutil, signal, sys, time
import torch
from pathlib import Path
from tests.atlas.conftest import noise
from wspy.atlas import build, ensure_atlases
from wspy.atlas.store import BUILDING, corpus_folder
from wspy.testing import tiny_whisper

torch.set_num_threads(1)
build.CHECKPOINT_S, build.BATCH_CLIPS, build.ORDERED_CLIPS, build.CALIBRATION_FRAMES = 0.05, 1, 8, 400
model, corpus, home = tiny_whisper(), noise(12, phones=True), Path(sys.argv[1])
sites = ["encoder.blocks.0", "encoder.blocks.1"]

def child(kill_after_s=None, before=lambda: None):
    "One process of its own that builds the atlas; whether it came to its end, and how long it took."
    started, process = time.monotonic(), os.fork()
    if not process:
        before()
        ensure_atlases(sites, model.reference, corpus, model=lambda: model)
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1], time.monotonic() - started

def between_two_sites():
    "Die when the first of the two has landed."
    replace = build.replace_folder
    def once(new, path):
        replace(new, path)
        os.kill(os.getpid(), signal.SIGKILL)
    build.replace_folder = once

os.environ["WSPY_HOME"] = str(home / "warm")
ensure_atlases(sites, model.reference, noise(2, phones=True), model=lambda: model)  # compile what all will need
shutil.rmtree(home / "warm")
os.environ["WSPY_HOME"] = str(home / "whole")
ended, took_s = child()
assert ended == 0
os.environ["WSPY_HOME"] = str(home / "killed")
building, kills, seen = corpus_folder(model.reference, corpus) / BUILDING, 0, set()
chance = random.Random(0)
while kills < 8 and child(kill_after_s=chance.uniform(0.05, 0.3) * took_s)[0] == signal.SIGKILL:
    kills += 1
    seen |= {path.name for path in building.glob("[!.]*/[0-9]*")}
assert child()[0] == 0
os.environ["WSPY_HOME"] = str(home / "between")
building = corpus_folder(model.reference, corpus) / BUILDING
assert child(before=between_two_sites)[0] == signal.SIGKILL
landed = [site for site in sites if (building.parent / site).is_dir()]
assert child()[0] == 0
print(kills, len(seen), len(landed))
"""


def test_a_pass_that_is_killed_again_and_again_gives_the_bits_of_one_that_was_not(tmp_path):
    repository = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        check=False,
        text=True,
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    kills, checkpoints, landed = map(int, done.stdout.split())
    assert kills >= 2 and checkpoints >= 1 and landed == 1
    whole, *killed = (
        {path.relative_to(home): path.read_bytes() for path in home.rglob("*.safetensors")}
        for home in (tmp_path / "whole", tmp_path / "killed", tmp_path / "between")
    )
    assert len(whole) == 4  # and nothing else is left of any of them
    assert killed == [whole, whole]


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
        read_arrays(path)


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
    patterns = hearing._DecoderEar([], corpus, model).patterns
    assert patterns == ["decoder.blocks.1.cross_attn.pattern"]  # of the random model: the upper half of the layers
    found = ensure("decoder.blocks.0.mlp.1", model, corpus).tokens
    assert list(found) == [0, 1, 2]
    for clip, tokens in zip(corpus.clips, found.values(), strict=True):
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
    monkeypatch.setattr(hearing._DecoderEar, "__call__", lambda *args: pytest.fail("the pass began"))
    with pytest.raises(TooManyTokens, match="clip 'clip-1'"):
        ensure("decoder.blocks.0.mlp.1", model, corpus)


def test_blank_texts_are_no_texts(model):
    with pytest.raises(NoText):
        ensure("decoder.blocks.0.mlp.1", model, noise(2, text=" \n "))


@pytest.mark.parametrize("n_clips", [1, 4, 5])
def test_corpora_that_end_at_and_beside_a_batch_count_every_clip_once(model, monkeypatch, n_clips):
    monkeypatch.setattr(build, "ORDERED_CLIPS", 4)
    monkeypatch.setattr(build, "BATCH_CLIPS", 2)
    unit = ensure(SITE, model, noise(n_clips)).unit(3)
    assert unit.n_clips == n_clips == unit.histogram[1].sum() == unit.histogram[-1].sum()
    assert sorted(unit.top[1].clip.tolist()) == list(range(n_clips))


def test_an_atlas_of_an_older_layout_is_made_anew(model):
    corpus = noise(2)
    atlas = ensure(SITE, model, corpus)
    bits, path = content(atlas), atlas.folder / STATISTICS
    # As version 2 had it: without speed and top.
    about = {name: value for name, value in atlas.about if name not in ("speed", "top", "part", "texts")}
    save_file(read_arrays(path), path, metadata={"about": json.dumps({**about, "format": 2})})
    with pytest.raises(OutdatedAtlas, match="version 2"):
        SiteAtlas(atlas.folder)
    assert list_atlases() == [] and damaged_atlases() == {}
    assert content(ensure(SITE, model, corpus)) == bits


def test_an_atlas_of_a_later_layout_is_left_alone(model):
    corpus = noise(2)
    atlas = ensure(SITE, model, corpus)
    path = atlas.folder / STATISTICS
    write_arrays(path, read_arrays(path), atlas.about.model_copy(update={"format": FORMAT + 1}))
    with pytest.raises(DamagedAtlas, match=f"version {FORMAT + 1}"):
        ensure(SITE, model, corpus)


def test_clips_in_which_nothing_is_said_are_left_out_of_decoder_sites(model):
    with_text, without = noise(3, text="hello"), noise(3, text="")
    clips = [replace(clip, text=clip.text if n else "") for n, clip in enumerate(with_text.clips)]
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


def test_a_damaged_checkpoint_is_heard_again(model, monkeypatch):
    corpus = noise(4)
    whole = ensure(SITE, model, corpus)
    bits = content(whole)
    shutil.rmtree(whole.folder)
    monkeypatch.setattr(build._Pass, "_take_in", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ensure(SITE, model, corpus)
    monkeypatch.undo()
    run = build._Pass(
        [hearing.find_probe(SITE, model.reference)], model.reference, corpus, lambda: model, "exact", 25, (1, 1)
    )
    broken = run.checkpoints / "00000001" / SITE
    broken.mkdir(parents=True)
    (broken / STATISTICS).write_bytes(b"half a file")
    assert content(ensure(SITE, model, corpus)) == bits


# --- several sites ----------------------------------------------------------------------------------------


SEVERAL = ["mel", "encoder.blocks.0", "encoder.blocks.0.attn.heads", "encoder.blocks.1.mlp.1", "decoder.blocks.1.mlp.1"]


def test_several_sites_at_once_give_the_bits_of_one_at_a_time(model, tmp_path, monkeypatch):
    corpus = noise(6, text="seven hungry dogs", phones=True)
    together = [content(atlas) for atlas in ensure_all(SEVERAL, model, corpus)]
    monkeypatch.setenv("WSPY_HOME", str(tmp_path / "apart"))
    assert [content(ensure(site, model, corpus)) for site in SEVERAL] == together
    frames = {STATISTICS, PHONES}
    assert [set(files) for files in together] == [
        *[frames] * 3,
        frames | {DIRECTIONS},
        {STATISTICS, WORDS, TOKENS, DIRECTIONS},
    ]


def test_only_what_is_missing_is_heard(model, monkeypatch):
    corpus = noise(3)
    ensure("encoder.blocks.0", model, corpus)
    passes = []
    monkeypatch.setattr(
        build, "make_ear", lambda probes, *args: passes.append(probes) or hearing.make_ear(probes, *args)
    )
    ensure_all(["encoder.blocks.0", SITE, "encoder.blocks.1"], model, corpus)
    assert [[probe.name for probe in probes] for probes in passes] == [[SITE, "encoder.blocks.1"]]


def test_sites_with_too_many_units_for_one_pass_take_several(model, monkeypatch):
    corpus, sites = noise(3), ["encoder.blocks.0.mlp.1", SITE, "encoder.blocks.1"]
    with monkeypatch.context() as fewer:
        fewer.setattr(build, "UNITS_AT_ONCE", 300)
        apart = [content(atlas) for atlas in ensure_all(sites, model, corpus)]
    shutil.rmtree(corpus_folder(model.reference, corpus))
    assert [content(atlas) for atlas in ensure_all(sites, model, corpus)] == apart


def test_bands_of_the_spectrogram_are_units_too(model):
    corpus = noise(3, phones=True)
    atlas = ensure("mel", model, corpus)
    mels = [log_mel(corpus.audio(clip)) for clip in corpus.clips]
    # Frame f is centred on mel frame 2 f.
    frames = [
        mel[7, : 2 * -(-len(corpus.audio(clip)) // 320) : 2] for mel, clip in zip(mels, corpus.clips, strict=True)
    ]
    unit = atlas.unit(7)
    assert atlas.about.n_units == 80 and unit.n_frames == sum(map(len, frames))
    assert unit.mean == pytest.approx(np.concatenate(frames).mean(), abs=1e-5)
    assert unit.maximum == max(frame.max() for frame in frames)


def test_sites_outside_the_encoder_are_exact_whatever_is_asked_for(model):
    sites = ["mel", SITE, "decoder.blocks.0.mlp.1"]
    made = ensure_all(sites, model, noise(3, text="hello there"), speed="condensed")
    assert [atlas.about.speed for atlas in made] == ["exact", "condensed", "exact"]
    assert [atlas.about.site for atlas in made] == sites


def test_phones_are_counted_only_where_there_are_some(model):
    aligned, bare = ensure(SITE, model, noise(3, phones=True)), ensure(SITE, model, noise(3))
    assert aligned.has_phones and aligned.lag_frames is not None
    assert set(aligned.unit_phones(3).phones) <= {"AA", "S", "SIL", "T"}
    every, one = aligned.phones(), aligned.unit_phones(200)
    assert np.array_equal(every.histogram[200], one.histogram) and np.array_equal(every.sums[200], one.sums)
    assert not bare.has_phones and bare.lag_frames is None
    with pytest.raises(NoPhones, match="wspy corpus align"):
        bare.unit_phones(3)
    with pytest.raises(NoPhones):
        bare.phones()


def test_another_top_is_heard_anew_and_none_takes_what_is_there(model):
    corpus = noise(9)

    def kept(top: int | None) -> int:
        return len(ensure_all([SITE], model, corpus, top=top)[0].unit(3).top[1].value)

    assert kept(None) == 9
    assert kept(4) == kept(None) == 4
    assert kept(25) == 9


def test_shuffled_weights_are_a_model_of_their_own_and_the_same_each_time(model, tmp_path, monkeypatch):
    corpus, before = noise(4, phones=True), {name: t.clone() for name, t in model.whisper.state_dict().items()}

    def control(seed: int) -> SiteAtlas:
        return ensure_atlas(
            SITE, random_reference(model.reference, seed), corpus, model=lambda: random_weights(model, seed)
        )

    learned, first, other = ensure(SITE, model, corpus), control(0), control(1)
    assert len({learned.folder, first.folder, other.folder}) == 3
    assert len({content(atlas)[STATISTICS] for atlas in (learned, first, other)}) == 3
    bits = content(first)
    monkeypatch.setenv("WSPY_HOME", str(tmp_path / "again"))
    assert content(control(0)) == bits
    shuffled = random_weights(model, 0).whisper.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.whisper.state_dict().items())
    name = "encoder.blocks.0.mlp.0.weight"
    assert not torch.equal(shuffled[name], before[name])
    assert torch.equal(shuffled[name].flatten().sort().values, before[name].flatten().sort().values)


# --- parts ------------------------------------------------------------------------------------------------


def small(monkeypatch) -> None:
    monkeypatch.setattr(build, "ORDERED_CLIPS", 2)
    monkeypatch.setattr(build, "BATCH_CLIPS", 1)
    monkeypatch.setattr(build, "CALIBRATION_FRAMES", 150)


def parts_of(n_parts: int, sites: Sequence[str], model: Model, corpus: Corpus, folder: Path) -> list[Path]:
    folders = [folder / f"part-{n}" for n in range(1, n_parts + 1)]
    for n, path in enumerate(folders, 1):
        build_part(sites, model.reference, corpus, path, model=lambda: model, part=(n, n_parts))
    return folders


@pytest.mark.parametrize("n_parts", [2, 4])  # of three chunks of clips: the fourth part has none
def test_parts_merge_to_the_bits_of_one_pass(model, tmp_path, monkeypatch, n_parts):
    small(monkeypatch)
    corpus = noise(5, text="seven hungry dogs", phones=True)
    sites = ["encoder.blocks.0.mlp.1", SITE, "decoder.blocks.0.mlp.1"]
    folders = parts_of(n_parts, sites, model, corpus, tmp_path)
    monkeypatch.setenv("WSPY_HOME", str(tmp_path / "merged"))
    merged = {atlas.about.site: content(atlas) for atlas in merge_parts(folders[::-1], model.reference, corpus)}
    monkeypatch.setenv("WSPY_HOME", str(tmp_path / "whole"))
    assert merged == {atlas.about.site: content(atlas) for atlas in ensure_all(sites, model, corpus)}
    assert not unfinished(model, corpus)


def test_parts_that_are_no_whole_are_refused_before_anything_is_written(model, tmp_path, monkeypatch):
    small(monkeypatch)
    corpus = noise(5, phones=True)
    one, two, three = parts_of(3, [SITE], model, corpus, tmp_path)
    first, second = parts_of(2, [SITE], model, corpus, tmp_path / "halves")
    other = tmp_path / "other top"
    build_part([SITE], model.reference, corpus, other, model=lambda: model, part=(2, 2), top=3)
    for folders, why in (
        ([one, three], "1/3, 3/3"),
        ([one, two, two, three], "2/3, 2/3"),
        ([first, two], "1/2, 2/3"),
        ([first, other], "settings"),
        ([tmp_path], "no part"),
    ):
        with pytest.raises(PartsDoNotFit, match=why):
            merge_parts(folders, model.reference, corpus)
    with pytest.raises(PartsDoNotFit, match="--model"):
        merge_parts([first, second], tiny_whisper(seed=1).reference, corpus)
    with pytest.raises(PartsDoNotFit, match="aligned otherwise"):
        merge_parts([first, second], model.reference, noise(5))
    assert not site_folder(SITE, model.reference, corpus).exists()
    (first / SITE / PHONES).write_bytes(b"half")
    with pytest.raises(DamagedAtlas):
        merge_parts([first, second], model.reference, corpus)


def test_a_part_that_was_interrupted_goes_on(model, tmp_path, monkeypatch):
    small(monkeypatch)
    monkeypatch.setattr(build, "CHECKPOINT_S", 0.0)
    corpus = noise(6, phones=True)
    whole, _ = parts_of(2, [SITE], model, corpus, tmp_path / "whole")
    take_in, heard = build._Pass._take_in, []

    def stop_at_the_second_batch(self: build._Pass, batch: list[hearing.Heard]) -> None:
        heard.append(len(batch))
        if len(heard) == 2:
            raise KeyboardInterrupt
        take_in(self, batch)

    monkeypatch.setattr(build._Pass, "_take_in", stop_at_the_second_batch)
    with pytest.raises(KeyboardInterrupt):
        parts_of(2, [SITE], model, corpus, tmp_path / "broken")
    again, _ = parts_of(2, [SITE], model, corpus, tmp_path / "broken")
    for name in (STATISTICS, PHONES, DIRECTIONS):
        assert (again / SITE / name).read_bytes() == (whole / SITE / name).read_bytes()


# --- two at once ------------------------------------------------------------------------------------------


TWO = """
import sys, torch
from tests.atlas.conftest import noise
from wspy.atlas import build, ensure_atlases
from wspy.testing import tiny_whisper

torch.set_num_threads(1)
model, passes, make_ear = tiny_whisper(), [], build.make_ear
build.make_ear = lambda probes, *args: passes.extend(probe.name for probe in probes) or make_ear(probes, *args)
print("ready", flush=True)
sys.stdin.readline()
ensure_atlases(sys.argv[1:], model.reference, noise(8, phones=True), model=lambda: model)
print(*passes)
"""


def test_two_processes_at_once_share_the_work_and_neither_waits_for_ever(model):
    sites = ["encoder.blocks.0.mlp.1", SITE, "encoder.blocks.1"]
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, *asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        )
        for asked in (sites[:2], sites[:0:-1])
    ]
    for process in both:
        assert process.stdout and process.stdout.readline() == "ready\n"
    said: list[str] = [""] * 2

    def finish(n: int) -> None:
        said[n], _ = both[n].communicate("go\n", timeout=250)

    threads = [threading.Thread(target=finish, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(" ".join(said).split()) == sorted(sites)  # each site was heard by one of them
    corpus = noise(8, phones=True)
    made = [content(SiteAtlas(site_folder(site, model.reference, corpus))) for site in sites]
    shutil.rmtree(corpus_folder(model.reference, corpus))
    assert [content(atlas) for atlas in ensure_all(sites, model, corpus)] == made
