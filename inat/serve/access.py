"""Who may read the pages: on loopback the browsers of this machine, elsewhere who has the token."""

import ipaddress
import secrets
from collections.abc import Mapping
from http.cookies import SimpleCookie

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"  # in the address
COOKIE = "inat_serve"
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Nothing is loaded from elsewhere. Plotly compiles its drawing functions and sets styles itself.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
}  # fmt: skip
NO_TOKEN = "This page needs the token of its server. Open the address that `inat serve` printed, with ?token=...\n"
OTHER_NAME = "This server answers to 127.0.0.1 and localhost only. Open the address that `inat serve` printed.\n"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """Passes on only what may be answered, and adds the headers of every answer.

    With a ``token``, a request needs it, in its address or in the cookie that the first answer set. ``local_only``: the
    server listens on loopback, and refuses other names in the header Host: a page from elsewhere that gave its own name
    the address 127.0.0.1 could read the answers. ``cookie`` differs between servers of one machine, as cookies ignore
    ports.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, local_only: bool, port: int) -> None:
        self.app, self.token, self.local_only = app, token, local_only
        self.cookie = f"{COOKIE}_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = QueryParams(scope["query_string"]).get(TOKEN)
        if self.local_only and _name_of(headers.get("host", "")) not in LOCAL_NAMES:
            await PlainTextResponse(OTHER_NAME, 403)(scope, receive, self._with_headers(send))
        elif self.token is not None and not (self._fits(given) or self._fits(self._cookie_of(headers))):
            await PlainTextResponse(NO_TOKEN, 403)(scope, receive, self._with_headers(send))
        else:
            await self.app(scope, receive, self._with_headers(send, remember=self._fits(given)))

    def _fits(self, given: str | None) -> bool:
        if self.token is None or given is None:
            return False
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _cookie_of(self, headers: Mapping[str, str]) -> str | None:
        found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        return found.value if found else None

    def _with_headers(self, send: Send, remember: bool = False) -> Send:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if remember:
                    headers.append("Set-Cookie", f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        return send_more


def _name_of(host: str) -> str:
    """The header Host without its port, which a forwarded connection changes."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()
