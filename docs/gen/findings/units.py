"""Claims 1.1 to 1.3: neurons that hear phones, features of dictionaries, and how mixed they are."""

from __future__ import annotations

import csv

import measure
import plan
import shelf
from shelf import Found, Numbers, percent

CLIPS_SHOWN = {"open": 4, "german": 2, "demo": 4}
GROUPS = {"open": "English", "german": "German, other speakers", "demo": "The bundled voice"}


def _labels(key: str) -> list[dict[str, str]]:
    with (measure.runs() / key / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _site(model: str) -> Found:
    name = f"encoder.blocks.{plan.LAYER}.mlp.1"
    found: list[Found] = [site for site in shelf.result(f"phones-{model}").sites if site.site == name]
    return found[0]


# --- 1.1 neurons ------------------------------------------------------------------------------------------


def phones(model: str, name: str) -> Numbers:
    """How many neurons beat their controls, by layer; and the first fifty of the post's layer."""
    found = shelf.result(f"phones-{model}")
    numbers: Numbers = {
        f"phones.{name}.clips": str(found.n_clips),
        f"phones.{name}.minutes": f"{found.n_frames / 3000:.0f}",
        f"phones.{name}.table": "\n".join(_row(site) for site in found.sites),
    }
    site = _site(model)
    controls = {control.name: control for control in site.controls}
    numbers |= {
        f"phones.{name}.labelled": f"{site.n_labelled:,}",
        f"phones.{name}.units": f"{site.n_units:,}",
        f"phones.{name}.heard": f"{site.n_heard:,}",
        f"phones.{name}.last_heard": f"{found.sites[-1].n_heard:,}",
        f"phones.{name}.share": percent(site.n_labelled / site.n_units),
        f"phones.{name}.auroc": f"{site.median_auroc:.2f}",
        f"phones.{name}.pure": percent(site.share_pure),
        f"phones.{name}.weights_auroc": f"{controls['shuffled weights'].median_auroc:.2f}",
        f"phones.{name}.weights_pure": percent(controls["shuffled weights"].share_pure or 0.0),
        f"phones.{name}.beat_mel": str(controls["mel bands"].n_beaten),
        f"phones.{name}.mel_auroc": f"{controls['mel bands'].median_auroc:.2f}",
    }
    first = [
        row for row in _labels(f"phones-{model}") if row["site"] == site.site and int(row["unit"]) < plan.FIRST_UNITS
    ]
    labelled = [row for row in first if row["label"]]
    numbers[f"phones.{name}.first_labelled"] = str(len(labelled))
    numbers[f"phones.{name}.first_table"] = _grid(first)
    return numbers


def _row(site: Found) -> str:
    weights = next(control for control in site.controls if control.name == "shuffled weights")
    return (
        f"| {site.site} | {site.n_labelled:,} of {site.n_units:,} | {site.n_heard:,} | {site.median_auroc:.3f} | "
        f"{weights.median_auroc:.3f} | {percent(site.share_pure)} | {percent(weights.share_pure or 0.0)} |"
    )


def _grid(rows: list[dict[str, str]]) -> str:
    """The first fifty as the post writes them: ten to a line."""
    by_unit = {int(row["unit"]): row["label"] or "–" for row in rows}
    lines = ["| | " + " | ".join(str(n) for n in range(10)) + " |", "| --- |" + " :-: |" * 10]
    lines += [
        f"| **{start}** | " + " | ".join(by_unit[start + n] for n in range(10)) + " |"
        for start in range(0, plan.FIRST_UNITS, 10)
    ]
    return "\n".join(lines)


def auroc_figure(model: str) -> None:
    """How many units lie above each AUROC, ours and the controls', as the analysis draws it."""
    figure = shelf.figure(f"phones-{model}", f"AUROC of {_site(model).site} ")
    axis = figure.spec["layout"]["xaxis"]  # type: ignore[index, call-overload]
    axis["title"]["text"] = "AUROC of the unit's own phone"  # type: ignore[index, call-overload]
    shelf.keep_figures("phones-auroc", figure, height=340)


def cards() -> None:
    """Players for the clearest neurons of tiny.en, and for the first ten of the layer whatever they are."""
    site = f"encoder.blocks.{plan.LAYER}.mlp.1"
    labels = {int(row["unit"]): row for row in _labels("phones-tiny.en") if row["site"] == site}
    clear = plan.clearest(measure.runs() / "phones-tiny.en", site)
    for name, chosen in (("clear", clear), ("first", range(plan.FIRST_HEARD))):
        shown = [
            _card(f"neuron {unit}", labels[unit], {c: f"neuron-{c}-{unit:04}-tiny.en" for c in ("open", "german")})
            for unit in chosen
        ]
        shelf.keep(f"neurons-{name}", "neurons", cards=shown)


def _card(title: str, row: dict[str, str], runs: dict[str, str]) -> dict[str, object]:
    """A unit with its label, and the sounds of its strongest clips in each corpus."""
    note = f"AUROC {float(row['auroc']):.2f} for {row['phone']}"
    if row["purity"]:
        note += f"; {100 * float(row['purity']):.0f} % of its top clips have {row['purity_phone']} at the peak"
    groups = {}
    for corpus, key in runs.items():
        found = shelf.result(key)
        clips = [
            {
                "file": shelf.keep_sound(found.file(example.audio), f"{title.replace(' ', '-')}-{corpus}-{at}"),
                "word": example.word or "",
                "phone": example.phone or "",
                "activation": example.activation,
                "speaker": example.speaker or "unknown speaker",
            }
            for at, example in enumerate(found.signs[0].examples[: CLIPS_SHOWN[corpus]], 1)
            if example.activation > 0
        ]
        if clips:
            groups[GROUPS[corpus]] = clips
    return {"unit": title, "label": row["label"], "note": note, "groups": groups}


# --- 1.2 dictionaries -------------------------------------------------------------------------------------


def dictionary(model: str, name: str) -> Numbers:
    """How clear its features are, next to random directions and neurons; and what of the model's loss it keeps."""
    found = shelf.result(f"sae-eval-{model}")
    features, random, neurons = found.phones
    numbers: Numbers = {
        f"dictionary.{name}.{key}": percent(row.n_precise / row.n_live, 1)
        for key, row in (("clear", features), ("random_clear", random), ("neurons_clear", neurons))
    }
    kept = {replaced.by: replaced for replaced in found.replaced}
    numbers |= {
        f"dictionary.{name}.features": f"{found.d_sae:,}",
        f"dictionary.{name}.l0": f"{found.quality[0].l0:.0f}",
        f"dictionary.{name}.kept": percent(kept[found.sae].recovered_zero),
        f"dictionary.{name}.random_kept": percent(kept["random directions"].recovered_zero),
        f"dictionary.{name}.again": percent(found.stability.share),
        f"dictionary.{name}.again_random": percent(found.stability.share_random),
    }
    return numbers


def feature_cards() -> None:
    """Players for the purest features of the dictionary that `make dictionary` trains."""
    site = f"sae:{plan.DICTIONARIES[plan.HEARD_MODEL]}"
    labels = {int(row["unit"]): row for row in _labels("features-tiny.en") if row["site"] == site}
    chosen = plan.clearest(measure.runs() / "features-tiny.en", site, plan.FEATURES_HEARD)
    shown = [_card(f"feature {unit}", labels[unit], {"demo": f"feature-demo-{unit:04}-tiny.en"}) for unit in chosen]
    shelf.keep("features", "neurons", cards=shown)


# --- 1.3 how mixed they are -------------------------------------------------------------------------------


def mixed(model: str, name: str) -> Numbers:
    """In how many neurons another class of phones takes over below the top, and what shuffled weights give."""
    site = _site(model)
    weights = next(control for control in site.controls if control.name == "shuffled weights").ranges
    ours = site.ranges
    return {
        f"mixed.{name}.units": f"{ours.n_units:,}",
        f"mixed.{name}.changing": percent(ours.share_changing),
        f"mixed.{name}.weights_changing": percent(weights.share_changing) if weights else "",
        f"mixed.{name}.top_bits": f"{ours.entropy_bits[0]:.2f}",
        f"mixed.{name}.low_bits": f"{ours.entropy_bits[-2]:.2f}",
    }


def mixed_figure() -> None:
    """The post's two neurons, and two of ours with clear labels: what the frames of ten activation ranges hold."""
    drawn = [
        (unit, shelf.figure(f"neuron-english-{unit:04}-tiny.en", "What all frames hold")) for unit in plan.MIXED_UNITS
    ]
    titled = [figure.model_copy(update={"title": f"Neuron {unit}", "caption": ""}) for unit, figure in drawn]
    shelf.keep_figures("mixed", *titled, height=480)
