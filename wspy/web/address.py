"""Where an app listens, who may enter, and what that opens to others."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wspy.errors import BadServer

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Server:
    """Where an app listens and who may enter."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None takes the first free one from 7860 on."""
    share: bool = False
    """Whether gradio's relay gives the app a public address."""
    user: str | None = None
    password: str | None = None

    def check(self) -> None:
        """Refuse half a login.

        Raises:
            BadServer: a user without a password, or the other way round.
        """
        if (self.user is None) != (self.password is None):
            raise BadServer(
                "--user", "a login needs both a user and a password", "give --user, and WSPY_PASSWORD or what is asked"
            )


def server_of_environment() -> Server:
    """What gradio's own variables say, which a hosted Space sets."""
    share = os.environ.get("GRADIO_SHARE", "").lower() == "true"
    return Server(host=os.environ.get("GRADIO_SERVER_NAME") or LOOPBACK[0], share=share)


def exposure(server: Server) -> list[str]:
    """What the settings of a server open to others, in words; nothing for a server on this machine alone."""
    login = "" if server.user else " There is no login: set --user."
    said = []
    if server.host not in LOOPBACK:
        said.append(
            f"Everybody who reaches this machine at {server.host} can use the app: run analyses here, and hear the "
            f"clips of every corpus.{login}"
        )
    if server.share:
        said.append(
            "--share: everybody who has the link can use the app from the internet, through gradio's relay: run "
            f"analyses here, and hear the clips of every corpus.{login}"
        )
    return said
