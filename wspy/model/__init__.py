"""Loading, checkpoint formats, sites, capture and patch. Names are loaded when first used: torch is slow to import."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wspy.model.attention import attention_bias as attention_bias
    from wspy.model.dimensions import Dimensions as Dimensions
    from wspy.model.hooks import Cache as Cache
    from wspy.model.hooks import capture as capture
    from wspy.model.hooks import encode as encode
    from wspy.model.hooks import patch as patch
    from wspy.model.load import Model as Model
    from wspy.model.load import load_model as load_model
    from wspy.model.reference import DEFAULT_MODEL as DEFAULT_MODEL
    from wspy.model.reference import AvailableModel as AvailableModel
    from wspy.model.reference import ModelReference as ModelReference
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

_PLACES = {
    "attention_bias": "attention",
    "Dimensions": "dimensions",
    "Cache": "hooks",
    "capture": "hooks",
    "encode": "hooks",
    "patch": "hooks",
    "Model": "load",
    "load_model": "load",
    "DEFAULT_MODEL": "reference",
    "AvailableModel": "reference",
    "ModelReference": "reference",
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
}

__all__ = sorted(_PLACES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
