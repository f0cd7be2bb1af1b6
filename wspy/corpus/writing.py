"""How a corpus is written: clip by clip, so that nothing but ids stays in memory. What is written, `store` says."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wspy.audio import SAMPLE_RATE, to_pcm16
from wspy.corpus.clips import Alignment, Clip
from wspy.corpus.store import (
    FORMAT,
    AlignmentInfo,
    ClipHasher,
    CorpusInfo,
    Provenance,
    Skipped,
    alignment_line,
    phone_sets_text,
)
from wspy.files import atomic_path, write_atomic

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    Samples = Float32[np.ndarray, "sample"]


class CorpusWriter:
    """Writes clips into a folder one by one; nothing of them stays in memory but their ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "audio").mkdir()
        self._lines = (folder / "clips.jsonl").open("w", encoding="utf-8", errors="surrogatepass")
        self._alignments = AlignmentWriter(folder / "alignment.jsonl")
        self._hasher = ClipHasher()

    @property
    def n_clips(self) -> int:
        return self._hasher.n_clips

    @property
    def n_aligned(self) -> int:
        return self._alignments.n_aligned

    def add(self, samples: Samples, clip: Clip, alignment: Alignment | None) -> None:
        """Store the next clip; its duration is that of the samples, its id is made unique."""
        import soundfile

        pcm = to_pcm16(samples)
        clip = dataclasses.replace(
            clip,
            id=self._hasher.unique(as_text(clip.id)),
            path=as_text(clip.path),
            text=None if clip.text is None else as_text(clip.text),
            speaker=None if clip.speaker is None else as_text(clip.speaker),
            language=None if clip.language is None else as_text(clip.language),
            label=None if clip.label is None else as_text(clip.label),
            duration_s=round(len(samples) / SAMPLE_RATE, 6),
        )
        file = f"audio/{self._hasher.n_clips:06d}.flac"
        content = io.BytesIO()  # not to the file itself, since libsndfile does not say that a disk is full
        soundfile.write(content, pcm, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        (self._folder / file).write_bytes(content.getbuffer())
        sha256 = hashlib.sha256(pcm.tobytes()).hexdigest()
        self._hasher.add(clip, sha256)
        row = {**dataclasses.asdict(clip), "audio": file, "sha256": sha256}
        self._lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._alignments.add(alignment)

    def close(self, name: str, provenance: Provenance, skipped: Sequence[Skipped]) -> None:
        """Finish the corpus: corpus.json comes last."""
        self._lines.close()
        self._alignments.close(())
        write_info(self._folder, self._hasher.info(name, provenance, skipped))

    def abort(self) -> None:
        """Close the files of a corpus that will not be finished."""
        with contextlib.suppress(OSError):  # a full disk refuses what is still to be written
            self._lines.close()
        self._alignments.abort()


def as_text(words: str) -> str:
    """Words that every file and result can hold: a byte of a file's name that is no UTF-8 becomes a question mark."""
    return words.encode("utf-8", "replace").decode("utf-8")


def write_info(folder: Path, info: CorpusInfo) -> None:
    """Write corpus.json."""
    row = {"format": FORMAT, **dataclasses.asdict(info), "hours": round(info.hours, 4)}
    write_atomic(folder / "corpus.json", as_text(json.dumps(row, indent=1, ensure_ascii=False)) + "\n")


class AlignmentWriter:
    """Writes alignment.jsonl clip by clip: the body first, and then, with its hash, the whole in one rename."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._body_path = path.with_name(f".{path.name}.body")
        self._body = self._body_path.open("wb")
        self._hash = hashlib.sha256()
        self._sources: set[str] = set()
        self._phone_sets: set[str] = set()
        self.n_aligned = 0

    def add(self, alignment: Alignment | None) -> None:
        """The alignment of the next clip."""
        line = alignment_line(alignment)
        self._body.write(line)
        self._hash.update(line)
        if alignment is not None:
            self.n_aligned += 1
            self._sources.add(alignment.source)
            self._phone_sets |= {alignment.phone_set} if alignment.phones else set()

    def close(self, skipped: Sequence[Skipped]) -> None:
        """Put the alignment in place; where no clip has one, there is none."""
        try:
            self._body.close()
            if not self.n_aligned:
                return
            sources, phone_set = tuple(sorted(self._sources)), phone_sets_text(self._phone_sets)
            info = AlignmentInfo(self._hash.hexdigest(), phone_set, sources, self.n_aligned, tuple(skipped))
            with (
                atomic_path(self._path) as temporary,
                temporary.open("wb") as whole,
                self._body_path.open("rb") as body,
            ):
                whole.write(json.dumps(dataclasses.asdict(info), ensure_ascii=False).encode() + b"\n")
                shutil.copyfileobj(body, whole)
        finally:
            self._body_path.unlink(missing_ok=True)

    def abort(self) -> None:
        """Leave what was there."""
        with contextlib.suppress(OSError):  # a full disk refuses what is still to be written
            self._body.close()
        self._body_path.unlink(missing_ok=True)
