"""`wspy new-plugin`: a package of one's own to begin with, made from the example of the manual.

The example in `docs/examples/wspy-hello` is the template. It is a package that works, and every `hello` in it is the
name: so what is written here is tested whenever the example is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

import wspy
from wspy.errors import BadPluginName, NotWritable, PluginExists
from wspy.files import atomic_folder

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
_NOT_COPIED = re.compile(r"__pycache__|build|dist|.*\.egg-info|\.[a-z]+_cache|\.venv")


def add_commands(app: typer.Typer) -> None:
    """Put the command of this module on the command line."""
    app.command("new-plugin")(new_plugin)


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What its analysis is called, for instance pitch-track.")],
    into: Annotated[
        Path,
        typer.Option("--into", metavar="FOLDER", help="Where to put it; here if left out.", show_default=False),
    ] = Path(),
) -> None:
    """Write a package with an analysis of your own to begin with.

    It is a whole one: an analysis with a table, a figure and sound, its tests, a README and a licence.
    """
    folder = write_plugin(name, into)
    print("This is a plugin that works. Install it, test it, ask it:")
    print(f"  pip install -e '{folder}[test]'")
    print(f"  pytest {folder}")
    print(f"  wspy analyze {folder.name.removeprefix('wspy-')}")
    print(f"Then make it yours: {folder / folder.name.replace('-', '_')}.py")
    print(folder)


def template_folder() -> Path:
    """The example: inside the installed package, or in the repository that this runs from."""
    installed = Path(wspy.__file__).parent / "assets" / "plugin"
    return installed if installed.is_dir() else Path(wspy.__file__).parents[1] / "docs" / "examples" / "wspy-hello"


def plain_name(name: str) -> str:
    """The name without a leading `wspy-`.

    Raises:
        BadPluginName: it is none, or something installed has it.
    """
    from wspy.plugins import load_plugins

    plain = name.removeprefix("wspy-")
    if not _NAME.fullmatch(plain):
        raise BadPluginName(name, "small letters and digits, in words joined by '-'")
    if len(plain) > _LONGEST:
        raise BadPluginName(name, f"more than {_LONGEST} letters")
    found = load_plugins()
    if plain in found.analyses or plain in {plugin.name for plugin in found.plugins}:
        raise BadPluginName(name, "an installed plugin or analysis has it")
    return plain


def render(text: str, name: str) -> str:
    """The template's text, or the name of one of its files, for another plugin."""
    for old, new in (
        ("wspy_hello", f"wspy_{name.replace('-', '_')}"),
        ("test_hello", f"test_{name.replace('-', '_')}"),
        ("Hello", "".join(word.capitalize() for word in name.split("-"))),
        ("hello", name),
    ):
        text = text.replace(old, new)
    return text


def write_plugin(name: str, into: Path) -> Path:
    """Write the package `wspy-NAME` into a folder, whole or not at all, and give its path.

    Raises:
        BadPluginName: the name cannot be used.
        PluginExists: there is something of that name.
        NotWritable: the folder cannot be written.
    """
    name = plain_name(name)
    target = (into.expanduser() / f"wspy-{name}").absolute()
    if target.exists() or target.is_symlink():
        raise PluginExists(str(target))
    with atomic_folder(target) as folder:
        _copy(template_folder(), folder, name)
    return target


def _copy(source: Path, target: Path, name: str) -> None:
    for path in sorted(source.iterdir()):
        if _NOT_COPIED.fullmatch(path.name):
            continue
        copy = target / render(path.name, name)
        try:
            if path.is_dir():
                copy.mkdir()
                _copy(path, copy, name)
            else:
                copy.write_text(render(path.read_text(encoding="utf-8"), name), encoding="utf-8")
        except OSError as error:
            raise NotWritable(str(copy), error.strerror or str(error)) from error
