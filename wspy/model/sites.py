"""The named places in a model, without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from wspy.errors import UnknownSite
from wspy.model.dimensions import Dimensions

Kind = Literal["conv", "embedding", "norm", "pattern", "heads", "attention", "mlp", "residual"]


@dataclass(frozen=True)
class Site:
    """One place. `name` is a PyTorch module path; `shape` names the axes of that module's output.

    `n_units` counts its scalars per frame or token (for a pattern: its heads, each of which has one weight per
    query and key; for `heads`: head times d_head).
    """

    name: str
    kind: Kind
    shape: str
    n_units: int
    meaning: str

    @property
    def side(self) -> Literal["encoder", "decoder"]:
        """The half of the model that it stands in."""
        return "encoder" if self.name.startswith("encoder.") else "decoder"


def list_sites(dims: Dimensions) -> list[Site]:
    """Every site, in the order in which a forward pass computes them: encoder, then decoder."""
    d = dims.d_model
    sites = [
        Site("encoder.conv1", "conv", "batch d_model 2*frame", d, "first convolution over the mel frames, before GELU"),
        Site("encoder.conv2", "conv", "batch d_model frame", d, "second convolution, stride 2, before GELU"),
    ]
    for layer in range(dims.n_audio_layer):
        sites.extend(_block_sites(f"encoder.blocks.{layer}", dims, "frame", dims.n_audio_head))
    sites.append(Site("encoder.ln_post", "norm", "batch frame d_model", d, "what the decoder sees of the audio"))
    sites.append(
        Site(
            "decoder.token_embedding", "embedding", "batch token d_model", d, "the tokens' embeddings, before position"
        )
    )
    for layer in range(dims.n_text_layer):
        sites.extend(_block_sites(f"decoder.blocks.{layer}", dims, "token", dims.n_text_head))
    sites.append(
        Site("decoder.ln", "norm", "batch token d_model", d, "what becomes the logits, by the token embedding")
    )
    return sites


def match_sites(patterns: str | Sequence[str], dims: Dimensions) -> list[Site]:
    """The sites that match any pattern, each once, in the order of `list_sites`.

    Patterns are fnmatch's: `*` also matches dots, so `encoder.blocks.*` is everything inside the blocks, and
    `encoder.blocks.?` the residual stream after each of the first ten.

    Raises:
        UnknownSite: a pattern that matches nothing.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    sites = list_sites(dims)
    matched: set[str] = set()
    for pattern in wanted:
        names = [site.name for site in sites if fnmatchcase(site.name, pattern)]
        if not names:
            raise UnknownSite(pattern, (site.name for site in sites))
        matched.update(names)
    return [site for site in sites if site.name in matched]


def layer_of(name: str) -> int | None:
    """The block that a site stands in, counted from 0; None outside the blocks."""
    found = re.match(r"(?:encoder|decoder)\.blocks\.(\d+)", name)
    return int(found[1]) if found else None


def _block_sites(path: str, dims: Dimensions, step: str, n_head: int) -> Iterator[Site]:
    d, row = dims.d_model, f"batch {step} d_model"
    yield Site(f"{path}.attn_ln", "norm", row, d, "what the self-attention reads")
    yield from _attention_sites(f"{path}.attn", dims, step, n_head, f"{step}s")
    if step == "token":
        yield Site(f"{path}.cross_attn_ln", "norm", row, d, "what the cross-attention reads, besides the audio")
        yield from _attention_sites(f"{path}.cross_attn", dims, step, n_head, "audio frames")
    yield Site(f"{path}.mlp_ln", "norm", row, d, "what the MLP reads")
    yield Site(f"{path}.mlp.0", "mlp", f"batch {step} d_mlp", dims.d_mlp, "MLP neurons before the GELU")
    yield Site(f"{path}.mlp.1", "mlp", f"batch {step} d_mlp", dims.d_mlp, "MLP neurons: activations after the GELU")
    yield Site(f"{path}.mlp", "mlp", row, d, "what the MLP adds to the residual stream")
    yield Site(path, "residual", row, d, "residual stream after the block")


def _attention_sites(path: str, dims: Dimensions, step: str, n_head: int, keys: str) -> Iterator[Site]:
    d = dims.d_model
    yield Site(f"{path}.pattern", "pattern", "batch head query key", n_head, f"how each head spreads over the {keys}")
    yield Site(f"{path}.heads", "heads", f"batch {step} head d_head", d, "each head's output, before they are mixed")
    yield Site(path, "attention", f"batch {step} d_model", d, "what the attention adds to the residual stream")
