"""The passes of `sae-eval`: frames reconstructed, transcripts with the site replaced, units labelled and compared."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wspy.model import list_sites, pooled_wer, wer_interval
from wspy_sae.belongs import check_belongs
from wspy_sae.controls import random_like
from wspy_sae.downstream import Cost, Replacement, measure_costs, recovered
from wspy_sae.evaluate import DENSITY_EDGES, Reconstruction, best_cosines, reconstruct
from wspy_sae.judge import PhoneRow, Quality, Replaced, SaeEval, Stability
from wspy_sae.phone_share import phone_shares
from wspy_sae.store import load_dictionary
from wspy_sae.stream import ModelSource, clip_frames
from wspy_sae.train_errors import DifferentSites
from wspy_sae.trained import held_out_clips, read_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float

    import wspy
    from wspy.corpus import Clip
    from wspy_sae.dictionary import Dictionary

PARTNER = 0.7
MOST_FRAMES = 200_000
"""Of a larger corpus a random part is judged by."""
RANDOM, NOTHING = "random directions", "nothing"


def judge(inputs: SaeEval.Inputs, context: wspy.Context) -> SaeEval.Result:
    """Run all that was asked for.

    Raises:
        UnknownDictionary: no dictionary of a name.
        OtherModel, OtherWidth, DifferentSites: a dictionary of another model, or two that cannot be compared.
    """
    dictionary = load_dictionary(inputs.sae)
    check_belongs(inputs.sae, dictionary.config, context.reference)
    other = None
    if inputs.against is not None:
        other = load_dictionary(inputs.against)
        check_belongs(inputs.against, other.config, context.reference)
        if other.config.site != dictionary.config.site:
            raise DifferentSites(inputs.sae, dictionary.config.site, inputs.against, other.config.site)
    record = read_record(inputs.sae)
    unheard = held_out_clips(record, context.corpus) or list(context.corpus.clips)
    clips = _at_most([unheard[at] for at in context.rng.permutation(len(unheard))], MOST_FRAMES)
    source = _source(context, dictionary, clips)
    with torch.inference_mode():
        activations = source.read(range(len(clips)), context.progress)
    control = random_like(dictionary, activations, context.seed)
    found, mean = reconstruct(dictionary, [activations])
    random, _ = reconstruct(control, [activations])
    drawn = clips[: inputs.clips]
    replacements: dict[str, Replacement | None] = {
        NOTHING: None,
        inputs.sae: dictionary,
        RANDOM: control,
        "mean": mean.expand_as,
        "zero": torch.zeros_like,
    }
    costs, n_own = measure_costs(
        context.model, context.corpus, drawn, dictionary.config.site, replacements, context.progress
    )
    return SaeEval.Result(
        sae=inputs.sae,
        site=dictionary.config.site,
        trained_as=dictionary.config.trained_as,
        d_sae=dictionary.config.d_sae,
        model=context.reference.name,
        corpus=context.corpus.name,
        held_out=len(unheard) < len(context.corpus.clips),
        n_clips=len(clips),
        n_frames=found.n_frames,
        n_read=len(drawn),
        n_own_text=n_own,
        density_edges=DENSITY_EDGES,
        quality=(_quality(inputs.sae, found), _quality(RANDOM, random)),
        replaced=_replaced(costs, context),
        phones=_phones(dictionary, control, context) if inputs.phones else (),
        stability=_stability(dictionary, other, found, inputs.against or "", control),
    )


def _at_most(clips: Sequence[Clip], n_frames: int) -> list[Clip]:
    """The first clips, up to so many frames; one at least."""
    ends = itertools.accumulate(clip_frames(clip) for clip in clips)
    return [clip for at, (clip, end) in enumerate(zip(clips, ends, strict=True)) if end <= n_frames or not at]


def _source(context: wspy.Context, dictionary: Dictionary, clips: Sequence[Clip]) -> ModelSource:
    config = dictionary.config
    return ModelSource(context.model, context.corpus, clips, config.site, config.d_in)


def _quality(name: str, found: Reconstruction) -> Quality:
    return Quality(
        name=name,
        fvu=found.fvu,
        l0=found.l0,
        l1=found.l1,
        cosine=found.cosine,
        l2_ratio=found.l2_ratio,
        bias=found.bias,
        dead=found.dead,
        densities=tuple(found.density_histogram()),
    )


def _replaced(costs: Mapping[str, Cost], context: wspy.Context) -> tuple[Replaced, ...]:
    clean, zero, mean = (costs[name].cross_entropy for name in (NOTHING, "zero", "mean"))
    rows = []
    for name, cost in costs.items():
        interval = wer_interval(cost.errors, context.rng)
        rows.append(
            Replaced(
                by=name,
                cross_entropy=cost.cross_entropy,
                recovered_zero=recovered(clean, cost.cross_entropy, zero),
                recovered_mean=recovered(clean, cost.cross_entropy, mean),
                wer=pooled_wer(cost.errors),
                wer_low=interval[0] if interval else None,
                wer_high=interval[1] if interval else None,
            )
        )
    return tuple(rows)


def _phones(dictionary: Dictionary, control: Dictionary, context: wspy.Context) -> tuple[PhoneRow, ...]:
    """Features and random directions, and the neurons of the layer that wrote to the site."""
    corpus = context.corpus
    if corpus.alignment_info is None:
        return ()
    kinds = {"features": dictionary.encode, RANDOM: control.encode}
    sources = [(_source(context, dictionary, corpus.clips), kinds)]
    neurons = _neurons_beside(dictionary.config.site, context)
    if neurons is not None:
        site, n_units = neurons
        source = ModelSource(context.model, corpus, corpus.clips, site, n_units)

        def same(x: Float[Tensor, "frame unit"]) -> Float[Tensor, "frame unit"]:
            return x

        sources.append((source, {site: same}))
    found = phone_shares(sources, corpus, context.rng, context.progress)
    return tuple(
        PhoneRow(
            units=name,
            n_units=share.n_units,
            n_live=share.n_live,
            n_labelled=share.n_labelled,
            n_precise=share.n_precise,
            median_auroc=share.median_auroc,
            median_precision=share.median_precision,
            n_phones=share.n_phones,
        )
        for name, share in found.items()
    )


def _neurons_beside(site: str, context: wspy.Context) -> tuple[str, int] | None:
    """The MLP neurons of the site's block, with their number; None outside the blocks."""
    sites = {found.name: found.n_units for found in list_sites(context.reference.dims)}
    block = ".".join(site.split(".")[:3])
    name = f"{block}.mlp.1"
    return (name, sites[name]) if name in sites and name != site else None


def _stability(
    dictionary: Dictionary, other: Dictionary | None, found: Reconstruction, name: str, control: Dictionary
) -> Stability | None:
    """Of the features that fire, in the other dictionary's rows; and of random directions there."""
    if other is None:
        return None
    live = torch.from_numpy(found.counts > 0)
    cosines = best_cosines(dictionary.W_dec[live], other.W_dec)
    by_chance = best_cosines(control.W_dec[live], other.W_dec)
    return Stability(
        against=name,
        n_features=int(live.sum()),
        share=float((cosines > PARTNER).float().mean()),
        share_random=float((by_chance > PARTNER).float().mean()),
        limit=PARTNER,
        median_cosine=float(cosines.median()),
        histogram=tuple(int(n) for n in torch.histc(cosines.clamp(0, 1), 10, 0, 1)),
    )
