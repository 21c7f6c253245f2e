"""Who may ask: a token where the address is not this machine's own, and no page of other sites.

What belongs here: the decision on a request. What does not: answering one (`application.py`).
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from tickhandler_dagster.market.errors import InvalidInput

OPEN_PATHS = frozenset({"/health"})
"""What a supervisor's probe asks, which seldom can send a token: a verdict without data."""

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Only this machine reaches the address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_token_beyond_loopback(host: str, token: str | None) -> None:
    """Refuse to open an address of the network to anybody.

    Raises:
        InvalidInput: other machines reach the address and there is no token.
    """
    if not token and not is_loopback(host):
        raise InvalidInput(
            "address",
            "is reached from other machines and there is no token",
            was=host,
            expected="127.0.0.1, or a token",
            remedy="Set a token, or serve on 127.0.0.1",
        )


def guard(token: str | None) -> Middleware:
    """The middleware that answers 401 and 403.

    A browser lets any page open a WebSocket to any address, loopback included, and a name of
    somebody else's can be made to point at it: so a request that a page of another origin made is
    refused, and without a token so is one under a name that is not this machine's.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="Pages of other origins may not read from here.\n")
        if token is None:
            if urlsplit(f"//{request.host}").hostname not in _LOCAL_NAMES:
                raise web.HTTPForbidden(text="Without a token this is for localhost alone.\n")
        elif request.path not in OPEN_PATHS and not _has_token(request, token):
            raise web.HTTPUnauthorized(
                text="The token is missing or wrong: send `Authorization: Bearer <token>` or "
                "`?token=<token>`.\n",
                headers={hdrs.WWW_AUTHENTICATE: "Bearer"},
            )
        return await handler(request)

    return check


def _has_token(request: web.Request, token: str) -> bool:
    kind, _, sent = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if kind.lower() != "bearer":
        sent = request.query.get("token", "")
    return hmac.compare_digest(sent.strip().encode(), token.encode())
