"""The demo corpus: a bundled voice reads sentences of our own grammar, in nine pitches and many paces, cut into clips.

Pitch: a sentence is synthesised at some speed and then resampled as if it had been recorded at another rate, which
moves the pitch (and the formants, as another vocal tract would) by -4 to +4 semitones. Each clip is exactly two
seconds, begins with a word and has no pauses to speak of. The work is done by processes of their own, take by take; a
take depends on nothing but the seed and its number, so the corpus is the same however many processes there are.

    python -m wspy.corpus.demo FOLDER SEED TAKE...     makes takes, and prints the number of each when it is done
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wspy.audio import SAMPLE_RATE, to_pcm16
from wspy.corpus.align import Aligner, AlignmentFailed
from wspy.corpus.clips import SILENCE, Alignment, Interval
from wspy.corpus.sentences import sentence
from wspy.corpus.sources import Recording, Recordings
from wspy.errors import InputError, MissingExtra, WspyError
from wspy.files import n_cores

if TYPE_CHECKING:
    from jaxtyping import Float32

    Samples = Float32[np.ndarray, "sample"]

CLIP_S = 2.0
SEMITONES = tuple(range(-4, 5))
TAKES_PER_SPEAKER = 2
CLIPS_PER_TAKE = 18
N_TAKES = len(SEMITONES) * TAKES_PER_SPEAKER
N_CLIPS = N_TAKES * CLIPS_PER_TAKE  # 324 clips, 10.8 minutes
VOICE_RATE = 24_000
PACES = (0.85, 1.2)  # of the voice's own pace
LOUDNESS_RMS = 0.08  # of full scale, about -22 dBFS
_LEAD_S, _TAIL_S, _FADE_S = 0.03, 0.06, 0.01  # kept around the words of a sentence


def open_demo(address: str, seed: int) -> Recordings:
    """The clips of the demo corpus, as finished recordings with their alignment.

    Raises:
        InputError: an address, which this source does not have.
        MissingExtra: the voice or the aligner is not installed.
    """
    if address:
        raise InputError(f"The source demo takes no address, and was given {address!r}: use --from demo, and --seed.")
    if missing := missing_parts():
        raise MissingExtra("The demo corpus", missing)
    note = "Synthetic speech: the voice 'heart' of hibari-tts (Apache-2.0), sentences by wspy's own grammar."
    return Recordings(_recordings(seed), N_CLIPS, note=note)


def missing_parts() -> list[str]:
    """The packages of the extra `offline` that are needed here and not installed."""
    modules = {"hibari": "hibari-tts", "onnxruntime": "onnxruntime", "pocketsphinx": "pocketsphinx"}
    return [package for module, package in modules.items() if importlib.util.find_spec(module) is None]


def speaker(take: int) -> str:
    """The name of a take's speaker: the voice, and by how many semitones it was moved."""
    return f"heart{SEMITONES[take % len(SEMITONES)]:+d}"


# --- the reading side -------------------------------------------------------------------------------------


def _recordings(seed: int) -> Iterator[Recording]:
    with tempfile.TemporaryDirectory(prefix="wspy-demo-") as folder, _workers(Path(folder), seed) as finished:
        for take in range(N_TAKES):
            finished(take)
            yield from _read_take(Path(folder), take)
            for path in Path(folder).glob(f"{take:03d}.*"):
                path.unlink()


def _read_take(folder: Path, take: int) -> Iterator[Recording]:
    samples = np.load(folder / f"{take:03d}.npy").astype(np.float32) / 32_768.0
    for at, row in enumerate(json.loads((folder / f"{take:03d}.json").read_text())):
        words, phones = (tuple(Interval(*interval) for interval in row[kind]) for kind in ("words", "phones"))
        alignment = Alignment(words, phones, row["phone_set"], row["source"])
        yield Recording(
            name=f"{speaker(take)}/{take // len(SEMITONES)}-{at}",
            sound=samples[at],
            path="demo",
            text=alignment.text,
            language="en",
            speaker=speaker(take),
            alignment=alignment,
        )


