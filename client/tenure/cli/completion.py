"""`tenure completion`: the script that teaches a shell the commands, and names it completes."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from tenure.cli.commands import Command, session_of
from tenure.cli.session import Session

SHELLS = ("bash", "zsh", "fish")
_TIMEOUT_S = 0.5

_EPILOG = """\
\b
  bash:  echo 'eval "$(tenure completion bash)"' >> ~/.bashrc
  zsh:   echo 'eval "$(tenure completion zsh)"'  >> ~/.zshrc
  fish:  tenure completion fish > ~/.config/fish/completions/tenure.fish
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    Queue names are completed too: the broker at TENURE_URL is asked, for half a second
    at most.
    """
    maker = get_completion_class(shell)
    assert maker is not None, f"Click knows {shell}"
    root = context.find_root().command
    click.echo(maker(root, {}, "tenure", "_TENURE_COMPLETE").source())


def queue_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The queues that begin with what was typed; none when no broker answers."""
    session = context.find_object(Session) or session_of(context)
    try:
        client = session.open_client(session.broker_url, _TIMEOUT_S, False)
        try:
            found = client.queues(prefix=incomplete)
            return [CompletionItem(info.name) for info in found]
        finally:
            client.close()
    except Exception:
        # Whatever is wrong, a shell waiting for a completion is no place to say so.
        return []
