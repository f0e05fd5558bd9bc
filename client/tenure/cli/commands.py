"""How commands are declared: lazily loaded groups, global options everywhere, one way to end.

Click builds on subclassing, so this is the one place of the command line that does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from tenure.cli.errors import CliError, Exit, closest, exit_code_of
from tenure.cli.human import safe
from tenure.cli.session import OUTPUTS, Session

DEBUG_VARIABLE = "TENURE_DEBUG"
"""Set to 1, errors come with their traceback."""

_COMPLETE_VARIABLE = "_TENURE_COMPLETE"
_HELP_COLUMNS_MAX = 100


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that stores a global option, wherever on the line it was given."""

    def store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        # Only what was typed: a default further right must not undo what stood further left.
        if parameter.name and context.get_parameter_source(parameter.name) in _TYPED:
            setattr(session_of(context), name, value)

    return store


_TYPED = (click.core.ParameterSource.COMMANDLINE,)


def session_of(context: click.Context) -> Session:
    """The session of this run."""
    found = context.find_object(Session)
    if found is None:
        found = context.find_root().obj = Session()
        context.obj = found
    return found


def global_options() -> list[click.Option]:
    """The options every command takes, new objects each time."""
    return [
        click.Option(
            ["--url"],
            metavar="URL",
            expose_value=False,
            callback=_remember("url"),
            help="The broker.  [env TENURE_URL; default tenure://localhost:7733]",
        ),
        click.Option(
            ["--timeout"],
            metavar="TIME",
            expose_value=False,
            callback=_remember("timeout"),
            help="How long to wait for an answer, such as 5s or 1m.  [default 10s]",
        ),
        click.Option(
            ["-o", "--output"],
            type=click.Choice(OUTPUTS),
            expose_value=False,
            callback=_remember("output"),
            help="Tables for people, JSON for programs.  [env TENURE_OUTPUT; default table]",
        ),
        click.Option(
            ["--no-color"],
            is_flag=True,
            expose_value=False,
            callback=_remember("no_color"),
            help="No colours.  [env NO_COLOR]",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_remember("quiet"),
            help="Only results and errors: no notes, no progress.",
        ),
    ]


class Command(click.Command):
    """A command that also takes the global options, told in one line of its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_hidden(option) for option in global_options())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The epilog, and where the global options are explained."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(
            "Global options work here too: --url, --timeout, -o/--output, --no-color, -q/--quiet"
            " (see tenure --help)."
        )


class Group(click.Group):
    """A group whose commands take the global options; an unknown name gets a suggestion."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_hidden(option) for option in global_options())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named by the first argument."""
        name = args[0]
        if not ctx.resilient_parsing and name[:1] != "-" and self.get_command(ctx, name) is None:
            found = closest(name, self.list_commands(ctx))
            hint = f'; did you mean "{found}"?' if found else ""
            raise click.UsageError(f'no such command "{name}"{hint}', ctx)
        return super().resolve_command(ctx, args)


Group.group_class = Group


class Entry:
    """A command of the root that is imported when it is called or asked for its help."""

    __slots__ = ("help", "module", "variable")

    def __init__(self, target: str, help_line: str) -> None:
        self.module, _, self.variable = target.partition(":")
        self.help = help_line

    def load(self) -> click.Command:
        """The command itself."""
        command = getattr(import_module(self.module), self.variable)
        assert isinstance(command, click.Command)
        return command


class Root(Group):
    """The whole command line: sections of lazily imported commands, and how a run ends."""

    def __init__(
        self, *args: Any, sections: Mapping[str, Mapping[str, Entry]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        shown = [param for param in self.params if not getattr(param, "hidden", False)]
        self.params = [*global_options(), *shown]
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, section by section."""
        return [name for entries in self.sections.values() for name in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        for entries in self.sections.values():
            if cmd_name in entries:
                return entries[cmd_name].load()
        return None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands first: they are what the help is opened for."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The sections, without importing a single command."""
        for title, entries in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])

    def main(self, args: Any = None, prog_name: Any = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run and exit; the only place where errors become text and an exit code."""
        name = prog_name or "tenure"
        if _COMPLETE_VARIABLE in os.environ:
            super().main(args, name, _COMPLETE_VARIABLE, **extra)
        extra.pop("standalone_mode", None)
        sys.exit(_run(self, sys.argv[1:] if args is None else args, name, extra))


def _run(root: click.Command, arguments: Sequence[str], name: str, extra: dict[str, Any]) -> int:
    extra.setdefault("max_content_width", _HELP_COLUMNS_MAX)
    try:
        with root.make_context(name, list(arguments), **extra) as context:
            root.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return Exit.BROKEN_PIPE
    except click.ClickException as error:
        return _end_of_usage(error)
    except Exception as error:
        return _end_of_failure(error)
    return Exit.OK


def _silence_stdout() -> None:
    """Whoever read our output is gone; the interpreter must not complain about it at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _end_of_usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    else:
        message = error.format_message()
        click.echo(f"error: {safe(message[:1].lower() + message[1:].rstrip('.'))}", err=True)
        if context is not None:
            click.echo(f"{context.get_usage()}\nsee: {context.command_path} --help", err=True)
    return error.exit_code


def _end_of_failure(error: Exception) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        import traceback

        traceback.print_exc()
    code = exit_code_of(error)
    if code is None:
        kind = type(error).__name__
        hint = f"please report it; {DEBUG_VARIABLE}=1 shows the traceback"
        click.echo(f"error: unexpected {kind}: {safe(str(error))} ({hint})", err=True)
        return Exit.INTERNAL
    click.echo(f"error: {safe(str(error))}", err=True)
    return code


def _hidden(option: click.Option) -> click.Option:
    option.hidden = True
    return option


def duration_option(name: str, value: str | None) -> int | None:
    """Milliseconds of a duration given on the command line. Raises `CliError` (usage)."""
    from tenure_protocol.durations import duration_ms

    if value is None:
        return None
    milliseconds: int = usage_checked(duration_ms, value, name)
    return milliseconds


def usage_checked(parse: Callable[..., Any], *values: Any) -> Any:
    """`parse(*values)`, with its `ValueError` told as a mistake on the command line."""
    try:
        return parse(*values)
    except ValueError as error:
        raise CliError(str(error), Exit.USAGE) from None
