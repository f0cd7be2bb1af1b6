"""The atlas: what is worth remembering about every unit of a site over one corpus, from one pass."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.atlas.build import ensure_atlas
    from wspy.atlas.statistics import Examples, SiteStatistics, UnitStatistics, peak_bin_edges, trace_start
    from wspy.atlas.store import SiteAtlas

_HOME = {
    "ensure_atlas": "wspy.atlas.build",
    "Examples": "wspy.atlas.statistics",
    "SiteStatistics": "wspy.atlas.statistics",
    "UnitStatistics": "wspy.atlas.statistics",
    "peak_bin_edges": "wspy.atlas.statistics",
    "trace_start": "wspy.atlas.statistics",
    "SiteAtlas": "wspy.atlas.store",
}
__all__ = ["Examples", "SiteAtlas", "SiteStatistics", "UnitStatistics", "ensure_atlas", "peak_bin_edges", "trace_start"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'wspy.atlas' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
