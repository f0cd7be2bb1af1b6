"""From a name or a path to a model in memory: openai-whisper's own class, frozen, in float32."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import whisper as openai_whisper
from torch import Tensor
from torch.overrides import TorchFunctionMode
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE, Tokenizer, get_tokenizer

from wspy.errors import BadCheckpoint, ModelUnavailable, UnknownDevice, UnknownLanguage
from wspy.model.attention import observe_attention
from wspy.model.catalogue import BUNDLES, PUBLISHED
from wspy.model.dimensions import Dimensions
from wspy.model.formats import Checkpoint, ctranslate2, huggingface, openai
from wspy.model.reference import (
    DEFAULT_MODEL,
    ModelReference,
    cache_folder,
    check_sha256,
    compute_sha256,
    find_model,
)

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, eq=False)
class Model:
    """A Whisper and where it came from. `whisper` is in eval mode, and its weights take no gradient."""

    whisper: Whisper
    reference: ModelReference

    @property
    def name(self) -> str:
        """The name under which it was asked for."""
        return self.reference.name

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights file."""
        return self.reference.sha256

    @property
    def dims(self) -> Dimensions:
        """Its sizes: layers, heads, `d_model`, tokens."""
        return self.reference.dims

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = self.whisper.device
        return device

    @property
    def is_multilingual(self) -> bool:
        """Whether it knows other languages than English."""
        return self.dims.is_multilingual

    def tokenizer(self, language: str | None = None, task: Task = "transcribe") -> Tokenizer:
        """openai-whisper's tokenizer for this model; an English-only model ignores language and task.

        Raises:
            UnknownLanguage: no such language, or none that this model was trained on.
        """
        code = language_code(language, self) if language is not None else None
        return get_tokenizer(self.is_multilingual, num_languages=self.whisper.num_languages, language=code, task=task)


def load_model(name_or_path: str | Path = DEFAULT_MODEL, device: str | None = None) -> Model:
    """Load a Whisper by name (`wspy models` lists them), or from a .pt file, a Hugging Face or a CTranslate2 folder.

    Args:
        device: as PyTorch writes it; None takes cuda, then mps, then cpu, whichever is there.

    Raises:
        UnknownModel, UnknownDevice, BadCheckpoint: what was given cannot be used.
        ModelUnavailable: a known name that is neither on this machine nor to be had.
        ChecksumMismatch: a file with known content is damaged.
    """
    place = pick_device(device)
    reference = find_model(name_or_path)
    if reference.path is None:
        reference = _download(reference)
    checkpoint = _read(reference)
    whisper = _build(reference, checkpoint)
    return Model(_prepare(whisper, place), reference)


