"""What a visitor sends: checked, cut to no more than is allowed, and copied as plain WAV to a place of our own."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wspy.errors import AudioError, UploadTooLong

_SLACK_S = 0.2  # what encoders add at the ends


@contextlib.contextmanager
def received(upload: Path, limit_s: float) -> Iterator[Path]:
    """A visitor's recording as 16 kHz WAV, in a folder that is deleted with the block.

    Only the first `limit_s` seconds and a little are ever decoded, whatever the file says of its length.

    Raises:
        AudioError: it is no usable sound, or longer than `limit_s` seconds.
    """
    from wspy.audio import SAMPLE_RATE, load_audio, write_wav

    name = visible_name(upload)
    with tempfile.TemporaryDirectory(prefix="wspy-upload-") as folder:
        try:
            samples = load_audio(upload, 0.0, limit_s + 1)
        except AudioError as error:
            # The server's folders are not the visitor's business.
            error.args = (str(error).replace(str(upload), name),)
            raise
        if len(samples) > (limit_s + _SLACK_S) * SAMPLE_RATE:
            raise UploadTooLong(name, limit_s)
        path = Path(folder) / f"{Path(name).stem}.wav"
        write_wav(path, samples)
        yield path


def visible_name(upload: Path) -> str:
    """The file's name in plain letters, of a moderate length."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", upload.stem).strip("-")[:60] or "recording"
    return stem + re.sub(r"[^A-Za-z0-9.]", "", upload.suffix)[:8]
