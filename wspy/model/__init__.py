"""Loading, checkpoint formats, sites, capture and patch. Names are loaded when first used: torch is slow to import."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.model.agreement import Agreement as Agreement
    from wspy.model.agreement import measure_agreement as measure_agreement
    from wspy.model.attention import attention_bias as attention_bias
    from wspy.model.attention import band_bias as band_bias
    from wspy.model.attention import for_heads as for_heads
    from wspy.model.condensed import FramePlan as FramePlan
    from wspy.model.condensed import plan_frames as plan_frames
    from wspy.model.dimensions import Dimensions as Dimensions
    from wspy.model.hooks import Cache as Cache
    from wspy.model.hooks import capture as capture
    from wspy.model.hooks import encode as encode
    from wspy.model.hooks import encode_from as encode_from
    from wspy.model.hooks import patch as patch
    from wspy.model.hooks import windows_at_once as windows_at_once
    from wspy.model.load import Model as Model
    from wspy.model.load import load_model as load_model
    from wspy.model.load import pick_device as pick_device
    from wspy.model.mels import mel_batch as mel_batch
    from wspy.model.padding import padding_features as padding_features
    from wspy.model.random import random_reference as random_reference
    from wspy.model.random import random_weights as random_weights
    from wspy.model.reference import DEFAULT_MODEL as DEFAULT_MODEL
    from wspy.model.reference import AvailableModel as AvailableModel
    from wspy.model.reference import ModelReference as ModelReference
    from wspy.model.reference import check_device_name as check_device_name
    from wspy.model.reference import find_model as find_model
    from wspy.model.reference import list_models as list_models
    from wspy.model.sites import Site as Site
    from wspy.model.sites import list_sites as list_sites
    from wspy.model.sites import match_sites as match_sites
    from wspy.model.text import Segment as Segment
    from wspy.model.text import TeacherForced as TeacherForced
    from wspy.model.text import TokenSequence as TokenSequence
    from wspy.model.text import Transcription as Transcription
    from wspy.model.text import forced_tokens as forced_tokens
    from wspy.model.text import teacher_force as teacher_force
    from wspy.model.text import transcribe as transcribe
    from wspy.model.text import transcribe_mixed as transcribe_mixed
    from wspy.model.timing import WordTime as WordTime
    from wspy.model.timing import alignment_sites as alignment_sites
    from wspy.model.timing import alignment_weights as alignment_weights
    from wspy.model.timing import sharpened as sharpened
    from wspy.model.timing import token_starts as token_starts
    from wspy.model.timing import token_times as token_times
    from wspy.model.timing import word_times as word_times
    from wspy.model.timing import written_words as written_words
    from wspy.model.wer import Passage as Passage
    from wspy.model.wer import WordErrors as WordErrors
    from wspy.model.wer import compare_words as compare_words
    from wspy.model.wer import mark_changes as mark_changes
    from wspy.model.wer import pooled_wer as pooled_wer
    from wspy.model.wer import ratio_interval as ratio_interval
    from wspy.model.wer import wer_interval as wer_interval
    from wspy.model.wer import word_errors as word_errors

_PLACES = {
    "Agreement": "agreement",
    "measure_agreement": "agreement",
    "attention_bias": "attention",
    "band_bias": "attention",
    "for_heads": "attention",
    "FramePlan": "condensed",
    "plan_frames": "condensed",
    "Dimensions": "dimensions",
    "Cache": "hooks",
    "capture": "hooks",
    "encode": "hooks",
    "mel_batch": "mels",
    "encode_from": "hooks",
    "patch": "hooks",
    "windows_at_once": "hooks",
    "Model": "load",
    "load_model": "load",
    "pick_device": "load",
    "random_reference": "random",
    "random_weights": "random",
    "padding_features": "padding",
    "DEFAULT_MODEL": "reference",
    "AvailableModel": "reference",
    "ModelReference": "reference",
    "check_device_name": "reference",
    "find_model": "reference",
    "list_models": "reference",
    "Site": "sites",
    "list_sites": "sites",
    "match_sites": "sites",
    "Segment": "text",
    "TeacherForced": "text",
    "TokenSequence": "text",
    "Transcription": "text",
    "forced_tokens": "text",
    "teacher_force": "text",
    "transcribe": "text",
    "transcribe_mixed": "text",
    "WordTime": "timing",
    "alignment_sites": "timing",
    "alignment_weights": "timing",
    "token_times": "timing",
    "sharpened": "timing",
    "token_starts": "timing",
    "word_times": "timing",
    "written_words": "timing",
    "Passage": "wer",
    "WordErrors": "wer",
    "compare_words": "wer",
    "mark_changes": "wer",
    "pooled_wer": "wer",
    "ratio_interval": "wer",
    "wer_interval": "wer",
    "word_errors": "wer",
}

__all__ = sorted(_PLACES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
