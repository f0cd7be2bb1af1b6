"""Sound in, sound out, and the arithmetic between samples, frames and seconds.

Everything inside wspy is mono float32 at 16 kHz. A frame is one step of Whisper's encoder: two mel frames, 20 ms.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import math
import os
import shutil
import subprocess
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.errors import (
    AudioEmpty,
    AudioNotFinite,
    AudioNotFound,
    AudioRange,
    AudioSampleRate,
    AudioSilent,
    AudioTooLong,
    AudioTooShort,
    AudioTruncated,
    AudioUnreadable,
    InputError,
    NotAudio,
)
from wspy.files import atomic_path

if TYPE_CHECKING:
    import soundfile
    from jaxtyping import Float32, Int, Int16

SAMPLE_RATE = 16_000  # samples per second
HOP_SAMPLES = 160  # one mel frame
FFT_SAMPLES = 400
FRAME_SAMPLES = 2 * HOP_SAMPLES  # one encoder step: the second convolution has stride 2
FRAMES_PER_SECOND = SAMPLE_RATE // FRAME_SAMPLES
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
WINDOW_S = 30
WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE
WINDOW_FRAMES = WINDOW_S * FRAMES_PER_SECOND
MEL_FRAMES = WINDOW_SAMPLES // HOP_SAMPLES

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
SILENCE_PEAK = 2.0**-15  # one step of 16-bit audio: anything below is zero once stored
LISTENING_PEAK = 0.9
_BLOCK_FRAMES = 1 << 20  # samples per channel read at once, so that hours of many channels fit in memory
_RESAMPLER_MARGIN_S = 0.05  # more than the resampler's filter is long


# --- frames -----------------------------------------------------------------------------------------------


def n_frames(n_samples: int) -> int:
    """The valid frames of a clip: those that begin within its audio, 1,500 at most."""
    return min(-(-n_samples // FRAME_SAMPLES), WINDOW_FRAMES)


def frame_to_s(frame: int) -> float:
    """The start of a frame in seconds."""
    return frame * FRAME_SAMPLES / SAMPLE_RATE


def s_to_frame(t_s: float) -> int:
    """The frame that a moment falls into; a moment on a frame's start belongs to that frame."""
    # Rounding first, since 0.58 s * 50 is 28.999999999999996 in floating point.
    return math.floor(round(t_s * FRAMES_PER_SECOND, 6))


def require_window(samples: Float32[np.ndarray, "sample"], limit_s: float = WINDOW_S, what: str = "The audio") -> None:
    """Refuse audio that does not fit in one window.

    Raises:
        AudioTooLong: more than `limit_s` seconds.
    """
    if len(samples) > limit_s * SAMPLE_RATE:
        raise AudioTooLong(what, len(samples) / SAMPLE_RATE, limit_s)


# --- reading ----------------------------------------------------------------------------------------------


def load_audio(path: str | Path, start_s: float = 0.0, end_s: float | None = None) -> Float32[np.ndarray, "sample"]:
    """Decode a file, or the part from `start_s` to `end_s`, into mono float32 at 16 kHz.

    WAV, FLAC, OGG, MP3 and what else libsndfile knows, whatever the file's extension says; other containers through the
    `ffmpeg` program where it is installed. Channels are averaged; resampling is band-limited (soxr, HQ). A part is the
    same as that part of the whole, to the resampler's precision, and costs no more than itself.

    Raises:
        AudioError: the class says what is wrong: missing, not readable, empty, shorter than a frame, silent, NaN or
            infinite samples, truncated, not audio, a sample rate outside 4 to 192 kHz, a part that the file does not
            have.
    """
    path = Path(path)
    if not path.exists():
        raise AudioNotFound(str(path))
    if not os.access(path, os.R_OK):
        raise AudioUnreadable(str(path), "permission denied")
    if path.is_dir():
        raise NotAudio(str(path), "it is a folder")
    if not path.is_file():  # opening a pipe would wait for somebody to write into it
        raise NotAudio(str(path), "it is no ordinary file")
    if path.stat().st_size == 0:
        raise AudioEmpty(str(path))
    return _decode(path, str(path), start_s, end_s)


