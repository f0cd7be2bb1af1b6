"""The command line: Typer, with a command for each analysis generated from its `Inputs`.

Results go to stdout; progress, notes and errors to stderr. Exit codes: 0 done, 1 failed, 2 bad input, 130 stopped.
`wspy --help` imports no heavy library and only those plugins that add commands.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

import wspy
from wspy.cli import atlas, corpus, demo, doctor, models, new_plugin, plugins, runs
from wspy.cli.plain import plain
from wspy.errors import NotWritable, UnknownAnalysis, WspyError
from wspy.files import home

STOPPED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal."""
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What may meet any write, wherever it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and give its exit code. `--debug`, anywhere among the words, shows tracebacks and warnings."""
    words, debug = _without_debug(list(sys.argv[1:] if argv is None else argv))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a clip's text may not fit the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    with contextlib.nullcontext() if debug else _hushed():
        try:
            code = _run(words)
            sys.stdout.flush()
        except BrokenPipeError:
            code = _after_broken_pipe()
        except (KeyboardInterrupt, typer.Abort):
            code = STOPPED
        except Exception as error:
            if debug:
                traceback.print_exc()
            code = _report(error)
        if code == STOPPED:
            print(
                "\nwspy: stopped; nothing half-written is left, and the same command goes on from what was finished.",
                file=sys.stderr,
            )
    return code


def _run(words: list[str]) -> int:
    command = typer.main.get_command(build_app(words))
    try:
        code = command.main(args=words or ["--help"], prog_name="wspy", standalone_mode=False)
    except SystemExit as stop:  # Typer turns a broken pipe into this
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise
    return code if isinstance(code, int) else 0


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"] + words[end:]
    return kept, len(kept) < len(words)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep the warnings of libraries from the user's screen."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _report(error: Exception) -> int:
    """One line on stderr for any error, and the exit code."""
    usage = getattr(error, "format_message", None)  # Typer's errors, whichever package its version takes them from
    if type(error).__name__ == "NoArgsIsHelpError":  # a group of commands, and none of them named
        print(usage() if usage else error, file=sys.stderr)
        return 2
    if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
        error = NotWritable(str(error.filename or home()), error.strerror or str(error))
    if isinstance(error, WspyError):
        message, code = str(error), error.exit_code
    elif usage is not None:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "wspy"
        message, code = f"{usage()} See: {path} --help", 2
    else:
        said = f": {error}" if str(error).strip() else ""
        message, code = f"{type(error).__name__}{said} (run the same command with --debug to see where)", 1
    print("wspy:", plain(" ".join(message.split())), file=sys.stderr)
    return code


def _after_broken_pipe() -> int:
    """Whoever read stdout has gone, as after `| head`: end without a word, as other tools do."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


# --- the application --------------------------------------------------------------------------------------


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"wspy {wspy.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.", show_default=False),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks and warnings; it may stand anywhere.", show_default=False),
    ] = False,
) -> None:
    """A microscope for OpenAI's Whisper: what its neurons respond to, heard, measured and changed.

    Start with: wspy analyze neuron --layer 2 --idx 3
    """


class _Commands(TyperGroup):
    """Lists the commands in the order in which a newcomer needs them, then those of plugins."""

    order = (
        *("analyze", "demo", "analyses", "corpus", "atlas", "models", "sites", "runs", "report"),
        *("plugins", "new-plugin", "doctor"),
    )

    def list_commands(self, ctx: object) -> list[str]:
        names = self.commands
        return [name for name in self.order if name in names] + sorted(set(names) - set(self.order))


def build_app(words: Sequence[str]) -> typer.Typer:
    """The application with what this command line needs: the analyses for `analyze`, plugins' commands where no
    command of wspy's own is named.

    Raises:
        UnknownAnalysis: `analyze` is followed by a name that no plugin registered.
    """
    app = typer.Typer(name="wspy", cls=_Commands, rich_markup_mode=None, pretty_exceptions_enable=False, callback=_root)
    analyses = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Ask one question about the model.")
    app.add_typer(analyses, name="analyze")
    plugins.add_commands(app)
    new_plugin.add_commands(app)
    doctor.add_commands(app)
    runs.add_commands(app)
    models.add_commands(app)
    demo.add_commands(app)
    app.add_typer(corpus.app, name="corpus")
    app.add_typer(atlas.app, name="atlas")

    completing = "_WSPY_COMPLETE" in os.environ
    named = [word for word in words if not word.startswith("-")]
    if completing or named[:1] == ["analyze"]:
        _add_analyses(analyses, None if completing else named[1:2])
    if completing or not named or named[0] not in _command_names(app):
        _add_plugin_commands(app)
    return app


def _add_analyses(group: typer.Typer, named: list[str] | None) -> None:
    from wspy.cli.analyze import add_analysis
    from wspy.plugins import load_plugins

    known = load_plugins().analyses
    if named and named[0] not in known:
        raise UnknownAnalysis(named[0], known)
    for name in sorted(known):
        add_analysis(group, known[name])


def _add_plugin_commands(app: typer.Typer) -> None:
    """Plugins' own commands, behind wspy's: a name that is taken stays with its first owner."""
    from wspy.plugins import load_plugins

    load_plugins(with_commands_only=True).add_commands(app)
    taken: set[str] = set(_command_names(app, groups=True))
    kept = []
    for info in app.registered_commands:
        name = info.name or (info.callback.__name__.replace("_", "-") if info.callback else "")
        if name in taken:
            module = info.callback.__module__ if info.callback else "a plugin"
            print(f"wspy: command {name!r} of {module} is left out: the name is taken.", file=sys.stderr)
        else:
            taken.add(name)
            kept.append(info)
    app.registered_commands = kept


def _command_names(app: typer.Typer, groups: bool = False) -> set[str]:
    """Names of the app's groups, and of its commands unless `groups` asks for the former alone."""
    names = {group.name for group in app.registered_groups}
    if not groups:
        names |= {command.name for command in app.registered_commands}
    return {name for name in names if name}
