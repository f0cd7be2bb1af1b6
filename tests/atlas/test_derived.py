"""Units that are computed from a site of the model go through the same atlas as the model's own."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from tests.atlas.conftest import noise
from wspy.analysis import Context
from wspy.atlas import (
    DerivedSite,
    build_part,
    ensure_atlas,
    ensure_atlases,
    find_probes,
    list_atlases,
    merge_parts,
    nearest_by_direction,
    remove_atlases,
)
from wspy.atlas.derived import folder_of, site_of
from wspy.errors import BadShape, InputError, NotStepwise, UnknownSite

BASE = "encoder.blocks.0"
ROWS = torch.tensor([3, 1, 3, 10])


def rows(seed: str = "a", base: str = BASE, width: int = len(ROWS)):
    """A scheme whose units are some units of a site, doubled."""

    def open_site(address, reference):
        if address != "doubled":
            raise InputError(f"There is no {address!r}.")
        return DerivedSite(
            base,
            width,
            hashlib.sha256(seed.encode()).hexdigest(),
            load=lambda model: lambda x: 2 * x[:, ROWS.to(x.device)],
            directions=lambda: np.eye(64)[ROWS.numpy()],
        )

    return {"rows": open_site}


def ensure(model, corpus, *sites, schemes=None, **options):
    return ensure_atlases(sites, model.reference, corpus, model=lambda: model, schemes=schemes or rows(), **options)


@pytest.mark.parametrize("speed", ["exact", "condensed"])
def test_computed_units_are_heard_as_the_models_own(model, speed):
    corpus = noise(6, phones=True)
    own, computed = ensure(model, corpus, BASE, "rows:doubled", speed=speed)
    assert computed.about.site == "rows:doubled" and computed.about.base == BASE and computed.about.n_units == 4
    assert own.about.base is None and own.about.units_sha256 is None
    for at, unit in enumerate(ROWS.tolist()):
        mine, its = computed.unit(at), own.unit(unit)
        assert mine.n_frames == its.n_frames and mine.density == its.density
        assert mine.maximum == 2 * its.maximum
        assert mine.mean == pytest.approx(2 * its.mean, rel=1e-5)
        assert mine.top[1].clip.tolist() == its.top[1].clip.tolist()
    assert computed.has_phones and computed.unit_phones(1).phones == own.unit_phones(1).phones
    assert [(one.unit, one.similarity) for one in nearest_by_direction(computed, 0, 1)] == [(2, 1.0)]


def test_another_hash_is_another_atlas(model):
    corpus = noise(3)
    first, again, other = (ensure(model, corpus, "rows:doubled", schemes=rows(seed))[0] for seed in ("a", "a", "b"))
    assert first.folder == again.folder != other.folder
    kept = list_atlases("rows:*")
    assert {one.about.units_sha256[:8] for one in kept} == {folder.name[-8:] for folder in (first.folder, other.folder)}
    assert {one.about.site for one in kept} == {"rows:doubled"}
    assert len(remove_atlases("rows:doubled")) == 2 and not list_atlases()


def test_the_name_of_a_folder_says_the_site():
    derived = rows()["rows"]("doubled", None)
    assert ":" not in folder_of("rows:doubled", derived)
    assert site_of(folder_of("rows:doubled", derived)) == "rows:doubled"
    elsewhere = folder_of("rows:/some where/a+b", derived)
    assert "/" not in elsewhere and site_of(elsewhere) == "rows:/some where/a+b"
    assert site_of(folder_of("encoder.blocks.0", None)) == "encoder.blocks.0"


def test_parts_merge_into_what_one_pass_gives(model, tmp_path):
    corpus = noise(70, phones=True)
    for part in (1, 2):
        build_part(
            ["rows:doubled"],
            model.reference,
            corpus,
            tmp_path / str(part),
            model=lambda: model,
            part=(part, 2),
            speed="condensed",
            schemes=rows(),
        )
    (merged,) = merge_parts([tmp_path / "1", tmp_path / "2"], model.reference, corpus)
    found = {path.name: path.read_bytes() for path in merged.folder.iterdir()}
    remove_atlases("rows:doubled")
    (whole,) = ensure(model, corpus, "rows:doubled", speed="condensed")
    assert found == {path.name: path.read_bytes() for path in whole.folder.iterdir()}


def test_what_cannot_be_heard_is_refused_before_anything_runs(model):
    def unused():
        raise AssertionError("the model was loaded")

    def ask(site, schemes):
        ensure_atlas(site, model.reference, noise(1), model=unused, schemes=schemes)

    with pytest.raises(UnknownSite, match="other:doubled"):
        ask("other:doubled", rows())
    with pytest.raises(UnknownSite, match="rows:doubled"):
        ask("rows:doubled", None)
    with pytest.raises(InputError, match="There is no 'tripled'"):
        ask("rows:tripled", rows())
    with pytest.raises(UnknownSite):
        ask("rows:doubled", rows(base="encoder.blocks.7"))
    with pytest.raises(NotStepwise):
        ask("rows:doubled", rows(base="encoder.conv1"))
    with pytest.raises(ValueError, match="SHA-256"):
        DerivedSite(BASE, 3, "abc", load=lambda model: lambda x: x)


def test_a_scheme_that_breaks_its_word_is_named(model):
    with pytest.raises(BadShape, match="rows:doubled"):
        ensure(model, noise(1), "rows:doubled", schemes=rows(width=5))


def test_sites_stand_in_the_models_order(model):
    probes = find_probes(["rows:doubled", "encoder.blocks.?", "mel"], model.reference, rows())
    assert [probe.name for probe in probes] == ["mel", BASE, "rows:doubled", "encoder.blocks.1"]


def test_the_control_hears_a_shuffled_model_with_the_units_of_this_one(model, tmp_path):
    asked = []

    def open_site(address, reference):
        asked.append(reference.name)
        return rows()["rows"](address, reference)

    context = Context(
        reference=lambda: model.reference,
        model=lambda: model,
        corpus=lambda: noise(2),
        folder=tmp_path,
        sites={"rows": open_site},
    )
    (control,) = context.atlases(["rows:doubled"], random_weights=True)
    assert control.about.model == "random-0-random0" and set(asked) == {"random-0"}


def test_a_plugin_registers_a_scheme(run_cli, make_plugin):
    source = """
import wspy
@wspy.hookimpl
def register_sites(register):
    register("rows", lambda address, reference: None)
    register("Not good", lambda address, reference: None)
    register("sae", lambda address, reference: None)
"""
    done = run_cli("plugins", "--json", path=(make_plugin("zrows", source),))
    plugin = {row["name"]: row for row in json.loads(done.stdout)}["zrows"]
    assert plugin["sites"] == ["rows"] and len(plugin["problems"]) == 2
    assert "must be lower-case" in plugin["problems"][0]
    assert "sites 'sae' is already registered by plugin 'sae' of wspy" in plugin["problems"][1]


def test_units_that_never_fall_below_zero_can_be_read(model):
    def open_site(address, reference):
        sha256 = hashlib.sha256(address.encode()).hexdigest()
        return DerivedSite(BASE, 4, sha256, load=lambda model: lambda x: x[:, ROWS].clamp_min(0) * (address != "none"))

    for address in ("some", "none"):
        (atlas,) = ensure(model, noise(3), f"high:{address}", schemes={"high": open_site})
        for unit in range(4):
            found = atlas.unit(unit)
            assert found.minimum == 0 and not len(found.samples[-1].value)
            assert (found.maximum > 0) == (address == "some")