def decode_audio(
    data: bytes, name: str, start_s: float = 0.0, end_s: float | None = None
) -> Float32[np.ndarray, "sample"]:
    """`load_audio` for a file's content in memory; `name` stands in messages."""
    if not data:
        raise AudioEmpty(name)
    return _decode(data, name, start_s, end_s)


def audio_duration_s(path: str | Path) -> float | None:
    """How long a file lasts, from its header alone; None where only decoding can tell."""
    import soundfile

    if not Path(path).is_file():
        return None
    try:
        with _open(Path(path)) as file:
            return float(file.frames / file.samplerate)
    except (soundfile.LibsndfileError, TypeError):
        return None


def _decode(source: Path | bytes, name: str, start_s: float, end_s: float | None) -> Float32[np.ndarray, "sample"]:
    import soundfile

    if start_s < 0 or (end_s is not None and end_s <= start_s):
        raise AudioRange(name, start_s, end_s, audio_duration_s(source) or 0.0 if isinstance(source, Path) else 0.0)
    try:
        # A TypeError is libsndfile's way to say that the extension means headerless samples.
        file = _open(source)
    except (soundfile.LibsndfileError, TypeError) as error:
        samples = _ffmpeg(source, name, start_s, end_s, str(error))
    else:
        with file:
            samples = _read(file, source, name, start_s, end_s)
    check_samples(samples, name if end_s is None and not start_s else f"{name} from {start_s:g} s")
    return samples


def check_samples(samples: Float32[np.ndarray, "sample"], name: str) -> None:
    """Refuse decoded samples that Whisper can make nothing of.

    Raises:
        AudioError: shorter than a frame, silent, NaN or infinite.
    """
    if len(samples) < FRAME_SAMPLES:
        raise AudioTooShort(name, len(samples) / SAMPLE_RATE, FRAME_S)
    finite = np.isfinite(samples)
    if not finite.all():
        raise AudioNotFinite(name, int(np.argmin(finite)) / SAMPLE_RATE)
    if float(np.abs(samples).max()) < SILENCE_PEAK:
        raise AudioSilent(name)


def _open(source: Path | bytes) -> soundfile.SoundFile:
    """A file of libsndfile; an MP3 that does not say how long it is is told."""
    import soundfile

    # As bytes, since a name on Linux need not be text.
    named = source if isinstance(source, bytes) or os.name != "posix" else os.fsencode(source)
    file = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else named)
    if file.format != "MP3":
        return file
    content = source if isinstance(source, bytes) else source.read_bytes()
    told = _mp3_with_length(content)
    if not told:
        return file
    file.close()
    return soundfile.SoundFile(io.BytesIO(told))


_MP3_SLACK = 2 * 1152  # samples per channel: what a decoder may drop at the ends of an MP3
_MP3_KBPS = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mp3_frame_bytes(content: bytes, at: int) -> int:
    """The length of the MPEG audio layer III frame that begins here; 0 where none does."""
    header = int.from_bytes(content[at : at + 4])
    version, bitrate, rate = header >> 19 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or header >> 17 & 3 != 1 or bitrate in (0, 15) or rate == 3:
        return 0
    rate_hz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    family = 1 if version == 3 else 2
    return 144_000 // family * _MP3_KBPS[family][bitrate - 1] // rate_hz + (header >> 9 & 1)


