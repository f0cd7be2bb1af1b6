"""One unit of any site: its examples, cut from a corpus, and the page on which a person sees and hears them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wspy.units.result import (
    CHOSEN_SIGNS,
    Example,
    Neighbour,
    PhoneShare,
    Range,
    RangeMix,
    Sign,
    SignChoice,
    SignResult,
    Span,
    UnitResult,
)

if TYPE_CHECKING:
    from wspy.analysis import Context
    from wspy.blocks import Block

__all__ = [
    "CHOSEN_SIGNS",
    "Example",
    "Neighbour",
    "PhoneShare",
    "Range",
    "RangeMix",
    "Sign",
    "SignChoice",
    "SignResult",
    "Span",
    "UnitResult",
    "mlp_site",
    "unit_page",
    "unit_result",
]


def unit_result(
    context: Context, site: str, idx: int, *, top: int = 10, signs: tuple[Sign, ...] = ("positive",)
) -> UnitResult:
    """What a unit responds to over the context's corpus, its sounds saved in the run.

    Args:
        site: Module path; its atlas is computed if nobody has yet.
        top: How many of the strongest clips to show, at most 25.
        signs: Look at the highest activations, the lowest, or both.

    Raises:
        UnknownSite: the model has no such site.
        OutOfRange: the site has no such unit.
    """
    from wspy.units.listen import listen

    return listen(context, site, idx, top, signs)


def unit_page(result: UnitResult) -> list[Block]:
    """Summary and tables first, then the sounds, strongest first."""
    from wspy.units.page import page

    return page(result)


def mlp_site(context: Context, side: str, layer: int, idx: int) -> str:
    """The site of a layer's MLP neurons.

    Raises:
        OutOfRange: the model has no such layer, or the layer no such neuron.
    """
    from wspy.errors import OutOfRange

    dims, name = context.reference.dims, context.reference.name
    n_layers = dims.n_audio_layer if side == "encoder" else dims.n_text_layer
    if layer >= n_layers:
        raise OutOfRange("Layer", layer, 0, n_layers - 1, f"the {side} of {name}")
    if idx >= dims.d_mlp:
        raise OutOfRange("Neuron", idx, 0, dims.d_mlp - 1, f"a layer of {name}")
    return f"{side}.blocks.{layer}.mlp.1"
