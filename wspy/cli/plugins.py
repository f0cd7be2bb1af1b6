"""`wspy analyses` and `wspy plugins`: what can be asked, and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from wspy.cli.options import AsJson

if TYPE_CHECKING:
    from wspy.plugins import Plugin


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module on the command line."""
    app.command("analyses")(analyses)
    app.command("plugins")(plugins)


def analyses(as_json: AsJson = False) -> None:
    """List the analyses, what each answers, and its plugin."""
    from wspy.cli.render import print_json, print_rows
    from wspy.plugins import load_plugins

    found = load_plugins()
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "summary": analysis.summary,
                    "plugin": found.owner(name).name,
                    "inputs": analysis.Inputs.model_json_schema(),
                    "result": analysis.Result.model_json_schema(mode="serialization"),
                }
                for name, analysis in sorted(found.analyses.items())
            ]
        )
        return
    rows = [(name, analysis.summary, _origin(found.owner(name))) for name, analysis in sorted(found.analyses.items())]
    title = "Analyses (wspy analyze NAME --help shows the inputs)"
    print_rows(title, ["name", "what it answers", "from"], rows, "No plugin gives an analysis. See: wspy plugins")


def plugins(as_json: AsJson = False) -> None:
    """List the plugins, what they registered, and their problems."""
    from wspy.cli.render import print_json, print_rows
    from wspy.plugins import load_plugins

    found = load_plugins().plugins
    if as_json:
        print_json(
            [
                {
                    "name": plugin.name,
                    "distribution": plugin.distribution,
                    "version": plugin.version,
                    "status": plugin.status,
                    "analyses": plugin.analyses,
                    "sources": plugin.sources,
                    "sites": plugin.sites,
                    "problems": plugin.problems,
                }
                for plugin in found
            ]
        )
        return
    headings = ("name", "from", "status", "analyses", "corpus sources", "sites", "problems")
    rows = [
        (
            plugin.name,
            _origin(plugin),
            plugin.status,
            ", ".join(plugin.analyses),
            ", ".join(plugin.sources),
            ", ".join(f"{scheme}:" for scheme in plugin.sites),
            "; ".join(plugin.problems),
        )
        for plugin in found
    ]
    print_rows("Plugins", headings, rows, "No plugin is installed.")


def _origin(plugin: Plugin) -> str:
    return f"{plugin.distribution} {plugin.version}".strip()
