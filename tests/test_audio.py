"""Decoding, every bad file by its name, the log-mel spectrogram against Whisper's own, and what is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from wspy import errors
from wspy.audio import (
    FRAME_S,
    FRAME_SAMPLES,
    FRAMES_PER_SECOND,
    MEL_FRAMES,
    SAMPLE_RATE,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
    audio_duration_s,
    decode_audio,
    excerpt,
    frame_to_s,
    load_audio,
    log_mel,
    n_frames,
    peak_gain,
    require_window,
    s_to_frame,
    to_pcm16,
    write_wav,
)


def tone(duration_s: float = 1.0, hz: float = 440.0, rate: int = SAMPLE_RATE, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate)) / rate)).astype(np.float32)


# --- frames -----------------------------------------------------------------------------------------------


def test_constants_are_whispers_own() -> None:
    import whisper.audio as theirs

    assert (SAMPLE_RATE, WINDOW_SAMPLES, MEL_FRAMES) == (theirs.SAMPLE_RATE, theirs.N_SAMPLES, theirs.N_FRAMES)
    assert (FRAME_SAMPLES, FRAMES_PER_SECOND) == (theirs.N_SAMPLES_PER_TOKEN, theirs.TOKENS_PER_SECOND)
    assert WINDOW_FRAMES == 1500 and pytest.approx(0.02) == FRAME_S


@given(st.integers(0, WINDOW_FRAMES))
def test_frame_to_seconds_and_back(frame: int) -> None:
    assert s_to_frame(frame_to_s(frame)) == frame
    assert s_to_frame(frame_to_s(frame) + FRAME_S / 2) == frame


@given(st.integers(0, 2 * WINDOW_SAMPLES))
def test_valid_frames_are_those_that_begin_in_the_audio(n_samples: int) -> None:
    starts = np.arange(WINDOW_FRAMES) * FRAME_SAMPLES
    assert n_frames(n_samples) == int((starts < n_samples).sum())


def test_require_window() -> None:
    require_window(np.zeros(WINDOW_SAMPLES, np.float32))
    with pytest.raises(errors.AudioTooLong, match=r"30\.0 s, more than 30 s: .*--window"):
        require_window(np.zeros(WINDOW_SAMPLES + 1, np.float32))


# --- decoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
def test_formats(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, tone(), SAMPLE_RATE)
    samples = load_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert abs(len(samples) - SAMPLE_RATE) <= FRAME_SAMPLES
    inner = slice(2000, 14000)  # lossy codecs need a moment at the ends
    assert np.corrcoef(samples[inner], tone()[inner])[0, 1] > 0.99
    assert audio_duration_s(path) == pytest.approx(1.0, abs=0.02)
    assert np.array_equal(decode_audio(path.read_bytes(), "a"), samples)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_resampling_keeps_the_tone_and_drops_what_would_alias(tmp_path: Path, rate: int) -> None:
    sound = tone(rate=rate, hz=1000)
    if rate > 2 * SAMPLE_RATE:
        sound = sound + tone(rate=rate, hz=11_000)  # above the new Nyquist frequency: must vanish, not fold to 5 kHz
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    samples = load_audio(tmp_path / "a.wav")
    assert len(samples) == SAMPLE_RATE
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert int(spectrum.argmax()) == 1000
    assert spectrum[4500:5500].max() < 1e-3 * spectrum.max()


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right, third = tone(hz=300), tone(hz=700), tone(hz=900)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right, third], 1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), (left + right + third) / 3, atol=1e-6)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
def test_a_part_is_that_part_of_the_whole(tmp_path: Path, rate: int) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=5 * rate).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, rate, subtype="FLOAT")
    whole = load_audio(tmp_path / "a.wav")
    part = load_audio(tmp_path / "a.wav", 1.237, 3.411)
    first = round(1.237 * SAMPLE_RATE)
    assert len(part) == round(3.411 * SAMPLE_RATE) - first
    np.testing.assert_allclose(part, whole[first : first + len(part)], atol=2e-5)
    assert len(load_audio(tmp_path / "a.wav", 4.5)) == len(whole) - round(4.5 * SAMPLE_RATE)
    assert len(load_audio(tmp_path / "a.wav", 4.5, 99.0)) == len(whole) - round(4.5 * SAMPLE_RATE)


def test_16_bit_audio_survives_to_the_bit(tmp_path: Path) -> None:
    pcm = np.random.default_rng(0).integers(-32_767, 32_768, 8000).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", pcm, SAMPLE_RATE)
    assert np.array_equal(to_pcm16(load_audio(tmp_path / "a.flac")), pcm)


def test_decoded_by_content_whatever_the_extension(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(), SAMPLE_RATE)
    for name in ("a.wav", "a.mp3", "a.xyz", "a"):
        shutil.copy(tmp_path / "a.flac", tmp_path / name)
        assert len(load_audio(tmp_path / name)) == SAMPLE_RATE


def _write(sound: np.ndarray, rate: int = SAMPLE_RATE, subtype: str = "FLOAT") -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, sound, rate, format="WAV", subtype=subtype)


def _cut(extension: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        soundfile.write(path, np.random.default_rng(0).normal(scale=0.1, size=48_000), SAMPLE_RATE, format=extension)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return make


_nan, _inf = tone(), tone()
_nan[8000], _inf[4000] = np.nan, -np.inf

BAD: dict[str, tuple[Callable[[Path], object], type[errors.AudioError], str]] = {
    "missing": (lambda path: None, errors.AudioNotFound, "no audio file"),
    "folder": (lambda path: path.mkdir(), errors.NotAudio, "it is a folder"),
    "no bytes": (lambda path: path.touch(), errors.AudioEmpty, "empty"),
    "no samples": (_write(np.zeros(0)), errors.AudioEmpty, "empty"),
    "short": (_write(tone(0.0199)), errors.AudioTooShort, "19.9 ms"),
    "silent": (_write(np.zeros(SAMPLE_RATE)), errors.AudioSilent, "silent"),
    "NaN": (_write(_nan), errors.AudioNotFinite, r"0\.500 s"),
    "infinite": (_write(_inf), errors.AudioNotFinite, r"0\.250 s"),
    "cut wav": (_cut("WAV"), errors.AudioTruncated, "cut off"),
    "cut flac": (_cut("FLAC"), errors.AudioTruncated, "cut off"),
    "cut ogg": (_cut("OGG"), errors.AudioTruncated, "cut off"),
    "cut mp3": (_cut("MP3"), errors.AudioTruncated, "cut off"),
    "text": (lambda path: path.write_text("Not a sound.\n" * 50), errors.NotAudio, "it is text"),
    "bytes": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), errors.NotAudio, "cannot be read"),
    "slow": (_write(tone(rate=3999), 3999), errors.AudioSampleRate, "3999 Hz"),
    "fast": (_write(tone(rate=192_001), 192_001), errors.AudioSampleRate, "192001 Hz"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_audio_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    make, expected, says = BAD[kind]
    path = tmp_path / "the_file.wav"
    make(path)
    with pytest.raises(expected, match=says) as caught:
        load_audio(path)
    assert "the_file.wav" in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_headerless_extension(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(errors.NotAudio):
        load_audio(tmp_path / "a.raw")


@pytest.mark.parametrize(("start_s", "end_s"), [(5.0, None), (0.5, 0.5), (-1.0, None), (0.7, 0.3)])
def test_parts_that_do_not_exist(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE)
    with pytest.raises(errors.AudioRange, match=r"it lasts 1\.000 s"):
        load_audio(tmp_path / "a.wav", start_s, end_s)


def test_length_unknown_to_the_writer_is_no_truncation(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"  # what programs write that stream into a pipe
    (tmp_path / "a.wav").write_bytes(content)
    assert len(load_audio(tmp_path / "a.wav")) == SAMPLE_RATE


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)])
def test_mp3_without_a_length_is_read_to_its_end(tmp_path: Path, rate: int, tag: bytes) -> None:
    """The bit rate varies, so the first frame says nothing of the length."""
    sound = np.random.default_rng(0).normal(scale=0.1, size=10 * rate).astype(np.float32)
    sound[: 3 * rate] *= 1e-3
    soundfile.write(tmp_path / "a.mp3", sound, rate)
    content = (tmp_path / "a.mp3").read_bytes()
    second = content.index(content[:2], 4)  # the first frame holds nothing but the length
    assert b"Xing" in content[:second] or b"Info" in content[:second]
    whole = load_audio(tmp_path / "a.mp3")
    (tmp_path / "a.mp3").write_bytes(tag + content[second:])
    samples = load_audio(tmp_path / "a.mp3")
    assert len(samples) / SAMPLE_RATE == pytest.approx(10, abs=0.2)
    assert audio_duration_s(tmp_path / "a.mp3") == pytest.approx(10, abs=0.2)
    late = samples[5 * SAMPLE_RATE : 6 * SAMPLE_RATE]
    near = whole[int(4.5 * SAMPLE_RATE) : int(6.5 * SAMPLE_RATE)]
    assert np.correlate(near, late).max() > 0.98 * float((late**2).sum())


def test_other_containers_go_through_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the program notes its arguments and answers as ffmpeg does: 32-bit floats on stdout."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        f"#!{sys.executable}\n"
        "import struct, sys\n"
        f"open({str(tmp_path / 'args')!r}, 'w').write('\\n'.join(sys.argv[1:]))\n"
        "sys.stdout.buffer.write(struct.pack('<16000f', *([0.25, -0.25] * 8000)))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    movie = tmp_path / "-a.mkv"
    movie.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(100))
    samples = load_audio(movie, 1.0, 2.0)
    assert len(samples) == SAMPLE_RATE and samples[0] == 0.25
    words = (tmp_path / "args").read_text().split("\n")
    assert words[words.index("-i") + 1] == f"file:{movie}"  # never read as an option or an address
    assert words[words.index("-protocol_whitelist") + 1] == "file"
    assert words[words.index("-ss") + 1] == words[words.index("-t") + 1] == "1.000000"
    (tmp_path / "list.m3u8").write_text("#EXTM3U\nhttp://localhost/secret\n")
    (tmp_path / "args").unlink()
    with pytest.raises(errors.NotAudio, match="it is text"):
        load_audio(tmp_path / "list.m3u8")
    assert not (tmp_path / "args").exists()


def test_real_ffmpeg(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the program ffmpeg is not installed")
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE)
    words = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), "-c:a", "aac", str(tmp_path / "a.m4a")]
    subprocess.run(words, check=True)
    assert len(load_audio(tmp_path / "a.m4a")) == pytest.approx(SAMPLE_RATE, abs=2500)


# --- the log-mel spectrogram ------------------------------------------------------------------------------

SOUNDS = {
    "noise": np.random.default_rng(0).normal(scale=0.1, size=32_000).astype(np.float32),
    "tone": tone(2.0),
    "one frame": tone(0.02),
    "shorter than the border": tone(0.005),
    "odd length": tone(1.23456),
    "full": np.random.default_rng(1).normal(scale=0.1, size=WINDOW_SAMPLES).astype(np.float32),
    "nearly full": np.random.default_rng(2).normal(scale=0.1, size=WINDOW_SAMPLES - 90).astype(np.float32),
    "too long": np.random.default_rng(3).normal(scale=0.1, size=WINDOW_SAMPLES + 5000).astype(np.float32),
}


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("kind", SOUNDS)
def test_log_mel_is_whispers(kind: str, n_mels: int) -> None:
    """Against Whisper's code in double precision to 1e-5; its single precision alone is off by up to 5e-5."""
    import torch
    import whisper

    samples = SOUNDS[kind]
    ours = log_mel(samples, n_mels)
    assert ours.shape == (n_mels, MEL_FRAMES) and ours.dtype == np.float32
    padded = torch.from_numpy(whisper.pad_or_trim(samples))
    np.testing.assert_allclose(ours, whisper.log_mel_spectrogram(padded, n_mels).numpy(), atol=1e-4)
    window = torch.hann_window(400, dtype=torch.float64)
    power = torch.stft(padded.double(), 400, 160, window=window, return_complex=True)[..., :-1].abs() ** 2
    mel = (whisper.audio.mel_filters("cpu", n_mels).double() @ power).clamp(min=1e-10).log10()
    exact = (torch.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0
    np.testing.assert_allclose(ours, exact.numpy(), atol=1e-5)


@pytest.mark.real
def test_log_mel_of_speech(shared_data: Path) -> None:
    import torch
    import whisper

    path = next((shared_data / "aligned" / "timit_sample" / "audio").glob("*.flac"))
    samples = load_audio(path)
    theirs = whisper.log_mel_spectrogram(torch.from_numpy(whisper.pad_or_trim(samples))).numpy()
    np.testing.assert_allclose(log_mel(samples), theirs, atol=3e-5)


def test_log_mel_of_the_clip_alone_and_of_other_windows() -> None:
    import torch
    import whisper

    samples = SOUNDS["odd length"]
    own = log_mel(samples, window_s=None)
    theirs = whisper.log_mel_spectrogram(torch.from_numpy(samples)).numpy()
    assert own.shape == theirs.shape
    np.testing.assert_allclose(own, theirs, atol=1e-4)
    padded = torch.from_numpy(whisper.pad_or_trim(samples, 5 * SAMPLE_RATE))
    np.testing.assert_allclose(log_mel(samples, window_s=5), whisper.log_mel_spectrogram(padded).numpy(), atol=1e-4)


def test_log_mel_refuses_other_bands() -> None:
    with pytest.raises(errors.InputError, match="64 bands"):
        log_mel(tone(), 64)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, numpy; from wspy.audio import log_mel; log_mel(numpy.ones(32000, numpy.float32));"
        "print([m for m in ('torch', 'whisper', 'soundfile', 'soxr', 'scipy', 'jaxtyping') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- writing and listening --------------------------------------------------------------------------------


def test_write_wav_never_clips(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.wav"
    write_wav(path, 3 * tone(level=1.0))
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
    written, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(written, tone(level=1.0), atol=2e-4)
    assert [file.name for file in path.parent.iterdir()] == ["a.wav"]
    write_wav(path, tone(level=0.1))
    np.testing.assert_allclose(load_audio(path), tone(level=0.1), atol=2e-5)


def test_write_wav_refuses_what_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite"):
        write_wav(tmp_path / "a.wav", _nan)
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize("level", [0.015, 0.5, 4.0])
@pytest.mark.parametrize("centre_s", [0.0, 1.0, 2.0])
def test_peak_gain(level: float, centre_s: float) -> None:
    out = peak_gain(tone(2.0, level=level), centre_s)
    assert len(out) == 2 * SAMPLE_RATE and out.dtype == np.float32
    at = np.arange(len(out)) / SAMPLE_RATE
    near, far = np.abs(out[np.abs(at - centre_s) < 0.1]).max(), np.abs(out[np.abs(at - centre_s) > 0.3]).max()
    assert 0.85 < near <= np.abs(out).max() <= 0.98
    assert 20 * np.log10(far / near) == pytest.approx(-18, abs=0.5)


def test_peak_gain_lifts_a_faint_sound_beside_a_loud_one() -> None:
    samples = tone(2.0, level=0.9)
    samples[16_000:20_000] *= 0.05
    out = peak_gain(samples, 1.125, width_s=0.2)
    assert np.abs(out[17_500:18_500]).max() > 1.5 * np.abs(out[:10_000]).max()  # it was a twentieth
    assert np.abs(out).max() <= 0.98


def test_peak_gain_is_smooth_and_leaves_silence_alone() -> None:
    steady = np.full(32_000, 0.1, np.float32)
    assert np.abs(np.diff(peak_gain(steady, 1.0))).max() < 1e-3
    assert not peak_gain(np.zeros(1000, np.float32), 0.0).any()


def test_excerpt() -> None:
    samples = np.concatenate([tone(1.0, 300, level=0.01), tone(1.0, 900, level=0.01)])
    for centre_s, hz in ((0.5, 300), (1.5, 900), (0.0, 300), (2.0, 900), (9.0, 900)):
        part = excerpt(samples, centre_s)
        assert len(part) == SAMPLE_RATE // 2
        assert part[0] == 0 and abs(part[-1]) < 1e-3 and 0.85 < np.abs(part).max() <= 0.98
        assert int(np.abs(np.fft.rfft(part)).argmax()) * 2 == pytest.approx(hz, abs=4)
    assert len(excerpt(tone(0.1), 0.05)) == 1600


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(errors.NotAudio, match="no ordinary file"):
        load_audio(tmp_path / "pipe.wav")
    assert audio_duration_s(tmp_path / "pipe.wav") is None