def _mp3_frames(content: bytes) -> tuple[int, int]:
    """Where the first frame of an MP3 is, and how many whole frames there are."""
    at, first, n = 0, 0, 0
    if content[:3] == b"ID3":  # a tag in front, its length in bytes of 7 bits
        at = 10 + sum(byte << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    while 0 <= at < len(content):
        size = _mp3_frame_bytes(content, at)
        # Two in a row make a first frame: its mark alone also occurs by chance.
        if not size or (n == 0 and not _mp3_frame_bytes(content, at + size)):
            at = content.find(b"\xff", at + 1)
            continue
        first = at if n == 0 else first
        n += at + size <= len(content)
        at += size
    return first, n


def _mp3_with_length(content: bytes) -> bytes:
    """The MP3 with a first frame that says how many follow (the "Xing header"), where it has none; else nothing.

    Without it libsndfile guesses the length from the first frame's bit rate, and would lose the end of a recording
    whose rate varies.
    """
    if any(mark in content[:65_536] for mark in (b"Xing", b"Info", b"VBRI")):
        return b""
    first, n = _mp3_frames(content)
    if n == 0:
        return b""
    header = int.from_bytes(content[first : first + 4])
    header = header & ~(0xF << 12 | 1 << 9) | 9 << 12 | 1 << 16  # a middling bit rate, no padding, no checksum
    mono, newest = header >> 6 & 3 == 3, header >> 19 & 3 == 3
    side_info_bytes = (17 if mono else 32) if newest else (9 if mono else 17)
    start = header.to_bytes(4) + bytes(side_info_bytes) + b"Xing" + (1).to_bytes(4) + n.to_bytes(4)
    return start.ljust(_mp3_frame_bytes(start, 0), b"\0") + content[first:]


def _read(
    file: soundfile.SoundFile, source: Path | bytes, name: str, start_s: float, end_s: float | None
) -> Float32[np.ndarray, "sample"]:
    """The part, read with a margin on both sides for the resampler, from a whole number of output samples on."""
    rate = file.samplerate
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioSampleRate(name, rate, MIN_RATE_HZ, MAX_RATE_HZ)
    if file.frames == 0:
        raise AudioEmpty(name)
    if missing := _missing_end(source, file.format):
        raise AudioTruncated(name, missing)
    duration_s = file.frames / rate
    if start_s >= duration_s:
        raise AudioRange(name, start_s, end_s, duration_s)
    step = rate // math.gcd(rate, SAMPLE_RATE)
    margin = 0 if rate == SAMPLE_RATE else math.ceil(_RESAMPLER_MARGIN_S * rate)
    first = max(round(start_s * rate) - margin, 0) // step * step
    last = file.frames if end_s is None else min(round(end_s * rate) + margin, file.frames)
    mono = _read_mono(file, name, first, last)
    if rate != SAMPLE_RATE:
        import soxr

        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    offset = first * SAMPLE_RATE // rate
    begin = round(start_s * SAMPLE_RATE) - offset
    end = None if end_s is None else round(end_s * SAMPLE_RATE) - offset
    return np.ascontiguousarray(mono[begin:end], np.float32)


def _read_mono(file: soundfile.SoundFile, name: str, first: int, last: int) -> Float32[np.ndarray, "sample"]:
    import soundfile

    mono = np.empty(last - first, np.float32)
    done = 0
    try:
        file.seek(first)
        while done < len(mono):
            block = file.read(min(_BLOCK_FRAMES, len(mono) - done), dtype="float32", always_2d=True)
            if not len(block) and file.format == "MP3" and len(mono) - done <= _MP3_SLACK:
                return mono[:done]
            if not len(block):
                raise AudioTruncated(name, f"{done + first:,} of {file.frames:,} samples are there")
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                raise AudioNotFinite(name, (first + done + int(np.argmin(finite))) / file.samplerate)
            mono[done : done + len(block)] = block.mean(axis=1)
            done += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioTruncated(name, str(error).removeprefix("Error : ").rstrip(".")) from error
    return mono


def _missing_end(source: Path | bytes, container: str) -> str:
    """What a file's end lacks, for the two containers whose truncation libsndfile does not mention."""
    if container not in ("WAV", "WAVEX", "OGG"):
        return ""
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as content:
        size = content.seek(0, io.SEEK_END)
        if container == "OGG":
            content.seek(max(size - 65_536, 0))
            tail = content.read()
            page = tail.rfind(b"OggS")
            closed = 0 <= page < len(tail) - 5 and tail[page + 5] & 4
            return "" if closed else "its last page is missing"
        return _missing_wav_data(content, size)


def _missing_wav_data(content: io.BufferedIOBase | io.BytesIO, size: int) -> str:
    at = 12
    while at + 8 <= size:
        content.seek(at)
        header = content.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            # Programs that write to a pipe leave a length that they could not know.
            unknown = length in (0, 0xFFFF_FFFF) or length >= 0x7FFF_0000
            there = size - at - 8
            return f"{there:,} of {length:,} bytes are there" if length > there and not unknown else ""
        at += 8 + length + length % 2
    return ""


def _ffmpeg(
    source: Path | bytes, name: str, start_s: float, end_s: float | None, why: str
) -> Float32[np.ndarray, "sample"]:
    head = _head(source, 512)
    if b"\0" not in head and not any(byte > 127 for byte in head):
        # Text is never audio, and ffmpeg would follow the paths and addresses of a playlist.
        raise NotAudio(name, "it is text")
    program = shutil.which("ffmpeg")
    if program is None:
        raise NotAudio(name, why.rpartition(": ")[2].rstrip("."))
    words = [program, "-nostdin", "-v", "error"]
    words += ["-protocol_whitelist", "pipe"] if isinstance(source, bytes) else ["-protocol_whitelist", "file"]
    words += ["-ss", f"{start_s:.6f}"] if start_s else []
    words += ["-t", f"{end_s - start_s:.6f}"] if end_s is not None else []
    words += ["-i", "pipe:0" if isinstance(source, bytes) else f"file:{source.absolute()}"]
    words += ["-map", "0:a:0", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "pipe:1"]
    given = source if isinstance(source, bytes) else b""
    done = subprocess.run(words, input=given, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NotAudio(name, f"ffmpeg: {said[-1] if said else f'exit code {done.returncode}'}")
    samples = np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], "<f4").astype(np.float32)
    if not len(samples):
        raise AudioEmpty(name)
    if not np.isfinite(samples).all():
        raise AudioNotFinite(name, start_s + int(np.argmin(np.isfinite(samples))) / SAMPLE_RATE)
    return samples


