"""Text as an aligner wants it: words without punctuation, numbers spelled out, and a guess at unknown words."""

from __future__ import annotations

import re
import unicodedata

_ONES_TEXT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_ONES = _ONES_TEXT.split()
_TENS = ("_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_SYMBOLS = {
    "%": " percent ",
    "&": " and ",
    "@": " at ",
    "+": " plus ",
    "$": " dollars ",
    "£": " pounds ",
    "€": " euros ",
}
_ABBREVIATIONS = {
    "mr.": "mister",
    "mrs.": "missus",
    "dr.": "doctor",
    "st.": "saint",
    "vs.": "versus",
    "etc.": "etcetera",
}


def spell_number(n: int) -> str:
    """English words for a whole number."""
    if n < 0:
        return f"minus {spell_number(-n)}"
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10] + (f" {_ONES[n % 10]}" if n % 10 else "")
    for size, name in _SCALES:
        if n >= size:
            rest = f" {spell_number(n % size)}" if n % size else ""
            return f"{spell_number(n // size)} {name}{rest}"
    raise AssertionError(n)


def _ordinal(n: int) -> str:
    *front, last = spell_number(n).split()
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*front, _ORDINALS.get(last, regular)])


def _spoken(match: re.Match[str]) -> str:
    digits, fraction, suffix = match.group(1).replace(",", ""), match.group(2), match.group(3)
    if len(digits) > 12:
        return " ".join(_ONES[int(digit)] for digit in digits)
    n = int(digits)
    if suffix:
        return f" {_ordinal(n)} "
    if fraction:
        return f" {spell_number(n)} point {' '.join(_ONES[int(digit)] for digit in fraction[1:])} "
    if 1100 <= n <= 2099 and n % 1000 >= 10 and "," not in match.group(1):  # most likely a year
        high, low = divmod(n, 100)
        tail = "hundred" if low == 0 else f"oh {_ONES[low]}" if low < 10 else spell_number(low)
        return f" {spell_number(high)} {tail} "
    return f" {spell_number(n)} "


def words_of(text: str) -> list[str]:
    """The words of an English text: lower case, letters and inner apostrophes only, numbers spelled out."""
    text = unicodedata.normalize("NFKD", text.replace("’", "'").replace("‘", "'")).lower()
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = " ".join(_ABBREVIATIONS.get(word, word) for word in text.split())
    text = re.sub(r"[$£€](\d[\d,]*(?:\.\d+)?)", lambda m: f"{m.group(1)} {_SYMBOLS[m.group(0)[0]].strip()}", text)
    text = re.sub(r"(\d[\d,]*)(\.\d+)?(st|nd|rd|th)?\b", _spoken, text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    found = (word.strip("'") for word in re.findall(r"[a-z']+", text))
    return [word for word in found if word]


# Longest spelling first; enough for a name to take up its time in a sentence, not to teach anyone English.
_SPELLINGS = (
    "tch=CH, sch=SH, tion=SH_AH_N, sion=ZH_AH_N, ture=CH_ER, ough=AO, igh=AY, eigh=EY, ch=CH, sh=SH, th=TH, ph=F, "
    "wh=W, ck=K, ng=NG, qu=K_W, kn=N, wr=R, gh=G, ee=IY, ea=IY, ie=IY, ei=EY, ey=IY, ai=EY, ay=EY, oa=OW, ow=OW, "
    "ou=AW, oo=UW, oi=OY, oy=OY, au=AO, aw=AO, ew=UW, ue=UW, er=ER, ir=ER, ur=ER, ar=AA_R, or=AO_R, bb=B, cc=K, "
    "dd=D, ff=F, gg=G, ll=L, mm=M, nn=N, pp=P, rr=R, ss=S, tt=T, zz=Z, ce=S_EH, ci=S_IH, cy=S_IY, ge=JH_EH, "
    "gi=JH_IH, a=AE, b=B, c=K, d=D, e=EH, f=F, g=G, h=HH, i=IH, j=JH, k=K, l=L, m=M, n=N, o=AA, p=P, q=K, r=R, s=S, "
    "t=T, u=AH, v=V, w=W, x=K_S, y=IY, z=Z"
)
_LETTERS = {
    spelled: phones.replace("_", " ") for spelled, phones in (pair.split("=") for pair in _SPELLINGS.split(", "))
}
_LETTERS["'"] = ""
_LONGEST = max(map(len, _LETTERS))


def guess_phones(word: str) -> str:
    """ARPABET phones for an unknown word, by its letters: rough, and good enough to find where the word is."""
    rest = word[:-1] if len(word) > 3 and word.endswith("e") and word[-2] not in "aeiou" else word
    phones: list[str] = []
    while rest:
        spelled = next(rest[:n] for n in range(min(_LONGEST, len(rest)), 0, -1) if rest[:n] in _LETTERS)
        phones += _LETTERS[spelled].split()
        rest = rest[len(spelled) :]
    return " ".join(phones) or "AH"
