"""The atlas: what is worth remembering about every unit of some sites over one corpus, from one pass."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.atlas.build import build_part, ensure_atlas, ensure_atlases, merge_parts
    from wspy.atlas.derived import DerivedSite, OpenSite, SiteSchemes, Units
    from wspy.atlas.effects import TokenEffect, UnitEffects
    from wspy.atlas.hearing import Probe, find_probes
    from wspy.atlas.kept import (
        KeptAtlas,
        UnfinishedAtlas,
        damaged_atlases,
        kept_atlas,
        list_atlases,
        list_unfinished,
        remove_atlases,
    )
    from wspy.atlas.labels import (
        CLASSES,
        BroadClass,
        UnitLabel,
        auroc,
        auroc_table,
        average_precision,
        beats_control,
        benjamini_hochberg,
        broad_class,
        broad_classes,
        chosen_on_first_half,
        class_mix,
        eligible_phones,
        label_units,
        leading_classes,
        mix_entropy,
        permuted_auroc_table,
        range_mix,
    )
    from wspy.atlas.neighbours import Neighbour, nearest_by_direction, nearest_by_phones
    from wspy.atlas.phone_arrays import LAGS, UnitPhones
    from wspy.atlas.phones import PhoneStatistics
    from wspy.atlas.statistics import Examples, SiteStatistics, UnitStatistics, peak_bin_edges, trace_start
    from wspy.atlas.store import About, SiteAtlas, Speed, Token
    from wspy.atlas.tracks import PhonePlan, PhoneTrack
    from wspy.atlas.words import UnitWords, whole_words

_HOME = {
    "build_part": "wspy.atlas.build",
    "ensure_atlas": "wspy.atlas.build",
    "ensure_atlases": "wspy.atlas.build",
    "merge_parts": "wspy.atlas.build",
    "DerivedSite": "wspy.atlas.derived",
    "OpenSite": "wspy.atlas.derived",
    "SiteSchemes": "wspy.atlas.derived",
    "Units": "wspy.atlas.derived",
    "TokenEffect": "wspy.atlas.effects",
    "UnitEffects": "wspy.atlas.effects",
    "Probe": "wspy.atlas.hearing",
    "find_probes": "wspy.atlas.hearing",
    "KeptAtlas": "wspy.atlas.kept",
    "damaged_atlases": "wspy.atlas.kept",
    "kept_atlas": "wspy.atlas.kept",
    "UnfinishedAtlas": "wspy.atlas.kept",
    "list_atlases": "wspy.atlas.kept",
    "list_unfinished": "wspy.atlas.kept",
    "remove_atlases": "wspy.atlas.kept",
    "CLASSES": "wspy.atlas.labels",
    "BroadClass": "wspy.atlas.labels",
    "UnitLabel": "wspy.atlas.labels",
    "auroc": "wspy.atlas.labels",
    "auroc_table": "wspy.atlas.labels",
    "average_precision": "wspy.atlas.labels",
    "beats_control": "wspy.atlas.labels",
    "benjamini_hochberg": "wspy.atlas.labels",
    "broad_class": "wspy.atlas.labels",
    "broad_classes": "wspy.atlas.labels",
    "chosen_on_first_half": "wspy.atlas.labels",
    "class_mix": "wspy.atlas.labels",
    "eligible_phones": "wspy.atlas.labels",
    "label_units": "wspy.atlas.labels",
    "leading_classes": "wspy.atlas.labels",
    "mix_entropy": "wspy.atlas.labels",
    "permuted_auroc_table": "wspy.atlas.labels",
    "range_mix": "wspy.atlas.labels",
    "LAGS": "wspy.atlas.phone_arrays",
    "Neighbour": "wspy.atlas.neighbours",
    "nearest_by_direction": "wspy.atlas.neighbours",
    "nearest_by_phones": "wspy.atlas.neighbours",
    "PhoneStatistics": "wspy.atlas.phones",
    "UnitPhones": "wspy.atlas.phone_arrays",
    "Examples": "wspy.atlas.statistics",
    "SiteStatistics": "wspy.atlas.statistics",
    "UnitStatistics": "wspy.atlas.statistics",
    "peak_bin_edges": "wspy.atlas.statistics",
    "trace_start": "wspy.atlas.statistics",
    "About": "wspy.atlas.store",
    "SiteAtlas": "wspy.atlas.store",
    "Speed": "wspy.atlas.store",
    "Token": "wspy.atlas.store",
    "PhonePlan": "wspy.atlas.tracks",
    "PhoneTrack": "wspy.atlas.tracks",
    "UnitWords": "wspy.atlas.words",
    "whole_words": "wspy.atlas.words",
}
__all__ = [
    "CLASSES",
    "LAGS",
    "About",
    "BroadClass",
    "DerivedSite",
    "Examples",
    "KeptAtlas",
    "Neighbour",
    "OpenSite",
    "PhonePlan",
    "PhoneStatistics",
    "PhoneTrack",
    "Probe",
    "SiteAtlas",
    "SiteSchemes",
    "SiteStatistics",
    "Speed",
    "Token",
    "TokenEffect",
    "UnfinishedAtlas",
    "UnitEffects",
    "UnitLabel",
    "UnitPhones",
    "UnitStatistics",
    "UnitWords",
    "Units",
    "auroc",
    "auroc_table",
    "average_precision",
    "beats_control",
    "benjamini_hochberg",
    "broad_class",
    "broad_classes",
    "build_part",
    "chosen_on_first_half",
    "class_mix",
    "damaged_atlases",
    "eligible_phones",
    "ensure_atlas",
    "ensure_atlases",
    "find_probes",
    "kept_atlas",
    "label_units",
    "leading_classes",
    "list_atlases",
    "list_unfinished",
    "merge_parts",
    "mix_entropy",
    "nearest_by_direction",
    "nearest_by_phones",
    "peak_bin_edges",
    "permuted_auroc_table",
    "range_mix",
    "remove_atlases",
    "trace_start",
    "whole_words",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'wspy.atlas' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
