"""Fetches a JWK set over HTTP, with a deadline and a bound, from where it may be fetched."""

import asyncio
import ipaddress
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from protocol.errors import Code, TollwayError

MAX_BODY_BYTES: Final = 256 << 10
MAX_URI: Final = 2048
_HEADERS: Final = {
    "Accept": "application/jwk-set+json, application/json",
    # What is not compressed cannot grow.
    "Accept-Encoding": "identity",
    "User-Agent": "tollway",
}
_OK: Final = 200


class JwksError(Exception):
    """No key set was to be had; the message says why."""


def check_uri(uri: str, *, allow_http: bool) -> str:
    """Return ``uri`` when keys may be fetched there; raise ``INVALID`` otherwise.

    Keys decide who is let in, so they come by ``https``: from this machine itself, or where
    ``allow_http`` says so, by ``http`` too.
    """
    parsed = _parsed(uri)
    if parsed is None:
        raise TollwayError(
            Code.INVALID, "jwks_uri: not an https URL: give the address of the issuer's key set"
        )
    if parsed.userinfo or parsed.fragment:
        raise TollwayError(Code.INVALID, "jwks_uri: there must be no credentials and no fragment")
    if _is_open(parsed, allow_http=allow_http):
        raise TollwayError(
            Code.INVALID,
            "jwks_uri: it must be https: keys that come by http can be exchanged on their way "
            "(TOLLWAY_JWKS_ALLOW_HTTP=true takes them all the same)",
        )
    return uri


def check_issuer(issuer: str, *, allow_http: bool) -> str:
    """Return ``issuer`` when it can be one (OpenID Connect Core 1.0, 2: an https URL without query
    and fragment), and by ``http`` as :func:`check_uri`; raise ``INVALID`` otherwise."""
    parsed = _parsed(issuer)
    if parsed is None:
        raise TollwayError(
            Code.INVALID,
            "issuer: not an https URL: give the exact iss of its tokens, such as "
            "https://login.example/realms/shop",
        )
    if parsed.userinfo or "?" in issuer or "#" in issuer:
        raise TollwayError(
            Code.INVALID, "issuer: there must be no credentials, no query and no fragment"
        )
    if _is_open(parsed, allow_http=allow_http):
        raise TollwayError(
            Code.INVALID,
            "issuer: it must be https, but for an issuer on this machine "
            "(TOLLWAY_JWKS_ALLOW_HTTP=true takes it all the same)",
        )
    return issuer


def _is_open(parsed: httpx.URL, *, allow_http: bool) -> bool:
    """Whether what is said there could be exchanged on its way, and nobody has allowed that."""
    return parsed.scheme == "http" and not (allow_http or _is_loopback(parsed.host))


def _parsed(uri: str) -> httpx.URL | None:
    """None: it is no URL of the web."""
    try:
        urlsplit(uri)  # takes no unfinished IPv6 address, which the other lets through
        parsed = httpx.URL(uri)
    except (httpx.InvalidURL, ValueError):
        return None
    known = parsed.scheme in {"http", "https"} and parsed.host and " " not in uri
    return parsed if known and len(uri) <= MAX_URI else None


class JwksClient:
    """Fetches key sets. Redirects are not followed: a set is where its issuer's document says."""

    def __init__(
        self, *, timeout_s: float, allow_http: bool = False, ca_file: Path | None = None
    ) -> None:
        """``timeout_s`` bounds a fetch as a whole; ``ca_file`` (PEM) replaces the public CAs."""
        self._timeout_s = timeout_s
        self._allow_http = allow_http
        self._ca_file = ca_file
        self._clients: dict[str, httpx.AsyncClient] = {}
        """By scheme."""
        self._making = asyncio.Lock()

    async def fetch(self, uri: str) -> bytes:
        """The body at ``uri``. Raises :class:`JwksError`."""
        try:
            check_uri(uri, allow_http=self._allow_http)
            client = await self._opened(httpx.URL(uri).scheme)
            async with asyncio.timeout(self._timeout_s):
                return await _get(client, uri)
        except TollwayError as error:
            raise JwksError(error.public) from None
        except TimeoutError:
            raise JwksError(f"no answer within {self._timeout_s} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise JwksError(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _opened(self, scheme: str) -> httpx.AsyncClient:
        async with self._making:
            if scheme not in self._clients:
                self._clients[scheme] = httpx.AsyncClient(
                    verify=await asyncio.to_thread(_tls, scheme, self._ca_file),
                    headers=_HEADERS,
                    timeout=self._timeout_s,
                    # Fetches are minutes apart. A connection that idles in between keeps an
                    # endpoint of few connections from serving the other gateways and control.
                    limits=httpx.Limits(max_keepalive_connections=0),
                    follow_redirects=False,
                    trust_env=False,
                )
            return self._clients[scheme]


async def _get(client: httpx.AsyncClient, uri: str) -> bytes:
    async with client.stream("GET", uri) as response:
        if response.status_code != _OK:
            raise JwksError(f"answered with status {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise JwksError("answered with a compressed body, which was not asked for")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise JwksError(f"answered with more than {MAX_BODY_BYTES} bytes")
        return bytes(body)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """By which an issuer's servers are checked: against the public CAs, or those in ``ca_file``
    (PEM). Reads files: tens of milliseconds, so not on an event loop. Raises ``OSError``."""
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    return ssl.create_default_context(cafile=str(ca_file))


def _tls(scheme: str, ca_file: Path | None) -> ssl.SSLContext:
    if scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and is not used
    return tls_context(ca_file)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
