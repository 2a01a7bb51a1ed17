"""The room in a browser of this machine: textual-serve draws it, and this decides who may ask for it.

Loopback is not private: every page that is open in the browser, and every user of the machine, can reach it. So a
request must name this server as its host (a foreign name that resolves to 127.0.0.1 is not it), must not come from
another page, and must know a secret that only whoever started the server was told.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import shlex
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from textual_serve.server import Server

HOST = "127.0.0.1"
"""Never another: what is shown, and with actions what is done, is this person's."""
TOKEN_BYTES = 32
LEAVE_S = 5.0
"""For the rooms to close when the server ends. A room ends by itself a second after its server is gone."""
_NAMES = (HOST, "localhost")
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the secret
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RoomServer(Server):
    """Serves rooms, each a process of its own that ends with its page."""

    def __init__(self, argv: Sequence[str], port: int, *, max_sessions: int) -> None:
        """A server that answers nobody yet.

        Args:
            argv: the command of a room.
            port: where it will listen.
            max_sessions: rooms at a time; one more is refused.
        """
        # textual-serve asks a shell for it: quoted, and replaced by the room, so that none is in between
        super().__init__(f"exec {shlex.join(argv)}", HOST, port, title="lvm-tui", public_url=f"http://{HOST}:{port}")
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._hosts = {f"{name}:{port}" for name in _NAMES}
        self._max_sessions = max_sessions
        self._sessions: set[asyncio.Task[object]] = set()
        sockets = " ".join(f"ws://{host}" for host in sorted(self._hosts))
        # its page has inline scripts and asks a font of a stranger, who need not know
        self._policy = (
            "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data:; font-src 'self' data:; connect-src 'self' {sockets}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    @property
    def url(self) -> str:
        """The address to open; whoever has it has the room."""
        return f"{self.public_url}/{self.token}/"

    async def make_app(self) -> web.Application:
        """The application: everything of textual-serve below the secret, and the guard before it."""
        app = web.Application(middlewares=[self._guard])
        app.add_subapp(f"/{self.token}", await self._make_app())
        app.on_response_prepare.append(self._add_headers)
        return app

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A room of its own for a page, while there is room for one more."""
        if len(self._sessions) >= self._max_sessions:
            raise web.HTTPServiceUnavailable(text=f"there are {self._max_sessions} rooms open already: close one\n")
        session = asyncio.current_task()
        assert session is not None
        self._sessions.add(session)
        try:
            return await super().handle_websocket(request)
        finally:
            self._sessions.discard(session)

    async def on_startup(self, app: web.Application) -> None:
        """Say nothing: the verb tells the address."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Close every room, and wait for it."""
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=LEAVE_S)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer only this machine's own page that knows the secret."""
        if request.headers.get("Host") not in self._hosts:
            raise web.HTTPForbidden(text="this server has another name\n")
        origin = request.headers.get("Origin")
        is_own = origin in {f"http://{host}" for host in self._hosts}
        if not is_own and (origin is not None or "Upgrade" in request.headers):
            raise web.HTTPForbidden(text="another page's request\n")
        token = request.path.split("/")[1]
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise web.HTTPForbidden(text="the address printed by `lvm-tui serve` is needed, with its secret\n")
        return await handler(request)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = self._policy


def serve_rooms(argv: Sequence[str], port: int, *, max_sessions: int, tell: Callable[[str], None]) -> None:
    """Serve until interrupted (Ctrl+C, SIGTERM); every room that is open then is closed.

    Args:
        argv: the command of a room.
        port: where to listen; 0 for any that is free.
        max_sessions: rooms at a time.
        tell: is given the address once it can be opened.

    Raises:
        OSError: the port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(16)
        server = RoomServer(argv, listener.getsockname()[1], max_sessions=max_sessions)
        tell(server.url)
        # no access log: the addresses in it would hold the secret
        web.run_app(server.make_app(), sock=listener, print=None, access_log=None, shutdown_timeout=LEAVE_S)
