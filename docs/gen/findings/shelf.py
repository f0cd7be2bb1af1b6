"""Where the page's numbers, figures and sounds come from and go to."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import measure

from wspy.blocks import Figure

DOCS = Path(__file__).resolve().parents[2]
SHOWN = DOCS / "assets" / "findings"
AUDIO = SHOWN / "audio"
BITRATE = "28k"

Numbers = dict[str, str]
"""What the page's text says, by name: always as it is to be printed."""


def has(key: str) -> bool:
    """Whether a step has been measured."""
    return (measure.runs() / key / "result.json").is_file()


class Found(SimpleNamespace):
    """What a step found, field by field as its `result.json` has it."""

    folder: Path

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # noqa: ANN401 - each analysis has fields of its own

    def file(self, media: Found) -> Path:
        """The path of a media file that it names."""
        return self.folder / str(media.path)


def result(key: str) -> Found:
    """What a step of the plan found; each analysis has fields of its own."""
    folder = measure.runs() / key
    text = (folder / "result.json").read_text(encoding="utf-8")
    record: Found = json.loads(text, object_hook=lambda fields: Found(**fields))
    found: Found = record.result
    found.folder = folder
    return found


def figure(key: str, title: str) -> Figure:
    """The figure of a step whose title begins so, as the analysis drew it."""
    kept = json.loads((measure.runs() / key / measure.FIGURES).read_text(encoding="utf-8"))
    (found,) = (each for each in kept if each["title"].startswith(title))
    return Figure.model_validate(found)


def command(key: str) -> str:
    """The command line of a step as a reader would type it, with a recording of the reader's own."""
    record = json.loads((measure.runs() / key / "result.json").read_text(encoding="utf-8"))
    words = shlex.split(record["provenance"]["command"])
    short = ["me.wav" if word.endswith(".flac") else word for word in words]
    return " ".join(f'"{word}"' if " " in word else word for word in short)


_written: set[Path] = set()


def remove_others() -> None:
    """Delete what an earlier page showed and this one does not."""
    for path in [*SHOWN.glob("*.json"), *AUDIO.glob("*")]:
        if path not in _written:
            path.unlink()


def keep(name: str, kind: str, **shown: object) -> None:
    """Write what `<!-- show: NAME -->` is replaced by."""
    SHOWN.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"kind": kind, **shown}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    _written.add(SHOWN / f"{name}.json")
    (SHOWN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def plain(figure: Figure, height: int | None = None) -> dict[str, object]:
    """A figure as the page keeps it."""
    spec = json.loads(json.dumps(figure.spec))
    if height is not None:
        spec["layout"]["height"] = height
    return {"title": figure.title, "caption": figure.caption, "spec": spec}


def keep_figures(name: str, *figures: Figure, height: int | None = None) -> None:
    """One figure, or several beside each other."""
    if len(figures) == 1:
        keep(name, "figure", **plain(figures[0], height))
    else:
        keep(name, "figures", figures=[plain(figure, height) for figure in figures])


def keep_sound(source: Path, name: str) -> str:
    """A small MP3 of a sound, which every browser plays; gives its name."""
    AUDIO.mkdir(parents=True, exist_ok=True)
    target = AUDIO / f"{name}.mp3"
    _written.add(target)
    if target.is_file() and target.stat().st_mtime > source.stat().st_mtime:
        return target.name
    flags = ["-v", "error", "-y", "-i", str(source), "-ac", "1", "-ar", "16000", "-b:a", BITRATE, "-map_metadata", "-1"]
    subprocess.run(["ffmpeg", *flags, "-fflags", "+bitexact", "-flags:a", "+bitexact", str(target)], check=True)
    return target.name


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def interval(low: float, high: float, digits: int = 3) -> str:
    return f"{low:.{digits}f} to {high:.{digits}f}"
