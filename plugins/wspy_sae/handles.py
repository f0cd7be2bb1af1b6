"""What can be steered: a feature, a unit of a site, or a direction that is said in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wspy.atlas import LAGS
from wspy.errors import OutOfRange, UnknownPhone
from wspy.model import match_sites
from wspy_sae.feature_errors import BadDirection, NotSteerable
from wspy_sae.hearing import check_feature
from wspy_sae.site import fitting_dictionary

if TYPE_CHECKING:
    from jaxtyping import Float

    import wspy
    from wspy_sae.dictionary import Dictionary
    from wspy_sae.steering import Steer

_TERM = re.compile(r"\s*(?:([\d.]+)\s*\*\s*)?(\S+?):([^:\s]+)\s*")
_NEURONS = re.compile(r"(encoder\.blocks\.\d+)\.mlp\.1")
Value = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Handle:
    """How much of something is in each frame, and what one unit of it adds."""

    label: str
    site: str
    value: Value
    """From activations `[frame unit]` to how much of it there is, `[frame]`."""
    write: Float[Tensor, " unit"]
    dictionary: Dictionary | None = None
    """Whose feature it is."""
    feature: int | None = None


def find_handle(inputs: Steer.Inputs, context: wspy.Context) -> Handle:
    """What was asked for.

    Raises:
        BadDirection: nothing was named, or two things at once, or words that make no direction.
        UnknownDictionary, OtherModel, OtherWidth: a dictionary that is not there, or of something else.
        UnknownSite, NotSteerable, OutOfRange, UnknownPhone: a place, a number or a phone that there is not.
    """
    if inputs.direction is not None:
        if inputs.sae is not None or inputs.idx is not None:
            raise BadDirection("--direction says what to add", "leave --sae and --idx out")
        return _direction(inputs.direction, inputs.site, context)
    if (inputs.sae is None) == (inputs.site is None):
        raise BadDirection("It is not said what to steer", "give either --sae or --site, or --direction")
    if inputs.idx is None:
        raise BadDirection("It is not said which one to steer", "give its number as --idx")
    if inputs.sae is not None:
        return _feature(inputs.sae, inputs.idx, context)
    assert inputs.site is not None
    return _unit(inputs.site, inputs.idx, context)


def _feature(sae: str, idx: int, context: wspy.Context) -> Handle:
    dictionary = fitting_dictionary(sae, context.reference)
    check_feature(idx, sae, dictionary)

    def value(x: Tensor) -> Tensor:
        return dictionary.encode(x)[:, idx]

    return Handle(
        f"feature {idx} of {sae}", dictionary.config.site, value, dictionary.W_dec[idx].clone(), dictionary, idx
    )


def _unit(site: str, idx: int, context: wspy.Context) -> Handle:
    n_units = _n_units(site, context)
    _check_unit(site, idx, n_units, context)
    write = torch.zeros(n_units)
    write[idx] = 1
    return Handle(f"unit {idx} of {site}", site, lambda x: x[:, idx], write)


def _n_units(site: str, context: wspy.Context) -> int:
    """Units of a site that can be changed frame by frame.

    Raises:
        UnknownSite, NotSteerable: there is none, or it is none.
    """
    found = match_sites(site, context.reference.dims)
    if len(found) != 1 or found[0].side != "encoder" or found[0].kind in ("conv", "pattern", "heads"):
        raise NotSteerable(site)
    return found[0].n_units


def _check_unit(site: str, idx: int, n_units: int, context: wspy.Context) -> None:
    if idx >= n_units:
        raise OutOfRange("Unit", idx, 0, n_units - 1, f"{site} of {context.reference.name}")


# --- directions in words ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """One term of a direction: its weight, what kind it is (or which site or dictionary), and which of these."""

    weight: float
    kind: str
    which: str


def parse_direction(words: str) -> list[Term]:
    """The terms of a direction, separated by plus and minus with spaces around them.

    Raises:
        BadDirection: words that are no terms.
    """
    parts = re.split(r"\s+([+-])\s+", words.strip())
    signs = ["+", *parts[1::2]]
    terms = []
    for sign, part in zip(signs, parts[::2], strict=True):
        found = _TERM.fullmatch(part)
        if not found or found[2] == "sae":
            raise BadDirection(
                f"{part!r} is no direction",
                "write sae:NAME:FEATURE, SITE:UNIT, phone:PHONE or random:NUMBER, with spaces around + and -",
            )
        try:
            weight = float(found[1] or 1)
        except ValueError:
            instead = "write a number, as in 0.5 * phone:S"
            raise BadDirection(f"{found[1]!r} in {words!r} is no weight", instead) from None
        terms.append(Term(weight if sign == "+" else -weight, found[2], found[3]))
    return terms


def _direction(words: str, site: str | None, context: wspy.Context) -> Handle:
    """All terms at length 1, weighted and added, at length 1 again."""
    terms = parse_direction(words)
    fixed = {found for term in terms if (found := _site_of(term, context)) is not None}
    fixed |= {site} if site is not None else set()
    if len(fixed) != 1:
        several = f"{words!r} mixes {' and '.join(sorted(fixed))}" if fixed else f"{words!r} is of no site"
        raise BadDirection(several, "its terms must share one site" if fixed else "name one with --site")
    (where,) = fixed
    n_units = _n_units(where, context)
    total = torch.zeros(n_units)
    for term in terms:
        vector = _vector(term, where, n_units, context)
        if not float(vector.norm()) > 0:
            raise BadDirection(f"{term.kind}:{term.which} is zero at {where}", "take another")
        total += term.weight * vector / vector.norm()
    if not float(total.norm()) > 1e-6:
        raise BadDirection(f"{words!r} adds up to nothing", "its terms must not cancel")
    unit = total / total.norm()
    return Handle(f"direction {' '.join(words.split())}", where, lambda x: x @ unit.to(x), unit)


def _site_of(term: Term, context: wspy.Context) -> str | None:
    """The site that a term belongs to; None for one that any site has."""
    if term.kind in ("phone", "random"):
        return None
    if term.kind.startswith("sae:"):
        return fitting_dictionary(term.kind.removeprefix("sae:"), context.reference).config.site
    neurons = _NEURONS.fullmatch(term.kind)
    if neurons:
        return neurons[1]
    _n_units(term.kind, context)
    return term.kind


def _vector(term: Term, site: str, n_units: int, context: wspy.Context) -> Float[Tensor, " unit"]:
    if term.kind == "phone":
        return _phone(term.which, site, context)
    if not term.which.isdecimal():
        raise BadDirection(f"{term.which!r} in {term.kind}:{term.which} is no number", "count from 0")
    number = int(term.which)
    if term.kind == "random":
        return torch.randn(n_units, generator=torch.Generator().manual_seed(number))
    if term.kind.startswith("sae:"):
        name = term.kind.removeprefix("sae:")
        dictionary = fitting_dictionary(name, context.reference)
        check_feature(number, name, dictionary)
        return dictionary.W_dec[number].clone()
    if _NEURONS.fullmatch(term.kind):
        _check_unit(term.kind, number, context.reference.dims.d_mlp, context)
        written: Tensor = context.model.whisper.get_submodule(f"{term.kind[:-1]}2").weight
        return written[:, number].detach().float().cpu().clone()
    _check_unit(term.kind, number, n_units, context)
    vector = torch.zeros(n_units)
    vector[number] = 1
    return vector


def _phone(phone: str, site: str, context: wspy.Context) -> Float[Tensor, " unit"]:
    """The mean of the site's activations at a phone, less that of all phones' frames, at the site's best lag."""
    units = context.atlas(site).phones()
    if phone not in units.phones:
        raise UnknownPhone(phone, context.corpus.name, units.phones)
    at = LAGS.index(units.lag)
    counts = units.counts[:, at].astype(np.float64)
    if not counts[units.phones.index(phone)]:
        raise UnknownPhone(phone, context.corpus.name, units.phones)
    means = np.nan_to_num(units.means[:, :, at])
    centred = means[:, units.phones.index(phone)] - means @ (counts / counts.sum())
    return torch.from_numpy(centred.astype(np.float32))
