"""Sites: that each is a real module with the shape it claims, and the order of patterns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wspy.errors import UnknownSite
from wspy.model import Model, capture, list_sites, match_sites
from wspy.model.catalogue import PUBLISHED
from wspy.model.sites import layer_of


def test_every_site_is_a_module_with_the_shape_it_names(tiny: Model, mel: Tensor) -> None:
    dims = tiny.dims
    sizes = {
        "batch": 2,
        "frame": 1500,
        "2*frame": 3000,
        "token": 5,
        "d_model": 64,
        "d_mlp": 256,
        "head": 2,
        "d_head": 32,
    }
    modules = dict(tiny.whisper.named_modules())
    sites = list_sites(dims)
    with capture(tiny, [site.name for site in sites]) as cache:
        tiny.whisper(mel, torch.randint(0, 50000, (2, 5)))
    assert list(cache) == [site.name for site in sites]
    for site in sites:
        assert site.name in modules
        if site.kind == "pattern":
            n_query = 1500 if site.side == "encoder" else 5
            n_key = 5 if site.name.startswith("decoder") and ".attn." in site.name else 1500
            assert cache[site.name].shape == (2, 2, n_query, n_key)
            assert site.n_units == 2
        else:
            shape = cache[site.name].shape
            assert shape == tuple(sizes[axis] for axis in site.shape.split()), site
            unit_axes = [axis for axis in site.shape.split() if axis in ("d_model", "d_mlp", "head", "d_head")]
            n_units = 1
            for axis in unit_axes:
                n_units *= sizes[axis]
            assert site.n_units == n_units


def test_sites_are_listed_in_the_order_of_the_forward_pass(tiny: Model, mel: Tensor) -> None:
    sites = [site.name for site in list_sites(tiny.dims)]
    modules = dict(tiny.whisper.named_modules())
    fired: list[str] = []
    handles = [modules[name].register_forward_hook(lambda m, i, o, name=name: fired.append(name)) for name in sites]
    try:
        tiny.whisper(mel[:1], torch.tensor([[1, 2]]))
    finally:
        for handle in handles:
            handle.remove()
    assert fired == sites


def test_patterns_match_in_natural_order_and_once() -> None:
    dims = PUBLISHED["small"].dims
    names = [site.name for site in match_sites(["encoder.blocks.*.mlp.1", "encoder.blocks.3.mlp.?"], dims)]
    neurons = [f"encoder.blocks.{layer}.mlp.1" for layer in range(12)]
    assert names == [*neurons[:3], "encoder.blocks.3.mlp.0", *neurons[3:]]
    assert [site.name for site in match_sites("encoder.ln_post", dims)] == ["encoder.ln_post"]
    assert [layer_of(name) for name in ("encoder.ln_post", "decoder.blocks.11.cross_attn.heads")] == [None, 11]


def test_a_pattern_without_a_match_names_the_nearest() -> None:
    with pytest.raises(UnknownSite, match=r"'encoder\.blocks\.4\.mlp\.1'.*encoder\.blocks\.3\.mlp\.1"):
        match_sites(["encoder.ln_post", "encoder.blocks.4.mlp.1"], PUBLISHED["tiny.en"].dims)