def pick_device(device: str | None) -> torch.device:
    """The device meant, checked to be there.

    Raises:
        UnknownDevice: misspelt, or not on this machine.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available[:0] = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if device is None:
        return torch.device(available[0])
    if device not in available:
        raise UnknownDevice(device, available)
    return torch.device(device)


def language_code(language: str, model: Model) -> str:
    """Whisper's code for a language given by code (`en`, `en-US`) or English name.

    Raises:
        UnknownLanguage: no such language, or none of this model's.
    """
    known = list(LANGUAGES)[: model.whisper.num_languages] if model.is_multilingual else ["en"]
    code = TO_LANGUAGE_CODE.get(language.lower(), re.split("[-_]", language.lower())[0])
    if code not in known:
        raise UnknownLanguage(language, known)
    return str(code)


# --- steps ------------------------------------------------------------------------------------------------


def _download(reference: ModelReference) -> ModelReference:
    """Let openai-whisper fetch the file into its cache and check it."""
    name = reference.name
    try:
        path = openai_whisper._download(openai_whisper._MODELS[name], os.fspath(cache_folder()), False)
    except (OSError, RuntimeError) as error:
        if name in BUNDLES:
            packages = ", ".join(BUNDLES[name].packages)
            bundled = f"no installed package carries it ({packages}: {BUNDLES[name].install})"
        else:
            bundled = f"no package carries it (packages carry {', '.join(BUNDLES)})"
        cached = os.fspath(cache_folder() / PUBLISHED[name].file)
        raise ModelUnavailable(name, cached, bundled, str(error)) from error
    return ModelReference(name, "openai-whisper cache", Path(path), reference.sha256, reference.dims)


def _read(reference: ModelReference) -> Checkpoint:
    path = reference.path
    assert path is not None
    if reference.source in ("bundled package", "openai-whisper cache"):
        # The content is known, so the file is read once more: a remembered hash only knows its size and time.
        weights = path / "model.bin" if path.is_dir() else path
        remedy = "Delete it and run the same command again." if path.is_file() else "Install its package again."
        check_sha256(weights, reference.sha256, compute_sha256(weights), remedy)
    if reference.source in ("openai-whisper cache", "openai-whisper file"):
        return openai.read(path)
    if reference.source == "Hugging Face folder":
        return huggingface.read(path)
    return ctranslate2.read(path)


def _build(reference: ModelReference, checkpoint: Checkpoint) -> Whisper:
    if checkpoint.dims != reference.dims:
        raise BadCheckpoint(reference.path, "its sizes differ from what was known of it; it changed while loading.")
    _check_size(reference, checkpoint)
    with _WithoutInitialisation():
        whisper = Whisper(ModelDimensions(**asdict(checkpoint.dims)))
    expected, found = whisper.state_dict(), checkpoint.tensors
    if missing := sorted(expected.keys() - found.keys()):
        raise BadCheckpoint(reference.path, f"the weight {missing[0]} is missing ({len(missing)} in all).")
    if left := sorted(found.keys() - expected.keys()):
        raise BadCheckpoint(reference.path, f"{left[0]} has no place in a Whisper model ({len(left)} such weights).")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{list(tensor.shape)} instead of {list(expected[name].shape)}"
            raise BadCheckpoint(reference.path, f"{name} has the shape {shapes}.")
        if not math.isfinite(tensor.sum(dtype=torch.float64)):
            raise BadCheckpoint(reference.path, f"{name} holds NaN or infinite numbers.")
    whisper.load_state_dict(found)
    _set_alignment_heads(whisper, reference, checkpoint)
    return whisper


def _check_size(reference: ModelReference, checkpoint: Checkpoint) -> None:
    """Refuse sizes that the file does not fill, before memory is set aside for them."""
    dims, held = checkpoint.dims, sum(tensor.numel() for tensor in checkpoint.tensors.values())
    # The sinusoids and the causal mask take memory, too.
    needed = dims.n_params + dims.n_audio_ctx * dims.d_model + dims.n_text_ctx**2
    if needed > 16 * held:
        raise BadCheckpoint(reference.path, f"its sizes call for {needed:,} numbers, and it holds {held:,}.")


def _set_alignment_heads(whisper: Whisper, reference: ModelReference, checkpoint: Checkpoint) -> None:
    """The heads that follow the audio: openai-whisper's own for its models, else what the checkpoint names."""
    published = reference.published_name
    if published is not None and published in openai_whisper._ALIGNMENT_HEADS:
        whisper.set_alignment_heads(openai_whisper._ALIGNMENT_HEADS[published])
    elif checkpoint.alignment_heads is not None:
        chosen = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
        for layer, head in checkpoint.alignment_heads:
            chosen[layer, head] = True
        whisper.register_buffer("alignment_heads", chosen.to_sparse(), persistent=False)


def _prepare(whisper: Whisper, device: torch.device) -> Whisper:
    """Frozen, on its device, with the sites inside attention."""
    # Apple's devices have no sparse tensors; openai-whisper only ever reads the indices, which can stay here.
    heads = whisper.alignment_heads
    del whisper.alignment_heads
    whisper = whisper.to(device).eval().requires_grad_(False)
    whisper.register_buffer("alignment_heads", heads, persistent=False)
    observe_attention(whisper)
    return whisper


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves out the random initialisation of weights that are about to be replaced: seconds for a large model."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            tensor = given["tensor"] if "tensor" in given else args[0]
            assert isinstance(tensor, Tensor)
            return tensor
        return func(*args, **given)
