"""Reading and changing activations by site.

Both work through ordinary PyTorch forward hooks that live inside the `with` and nowhere else. Where several are
nested, patches run in the order in which they were entered (the innermost has the last word), and a capture sees
the value after every patch, whichever of them was entered first. They act on forward passes of the thread that
entered the `with`: several threads can share a model, each with hooks of its own.
"""

from __future__ import annotations

import abc
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from torch import Tensor, nn
from whisper.model import Whisper

from wspy.errors import BadShape, InputError, OutOfRange, UnknownSite
from wspy.model.attention import ObservedAttention
from wspy.model.condensed import FramePlan, run_condensed
from wspy.model.dimensions import Dimensions
from wspy.model.load import Model
from wspy.model.sites import layer_of, match_sites

if TYPE_CHECKING:
    from jaxtyping import Float

Patch = Callable[[Tensor], Tensor]
"""Takes a site's output and returns what the model shall go on with, in the same shape."""


class Cache(Mapping[str, Tensor]):
    """What the sites gave in the latest forward pass, by name. It stays readable after the `with`."""

    def __init__(self, sites: Sequence[str]) -> None:
        self.sites = tuple(sites)
        self._outputs: dict[str, Tensor] = {}

    def __getitem__(self, site: str) -> Tensor:
        if site not in self._outputs and site in self.sites:
            raise KeyError(f"{site} has not been computed yet: run the model inside the with.")
        return self._outputs[site]

    def __iter__(self) -> Iterator[str]:
        return (site for site in self.sites if site in self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def clear(self) -> None:
        """Forget the outputs, for instance to free their memory between batches."""
        self._outputs.clear()


@contextlib.contextmanager
def capture(model: Model | Whisper, sites: str | Sequence[str], *, detach: bool = True) -> Iterator[Cache]:
    """Keep the outputs of some sites during each forward pass.

    Args:
        sites: names or patterns (see `match_sites`). For an attention the output is what it adds to the residual
            stream. Listening to a `pattern` computes that attention step by step, which is slower and rounds
            differently (about 1e-6); no other site changes a bit.
        detach: cut the outputs from the gradient. Gradients also need `torch.enable_grad`, not inference mode.

    Raises:
        UnknownSite: a pattern that matches nothing.
    """
    whisper = _whisper(model)
    names = [site.name for site in match_sites(sites, _dims(whisper))]
    cache = Cache(names)
    with contextlib.ExitStack() as hooks:
        for name in names:
            _hook(hooks, _module(whisper, name), _Record(cache, name, detach))
        yield cache


@contextlib.contextmanager
def patch(model: Model | Whisper, patches: Mapping[str, Patch]) -> Iterator[None]:
    """Replace the outputs of some sites during each forward pass.

    Args:
        patches: for each name or pattern a function of the site's output (for an attention: of what it adds to the
            residual stream; for a `pattern`: of the weights, which the attention then uses) that returns its
            replacement. The function may change the tensor in place and return it.

    Raises:
        UnknownSite: a pattern that matches nothing.
        BadShape: a replacement of another shape, raised from the forward pass.
    """
    whisper = _whisper(model)
    dims = _dims(whisper)
    with contextlib.ExitStack() as hooks:
        for pattern, function in patches.items():
            for site in match_sites(pattern, dims):
                module = _module(whisper, site.name)
                _hook(hooks, module, _Replace(site.name, function))
                _records_last(module)
        yield


def encode(
    model: Model | Whisper,
    mel: Float[Tensor, "batch mel 2*frame"],
    stop_after: str | None = None,
    plan: FramePlan | None = None,
) -> Float[Tensor, "batch frame d_model"] | None:
    """Run the encoder on whole windows (30 s, 3000 mel frames).

    Args:
        stop_after: end the pass as soon as this encoder site has been computed, and return None: what lies deeper
            costs nothing. Captures and patches up to and including the site have run.
        plan: from `plan_frames`: compute only these frames. Then every frame axis but that of an attention pattern's
            keys has as many frames as the plan (the convolutions': the clip, its margin and two more; from the queries
            of the block within which the pass stops on: the clip's own), beginning with the clip's own. The decoder
            wants all frames, so this is not for it. None computes the whole window.

    Raises:
        BadShape: not `[batch n_mels 3000]`.
        InputError: sound where the plan has padding.
        UnknownSite: `stop_after` is no encoder site.
    """
    whisper = _whisper(model)
    dims = _dims(whisper)
    if mel.ndim != 3 or tuple(mel.shape[1:]) != (dims.n_mels, 2 * dims.n_audio_ctx):
        raise BadShape("The mel spectrogram", mel.shape, f"[batch, {dims.n_mels}, {2 * dims.n_audio_ctx}]")
    mel = mel.to(whisper.encoder.conv1.weight.device)
    if stop_after is None:
        return _run_encoder(whisper, mel, plan)
    kinds = {site.name: site.kind for site in match_sites("encoder.*", dims)}
    if stop_after not in kinds:
        raise UnknownSite(stop_after, kinds)
    within = layer_of(stop_after) if kinds[stop_after] != "residual" else None  # which is the whole block's output

    with contextlib.ExitStack() as hooks, contextlib.suppress(_Stopped):
        _hook(hooks, _module(whisper, stop_after), _Stop())  # registered last, so it runs last
        _run_encoder(whisper, mel, plan, within)
    return None


def windows_at_once(model: Model | Whisper) -> int:
    """How many whole windows the encoder best takes at once, where there are many and no memory is short.

    On a CPU so few that the widest table of a pass, the neurons of one layer, stays below 32 MiB. From there on the C
    library maps fresh memory for every table, page by page, and larger batches save less than that costs.
    """
    whisper = _whisper(model)
    if whisper.device.type != "cpu":
        return 16
    dims = _dims(whisper)
    return max(2**25 // (4 * dims.n_audio_ctx * dims.d_mlp), 1)


def _run_encoder(whisper: Whisper, mel: Tensor, plan: FramePlan | None, last_block: int | None = None) -> Tensor:
    features: Tensor = whisper.encoder(mel) if plan is None else run_condensed(whisper, mel, plan, last_block)
    return features


def encode_from(
    model: Model | Whisper, residual: Float[Tensor, "batch frame d_model"], layer: int
) -> Float[Tensor, "batch frame d_model"]:
    """Run the encoder from the block `layer` on, for what is only changed there and above.

    Args:
        residual: what that block reads: for a layer above 0 the site `encoder.blocks.{layer - 1}`.

    Returns:
        What the decoder reads, as `encode` gives it.

    Raises:
        BadShape: another shape than the residual stream has.
        OutOfRange: no such layer.
    """
    whisper = _whisper(model)
    blocks = whisper.encoder.blocks
    if not 0 <= layer < len(blocks):
        raise OutOfRange("Layer", layer, 0, len(blocks) - 1, "the encoder")
    expected = tuple(whisper.encoder.positional_embedding.shape)
    if residual.ndim != 3 or tuple(residual.shape[1:]) != expected:
        raise BadShape("The residual stream", residual.shape, f"[batch, {expected[0]}, {expected[1]}]")
    x = residual.to(whisper.encoder.conv1.weight.device)
    for block in blocks[layer:]:
        x = block(x)
    features: Tensor = whisper.encoder.ln_post(x)
    return features


# --- hooks ------------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """Ends a forward pass early; never leaves `encode`."""


class _Hook(abc.ABC):
    """A forward hook for the thread that made it; the passes of others are none of its business."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def __call__(self, module: nn.Module, inputs: object, output: object) -> object:
        return self.act(output) if threading.get_ident() == self.thread else None

    @abc.abstractmethod
    def act(self, output: object) -> object:
        """What the module shall give instead of `output`; None leaves it."""


class _Stop(_Hook):
    def act(self, output: object) -> object:
        raise _Stopped


class _Record(_Hook):
    def __init__(self, cache: Cache, name: str, detach: bool) -> None:
        super().__init__()
        self.cache, self.name, self.detach = cache, name, detach

    def act(self, output: object) -> object:
        value = _main_output(output)
        self.cache._outputs[self.name] = value.detach() if self.detach else value
        return None


class _Replace(_Hook):
    def __init__(self, name: str, function: Patch) -> None:
        super().__init__()
        self.name, self.function = name, function

    def act(self, output: object) -> object:
        value = _main_output(output)
        shape = value.shape  # the function may change `value` itself
        replacement = self.function(value)
        if not isinstance(replacement, Tensor):
            raise InputError(f"The patch of {self.name} returned {type(replacement).__name__}: return a tensor.")
        if replacement.shape != shape:
            raise BadShape(f"What the patch of {self.name} returned", replacement.shape, f"its input's, {list(shape)}")
        replacement = replacement.to(device=value.device, dtype=value.dtype)
        return (replacement, *output[1:]) if isinstance(output, tuple) else replacement


def _main_output(output: object) -> Tensor:
    """A site's own tensor: attention modules also return their scores."""
    value = output[0] if isinstance(output, tuple) else output
    assert isinstance(value, Tensor)
    return value


def _hook(hooks: contextlib.ExitStack, module: nn.Module, function: _Hook) -> None:
    hooks.callback(module.register_forward_hook(function).remove)


def _records_last(module: nn.Module) -> None:
    """Move the captures behind the patch that has just been registered."""
    for key in [key for key, function in module._forward_hooks.items() if isinstance(function, _Record)]:
        module._forward_hooks[key] = module._forward_hooks.pop(key)


def _module(whisper: Whisper, name: str) -> nn.Module:
    owner, _, last = name.rpartition(".")
    parent = whisper.get_submodule(owner)
    if last in ("pattern", "heads") and not isinstance(parent, ObservedAttention):
        raise InputError(f"{name} exists only in models loaded with wspy.load_model: load this model with it.")
    module: nn.Module = whisper.get_submodule(name)
    return module


def _whisper(model: Model | Whisper) -> Whisper:
    return model.whisper if isinstance(model, Model) else model


def _dims(whisper: Whisper) -> Dimensions:
    return Dimensions(**asdict(whisper.dims))