@contextlib.contextmanager
def _workers(folder: Path, seed: int) -> Iterator[_Finished]:
    """Start one process per core (four at the most), and end them with the block."""
    n = min(4, n_cores())
    # Separate interpreters, and not multiprocessing, which would run a user's unguarded script a second time.
    package = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([package, *_python_path()]),
        # Else onnxruntime writes an identifier of this machine below the home folder, for reports to its makers.
        "ORT_DISABLE_TELEMETRY": "1",
    }
    processes = []
    try:
        for at in range(n):
            words = [sys.executable, "-m", "wspy.corpus.demo", str(folder), str(seed), *map(str, range(at, N_TAKES, n))]
            processes.append(
                subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
        yield _Finished(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


class _Finished:
    """Waits until a take has been made."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes
        self._done: list[set[int]] = [set() for _ in processes]
        self._errors: list[list[str]] = [[] for _ in processes]
        for process, lines in zip(processes, self._errors, strict=True):
            threading.Thread(target=lambda p=process, found=lines: found.extend(p.stderr), daemon=True).start()

    def __call__(self, take: int) -> None:
        at = take % len(self._processes)
        process = self._processes[at]
        assert process.stdout is not None
        while take not in self._done[at]:
            line = process.stdout.readline()
            if not line:
                process.wait()
                said = self._errors[at][-1].strip() if self._errors[at] else f"exit code {process.returncode}"
                raise WspyError(
                    f"The voice of the demo corpus failed ({said}): try again, or make a corpus from your audio."
                )
            self._done[at].add(int(line))


# --- the making side --------------------------------------------------------------------------------------


def make_take(seed: int, take: int, voice: Voice, aligner: Aligner) -> tuple[Samples, list[Alignment]]:
    """`CLIPS_PER_TAKE` clips of two seconds, cut at words from sentences read one after the other.

    Returns:
        Samples `[clip sample]` and the alignment of each clip.
    """
    rng = np.random.default_rng([seed, take])
    factor = 2 ** (SEMITONES[take % len(SEMITONES)] / 12)
    sounds: list[Samples] = []
    words: list[Interval] = []
    phones: list[Interval] = []
    length_s = 0.0
    while not (starts := _clip_starts(words, length_s)):
        text = sentence(rng)
        sound = voice.say(text, float(rng.uniform(*PACES)), factor, int(rng.integers(1 << 31)))
        try:
            alignment = aligner.align(sound, text, "en")
        except AlignmentFailed:
            continue  # another sentence follows; which ones fail depends on the seed alone
        start_s = max(alignment.words[0].start_s - _LEAD_S, 0.0)
        end_s = min(alignment.words[-1].end_s + _TAIL_S, len(sound) / SAMPLE_RATE)
        sounds.append(_faded(sound[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]))
        part = alignment.cut(start_s, end_s)
        words += (_later(interval, length_s) for interval in part.words)
        phones += (_later(interval, length_s) for interval in part.phones)
        length_s += len(sounds[-1]) / SAMPLE_RATE
    whole = Alignment(tuple(words), _without_gaps(phones, length_s), alignment.phone_set, alignment.source)
    stream = np.concatenate(sounds)
    clips = np.stack([stream[(at := round(s * SAMPLE_RATE)) : at + round(CLIP_S * SAMPLE_RATE)] for s in starts])
    return clips, [whole.cut(s, s + CLIP_S) for s in starts]


def _clip_starts(words: list[Interval], length_s: float) -> list[float]:
    """Where the clips of a stream begin: at the first word of which the clip before has less than half.

    Empty while the stream is too short for all of them.
    """
    starts: list[float] = []
    for word in words:
        if not starts or (word.start_s + word.end_s) / 2 >= starts[-1] + CLIP_S:
            starts.append(max(word.start_s - _LEAD_S, 0.0))
            if len(starts) == CLIPS_PER_TAKE:
                return starts if starts[-1] + CLIP_S <= length_s else []
    return []


def _later(interval: Interval, by_s: float) -> Interval:
    return Interval(interval.start_s + by_s, interval.end_s + by_s, interval.label)


def _without_gaps(phones: list[Interval], length_s: float) -> tuple[Interval, ...]:
    """The phones of joined sentences, with silence where the join left a gap."""
    filled: list[Interval] = []
    for phone in [*phones, Interval(length_s, length_s, SILENCE)]:
        end_s = filled[-1].end_s if filled else 0.0
        if phone.start_s - end_s > 0.001:
            filled.append(Interval(end_s, phone.start_s, SILENCE))
        if phone.end_s > phone.start_s:
            filled.append(phone)
    return tuple(filled)


def _faded(sound: Samples) -> Samples:
    n = round(_FADE_S * SAMPLE_RATE)
    ramp = np.linspace(0, 1, n, dtype=np.float32)
    sound = sound.copy()
    sound[:n] *= ramp
    sound[-n:] *= ramp[::-1]
    return sound


class Voice:
    """The bundled voice, at any pitch."""

    def __init__(self) -> None:
        from hibari import Hibari

        self._hibari = Hibari(threads=1)

    def say(self, text: str, pace: float, pitch: float, seed: int) -> Samples:
        """A text at a pace (1: the voice's own) and a pitch (2: an octave up), mono at 16 kHz, at one loudness."""
        import soxr

        # Resampling makes it `pitch` times as fast too, which the synthesis makes up for.
        sound = self._hibari(text, speed=pace / pitch, seed=seed)
        sound = soxr.resample(sound, VOICE_RATE * pitch, SAMPLE_RATE, quality="HQ")
        gain = LOUDNESS_RMS / max(float(np.sqrt(np.mean(sound**2))), 1e-4)
        even: Samples = (sound * min(gain, 0.95 / max(float(np.abs(sound).max()), 1e-4))).astype(np.float32)
        return even


def _main(folder: Path, seed: int, takes: list[int]) -> None:
    voice, aligner = Voice(), Aligner()
    for take in takes:
        clips, alignments = make_take(seed, take, voice, aligner)
        np.save(folder / f"{take:03d}.npy", np.stack([to_pcm16(clip) for clip in clips]))
        rows = [
            {
                "source": alignment.source,
                "phone_set": alignment.phone_set,
                "words": [(i.start_s, i.end_s, i.label) for i in alignment.words],
                "phones": [(i.start_s, i.end_s, i.label) for i in alignment.phones],
            }
            for alignment in alignments
        ]
        (folder / f"{take:03d}.json").write_text(json.dumps(rows))
        print(take, flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), [int(take) for take in sys.argv[3:]])
