"""`wspy models` and `wspy sites`: what can be looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from wspy.cli.options import AsJson, ModelName


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module on the command line."""
    app.command("models")(models)
    app.command("sites")(sites)


def models(as_json: AsJson = False) -> None:
    """List the models, and where each one is taken from.

    A checkpoint's path works wherever a name does.
    """
    from wspy.blocks import Column
    from wspy.cli.render import print_json, print_rows
    from wspy.model import list_models

    found = list_models()
    if as_json:
        print_json(found)
        return
    here = Column(name="here", description="whether it loads without the network")
    columns: list[str | Column] = [
        "name",
        "source",
        here,
        Column(name="parameters", unit="million", decimals=1),
        "where",
    ]
    rows = [(row.name, row.source, row.available, row.n_params / 1e6, row.where) for row in found]
    print_rows("Models", columns, rows, "No model is known.")


def sites(
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="For instance 'encoder.blocks.*.mlp.1'; all where it is left out.")
    ] = "*",
    model: ModelName = "tiny.en",
    as_json: AsJson = False,
) -> None:
    """List the sites of a model.

    A site is a place that can be read and changed, named by its module path.
    """
    from wspy.cli.render import print_json, print_rows
    from wspy.model import find_model, match_sites

    reference = find_model(model)
    found = match_sites(pattern, reference.dims)
    if as_json:
        print_json(found)
        return
    rows = [(site.name, site.kind, site.shape, site.n_units, site.meaning) for site in found]
    print_rows(f"Sites of {reference.name}", ["name", "kind", "shape", "units", "meaning"], rows, "No site matches.")
