"""Words from data, made safe for a terminal."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text without the control characters by which a clip's text or a file's name could steer the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