def _head(source: Path | bytes, n: int) -> bytes:
    if isinstance(source, bytes):
        return source[:n]
    with source.open("rb") as file:
        return file.read(n)


# --- the log-mel spectrogram ------------------------------------------------------------------------------


def log_mel(
    samples: Float32[np.ndarray, "sample"], n_mels: int = 80, window_s: float | None = WINDOW_S
) -> Float32[np.ndarray, "mel melframe"]:
    """Whisper's input, as `whisper.log_mel_spectrogram(whisper.pad_or_trim(samples))` computes it.

    Only the frames that the audio reaches are transformed; those of the padding all hold one constant, which depends on
    the loudest bin alone. So a two-second clip costs a fifteenth.

    Args:
        samples: mono, 16 kHz. Longer than the window: trimmed.
        n_mels: 80, or 128 for large-v3 and turbo.
        window_s: pad to this many seconds; None: the audio's own frames and no padding.

    Raises:
        InputError: another number of mel bands.
    """
    if n_mels not in (80, 128):
        raise InputError(f"Whisper has no mel filters for {n_mels} bands: choose 80 or 128.")
    n_total = len(samples) // HOP_SAMPLES if window_s is None else round(window_s * SAMPLE_RATE) // HOP_SAMPLES
    length = len(samples) if window_s is None else round(window_s * SAMPLE_RATE)
    audio = samples[:length].astype(np.float32, copy=False)
    half = FFT_SAMPLES // 2
    n_own = min(n_total, -(-(len(audio) + half) // HOP_SAMPLES))

    # The transform is centred, so the signal starts half a window early and is mirrored at both ends.
    padded = np.zeros((n_own - 1) * HOP_SAMPLES + FFT_SAMPLES, np.float32)
    padded[half : half + len(audio)] = audio[: len(padded) - half]
    padded[:half] = padded[2 * half : half : -1]
    over = len(padded) - half - length
    if over > 0:
        padded[half + length :] = padded[half + length - 2 : half + length - 2 - over : -1]

    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(frames.astype(np.float64) * _hann(), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    bins, weights, starts = _mel_filters(n_mels)
    mel = np.log10(np.maximum(np.add.reduceat(power[:, bins] * weights, starts, axis=1).T, 1e-10))
    floor = max(float(mel.max()) - 8.0, -10.0)
    out = np.full((n_mels, n_total), (floor + 4.0) / 4.0, np.float32)
    out[:, :n_own] = (np.maximum(mel, floor) + 4.0) / 4.0
    return out


@functools.cache
def _hann() -> Float32[np.ndarray, "sample"]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)).astype(np.float32)


@functools.cache
def _mel_filters(
    n_mels: int,
) -> tuple[Int[np.ndarray, " pair"], Float32[np.ndarray, " pair"], Int[np.ndarray, " mel"]]:
    """Whisper's own filters, read from its package without importing it (which would import torch).

    Few bins belong to a band. So instead of a matrix, whose product would leave BLAS' threads waiting for more on cores
    that the model needs next: the bins of all bands one after the other, their weights, and where each band begins.
    """
    spec = importlib.util.find_spec("whisper")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("openai-whisper is not installed")
    with np.load(Path(spec.origin).parent / "assets" / "mel_filters.npz", allow_pickle=False) as filters:
        matrix = filters[f"mel_{n_mels}"].astype(np.float32)
    bands, bins = np.nonzero(matrix)
    return bins, matrix[bands, bins], np.searchsorted(bands, np.arange(n_mels))


# --- writing and listening --------------------------------------------------------------------------------


def to_pcm16(samples: Float32[np.ndarray, "sample"]) -> Int16[np.ndarray, "sample"]:
    """16-bit samples; the whole is turned down where it would clip."""
    if not np.isfinite(samples).all():
        raise ValueError("samples are not finite")
    peak = float(np.abs(samples).max(initial=0.0))
    # By 32,768, as decoders divide, so that 16-bit audio survives to the bit.
    return np.round(samples * np.float32(min(32_768.0, 32_767.0 / max(peak, SILENCE_PEAK)))).astype("<i2")


def write_wav(path: Path, samples: Float32[np.ndarray, "sample"]) -> None:
    """Write 16 kHz mono 16-bit WAV, whole or not at all; never clipped."""
    pcm = to_pcm16(samples)
    with atomic_path(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.tobytes())


def normalise_peak(
    samples: Float32[np.ndarray, "sample"], peak: float = LISTENING_PEAK
) -> Float32[np.ndarray, "sample"]:
    """The same sound, as loud as it goes; silence stays silence."""
    loudest = float(np.abs(samples).max(initial=0.0))
    return samples if loudest < SILENCE_PEAK else (samples * np.float32(peak / loudest)).astype(np.float32)


def peak_gain(
    samples: Float32[np.ndarray, "sample"],
    centre_s: float,
    width_s: float = 0.5,
    quiet_db: float = -18.0,
) -> Float32[np.ndarray, "sample"]:
    """The clip with the sound around one moment at full level, the rest `quiet_db` below it but audible.

    The gain moves along a raised cosine (in decibels), flat over the middle half of `width_s`. Either part is brought
    to its level by its own loudest sample, so a faint sound beside a loud one is heard; 30 dB apart at the most.
    """
    t_s = np.arange(len(samples), dtype=np.float32) / np.float32(SAMPLE_RATE)
    distance = np.abs(t_s - np.float32(centre_s)) / np.float32(width_s / 2)
    near = 0.5 + 0.5 * np.cos(np.pi * np.clip(2 * distance - 1, 0, 1))
    loudest = max(float(np.abs(samples).max(initial=0.0)), SILENCE_PEAK)
    local = max(float(np.abs(samples[near > 0]).max(initial=0.0)), SILENCE_PEAK)
    rest_db = 20 * math.log10(LISTENING_PEAK / loudest) + quiet_db
    near_db = min(20 * math.log10(LISTENING_PEAK / local), rest_db + 30.0)
    shaped = samples * 10 ** ((rest_db + (near_db - rest_db) * near) / 20)
    over = float(np.abs(shaped).max(initial=0.0)) / LISTENING_PEAK
    quieter: Float32[np.ndarray, "sample"] = (shaped / max(over, 1.0)).astype(np.float32)
    return quieter


def excerpt(
    samples: Float32[np.ndarray, "sample"], centre_s: float, width_s: float = 0.5, fade_s: float = 0.01
) -> Float32[np.ndarray, "sample"]:
    """The bare sound around one moment, at full level, with short fades; moved inwards at the clip's ends."""
    width = min(round(width_s * SAMPLE_RATE), len(samples))
    start = min(max(round(centre_s * SAMPLE_RATE) - width // 2, 0), len(samples) - width)
    part = normalise_peak(samples[start : start + width])
    n_fade = min(round(fade_s * SAMPLE_RATE), width // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(n_fade) / max(n_fade, 1))).astype(np.float32)
    part = part.astype(np.float32, copy=True)
    part[:n_fade] *= ramp
    part[width - n_fade :] *= ramp[::-1]
    return part
