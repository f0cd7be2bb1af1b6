"""Reading alignments that others made: TextGrid, CTM, CSV."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from wspy.corpus.clips import SILENCE, Alignment, Interval
from wspy.errors import BadTableFile

_PHONES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
ARPABET = frozenset(_PHONES.split())
_SILENCES = frozenset(("", "sil", "sp", "silence", "<sil>", "pau"))
_NOISES = frozenset(("spn", "nsn", "noise", "<unk>"))
_CTM_NEEDS = "recording channel start duration label"
CSV_NEEDS = "the columns path, start_s, end_s, label"


def name_phones(labels: Sequence[Interval], phone_set: str | None, source: str) -> tuple[tuple[Interval, ...], str]:
    """Phones with the name of their alphabet: the one given, else ARPABET where all fit, else "phones of" the source.

    The stress digits of ARPABET are dropped and its silences are called SIL, as the forced alignment does, so that
    phones of both can be compared. Other alphabets keep their symbols.
    """
    if not labels:
        return (), "none"
    bare = [_arpabet(interval.label) for interval in labels]
    if phone_set not in (None, "ARPABET") or not all(bare):
        return tuple(labels), phone_set or f"phones of {source}"
    return tuple(Interval(i.start_s, i.end_s, b) for i, b in zip(labels, bare, strict=True)), "ARPABET"


def _arpabet(label: str) -> str:
    """The phone without its stress; "" if it is none of ARPABET's."""
    if label.lower() in _SILENCES:
        return SILENCE
    if label.lower() in _NOISES:
        return "NOISE"
    bare = re.sub(r"[012]$", "", label)
    return bare if bare in ARPABET else ""


def build(
    words: Iterable[Interval], phones: Iterable[Interval], phone_set: str | None, source: str
) -> Alignment | None:
    """An alignment of what was read, in order of time; silences are no words. None where nothing was read."""
    said = sorted((w for w in words if w.label.lower() not in _SILENCES), key=lambda w: w.start_s)
    sounds, name = name_phones(sorted(phones, key=lambda p: p.start_s), phone_set, source)
    return Alignment(tuple(said), sounds, name, source) if said or sounds else None


def read_textgrid(path: Path, phone_set: str | None = None) -> Alignment | None:
    """Words and phones of a Praat TextGrid, long or short form.

    They are the tiers whose names say so (`words`, `speaker - phones`); a lone tier of another name is words.

    Raises:
        BadTableFile: it cannot be read, or has no such tier.
    """
    from praatio import textgrid
    from praatio.utilities import errors as praatio_errors

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, duplicateNamesMode="rename")
        tiers = [tier for tier in grid.tiers if isinstance(tier, textgrid.IntervalTier)]
    except (praatio_errors.PraatioException, OSError, ValueError, IndexError, KeyError, AttributeError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise BadTableFile(str(path), why, "a TextGrid as Praat writes it") from error
    words: list[Interval] = []
    phones: list[Interval] = []
    known = False
    for tier in tiers:
        name = tier.name.lower()
        is_phones = any(part in name for part in ("phone", "segment", "mau"))
        if not is_phones and not any(part in name for part in ("word", "ort")) and len(tiers) > 1:
            continue
        known = True
        target = phones if is_phones else words
        target.extend(Interval(float(e.start), float(e.end), e.label.strip()) for e in tier.entries)
    if not known:
        names = ", ".join(tier.name for tier in tiers) or "none"
        raise BadTableFile(str(path), f"its interval tiers are {names}", "a tier named words or phones")
    return build(words, phones, phone_set, "TextGrid")


def read_ctm(words: Path, phones: Path | None, recording: str, phone_set: str | None = None) -> Alignment | None:
    """Words, and phones from a second file, of a CTM (`recording channel start duration label`).

    A file that holds several recordings is filtered by name.

    Raises:
        BadTableFile: a line has fewer fields, or times that are no numbers.
    """
    return build(_ctm(words, recording), _ctm(phones, recording) if phones else [], phone_set, "CTM")


def _ctm(path: Path, recording: str) -> list[Interval]:
    rows: list[tuple[str, Interval]] = []
    for n, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            start_s, duration_s = float(fields[2]), float(fields[3])
            rows.append((fields[0], Interval(start_s, round(start_s + duration_s, 6), fields[4])))
        except (IndexError, ValueError):
            raise BadTableFile(str(path), f"line {n}: {line[:40]!r}", _CTM_NEEDS) from None
    several = len({name for name, _ in rows}) > 1
    return [interval for name, interval in rows if not several or name == recording]


class IntervalTable:
    """A CSV of intervals (`path,start_s,end_s,label`; times from the start of the file at `path`), looked up by path.

    Paths count from the CSV's folder. Only the places of the rows are kept in memory, so the table may be large.
    """

    def __init__(self, path: Path) -> None:
        """Find the rows of every path.

        Raises:
            BadTableFile: a column is missing.
        """
        self._path = path
        self._blocks: dict[str, list[tuple[int, int]]] = {}
        try:
            with path.open("rb") as file:
                header = next(csv.reader([file.readline().decode("utf-8-sig")]), [])
                missing = [c for c in ("path", "start_s", "end_s", "label") if c not in header]
                if missing:
                    raise BadTableFile(str(path), f"no column {', '.join(missing)}", CSV_NEEDS)
                self._columns = [header.index(c) for c in ("path", "start_s", "end_s", "label")]
                last = None
                for line in iter(file.readline, b""):
                    cells = next(csv.reader([line.decode()]), [])
                    if not cells:
                        continue
                    key, end = os.path.normpath(self._cell(cells, 0)), file.tell()
                    blocks = self._blocks.setdefault(key, [])
                    if key == last:
                        blocks[-1] = (blocks[-1][0], end)
                    else:
                        blocks.append((end - len(line), end))
                    last = key
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BadTableFile(str(path), str(error), CSV_NEEDS) from error

    def _cell(self, cells: list[str], column: int) -> str:
        try:
            return cells[self._columns[column]]
        except IndexError:
            why = f"a row has {len(cells)} fields: {','.join(cells)[:60]}"
            raise BadTableFile(str(self._path), why, CSV_NEEDS) from None

    def __len__(self) -> int:
        return len(self._blocks)

    def lookup(self, root: str, path: str) -> list[Interval]:
        """The intervals of the recording at `path` under the folder `root`; none where the table does not know it."""
        recording, folder = Path(root, path), self._path.parent
        # As written, and with links followed: a data folder is often reached through one.
        keys = (
            os.path.relpath(recording.absolute(), folder.absolute()),
            os.path.relpath(recording.resolve(), folder.resolve()),
            str(recording.absolute()),
            os.path.normpath(path),
        )
        for key in keys:
            if key in self._blocks:
                return [interval for block in self._blocks[key] for interval in self._read(*block)]
        return []

    def _read(self, start: int, end: int) -> Iterable[Interval]:
        with self._path.open("rb") as file:
            file.seek(start)
            content = file.read(end - start).decode()
        for cells in csv.reader(io.StringIO(content)):
            if not cells:
                continue
            try:
                yield Interval(float(self._cell(cells, 1)), float(self._cell(cells, 2)), self._cell(cells, 3))
            except ValueError:
                why = f"a time in {','.join(cells)[:60]!r} is no number"
                raise BadTableFile(str(self._path), why, CSV_NEEDS) from None
