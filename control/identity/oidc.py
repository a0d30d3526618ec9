"""Login through an identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE
(RFC 7636), as RFC 9700 wants it. Knows no web framework."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

import anyio.to_thread
import httpx
import msgspec

from control.identity.failed_logins import FailedLogins
from control.identity.issuer_tokens import IssuerTokens
from control.identity.login import Origin
from control.identity.resources import NewSession
from control.identity.roles import role_named
from control.settings import ControlSettings
from control.store.federated import Claims, Federated
from control.store.issuers import Issuers
from control.store.logins import LoginStore
from policies.jwt.fetch import check_uri, tls_context
from policies.jwt.refusals import TokenError
from policies.jwt.verifier import VerifiedToken
from protocol.errors import Code, TollwayError
from runtime.logs import logger

TIMEOUT_S: Final = 5.0
DISCOVERY_S: Final = 600.0
"""How long a provider's own description is believed without asking again."""
MAX_ANSWER_BYTES: Final = 256 << 10
MAX_CODE: Final = 4096
REFUSED: Final = "the login did not work: begin again at the login address"
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


class Beginning(NamedTuple):
    """Where the browser goes, and the cookie by which it is known when it comes back."""

    url: str
    cookie: str


class _Provider(msgspec.Struct, frozen=True):
    """What is needed of the discovery document (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str = ""


class OidcLogins:
    """Sends browsers to the provider and takes them back. Lives on one event loop."""

    def __init__(
        self,
        settings: ControlSettings,
        issuers: Issuers,
        tokens: IssuerTokens,
        federated: Federated,
        logins: LoginStore,
        failed: FailedLogins,
        pepper: bytes,
    ) -> None:
        self._settings = settings
        self._issuers = issuers
        self._tokens = tokens
        self._federated = federated
        self._logins = logins
        self._failed = failed
        self._key = hmac.digest(pepper, b"oidc-logins", "sha256")
        self._providers: dict[str, tuple[float, _Provider]] = {}

    async def begin(self, issuer: str) -> Beginning:
        """A login through ``issuer``. ``NOT_FOUND`` where none is set up for it."""
        client_id, iss = await self._client(issuer)
        provider = await self._provider(iss)
        state, cookie = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        await anyio.to_thread.run_sync(self._federated.begin, state, issuer, cookie)
        challenge = hashlib.sha256(self._derived("verifier", state, cookie).encode()).digest()
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self._redirect_uri(issuer),
            "scope": "openid profile email",
            "state": state,
            "nonce": self._derived("nonce", state, cookie),
            "code_challenge": _base64url(challenge),
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in provider.authorization_endpoint else "?"
        return Beginning(f"{provider.authorization_endpoint}{separator}{urlencode(query)}", cookie)

    async def finish(
        self, issuer: str, query: Mapping[str, str], cookie: str, origin: Origin
    ) -> NewSession:
        """The session of whom the provider sends back, or ``UNAUTHENTICATED``.

        The user is made at their first login. Every refusal is audited.
        """
        try:
            return await self._finish(issuer, query, cookie, origin)
        except TollwayError as error:
            if error.code in (Code.UNAUTHENTICATED, Code.FORBIDDEN):
                what = "login through an issuer"
                await anyio.to_thread.run_sync(self._failed.note, what)
            raise

    async def _finish(
        self, issuer: str, query: Mapping[str, str], cookie: str, origin: Origin
    ) -> NewSession:
        client_id, iss = await self._client(issuer)
        state, code = query.get("state", ""), query.get("code", "")
        under_way = await anyio.to_thread.run_sync(self._federated.take, state, issuer, cookie)
        # RFC 9207: an answer of another issuer is no answer to this login.
        if not under_way or query.get("iss", iss) != iss or not 0 < len(code) <= MAX_CODE:
            raise TollwayError(Code.UNAUTHENTICATED, REFUSED)
        verifier = self._derived("verifier", state, cookie)
        id_token = await self._exchange(issuer, iss, client_id, code, verifier)
        try:
            token = await self._tokens.verified(id_token.encode())
        except TokenError as error:
            raise TollwayError(Code.UNAUTHENTICATED, REFUSED, error.public) from None
        nonce = self._derived("nonce", state, cookie)
        if token.issuer != issuer or not _is_for(token, client_id, nonce):
            raise TollwayError(Code.UNAUTHENTICATED, REFUSED, "the ID token is for another login")
        claims = claims_of(token)
        if claims is None:
            raise TollwayError(
                Code.FORBIDDEN, f"the issuer {issuer!r} gives this account no role here"
            )
        user = await anyio.to_thread.run_sync(self._federated.put, claims)
        session = await anyio.to_thread.run_sync(
            self._logins.begin, user.name, origin.address, origin.agent, f"oidc {issuer}"
        )
        if session is None:
            raise TollwayError(Code.FORBIDDEN, "this account is disabled")
        return session

    async def _client(self, issuer: str) -> tuple[str, str]:
        """Our id at the provider, and its ``iss``."""
        client_id = self._settings.oidc_client_ids.get(issuer)
        if client_id is None or not self._settings.public_url:
            raise TollwayError(
                Code.NOT_FOUND, "there is no login through an issuer of this name here"
            )
        found = await anyio.to_thread.run_sync(self._issuers.get, issuer)
        return client_id, found.issuer

    def _redirect_uri(self, issuer: str) -> str:
        base = self._settings.public_url.rstrip("/")
        return f"{base}/api/v1/oidc/{issuer}/callback"

    def _derived(self, use: str, state: str, cookie: str) -> str:
        """A secret of this login that nobody has to store."""
        text = f"{use}\0{state}\0{cookie}".encode()
        return _base64url(hmac.digest(self._key, text, "sha256"))

    async def _provider(self, iss: str) -> _Provider:
        known = self._providers.get(iss)
        now = time.monotonic()
        if known is not None and now - known[0] < DISCOVERY_S:
            return known[1]
        url = iss.rstrip("/") + "/.well-known/openid-configuration"
        body = await self._ask("GET", url)
        try:
            provider = msgspec.json.decode(body, type=_Provider)
        except msgspec.DecodeError as error:
            raise _away("its description is not one", repr(error)) from None
        if provider.issuer != iss:  # Discovery 1.0, 4.3
            raise _away("it describes itself as another", provider.issuer[:200])
        self._check(provider.authorization_endpoint)
        self._providers[iss] = (now, provider)
        return provider

    async def _exchange(
        self, issuer: str, iss: str, client_id: str, code: str, verifier: str
    ) -> str:
        provider = await self._provider(iss)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri(issuer),
            "client_id": client_id,
            "code_verifier": verifier,
        }
        path = self._settings.oidc_client_secret_files.get(issuer)
        secret = None if path is None else await anyio.to_thread.run_sync(_secret, path)
        # RFC 6749, 2.3.1: both are form-encoded before they go into the header.
        auth = None if secret is None else (quote(client_id, safe=""), quote(secret, safe=""))
        body = await self._ask("POST", provider.token_endpoint, form, auth)
        try:
            return msgspec.json.decode(body, type=_Tokens).id_token
        except msgspec.DecodeError as error:
            raise _away("its tokens are not readable", type(error).__name__) from None

    def _check(self, url: str) -> None:
        try:
            check_uri(url, allow_http=self._settings.jwks_allow_http)
        except TollwayError:
            raise _away("one of its addresses is not https", url[:200]) from None

    async def _ask(
        self,
        method: str,
        url: str,
        form: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> bytes:
        self._check(url)
        context = await anyio.to_thread.run_sync(tls_context, self._settings.jwks_ca_file)
        try:
            async with (
                httpx.AsyncClient(
                    verify=context,
                    timeout=TIMEOUT_S,
                    trust_env=False,
                    follow_redirects=False,
                    headers=_HEADERS,
                ) as client,
                client.stream(method, url, data=form, auth=auth) as response,
            ):
                body = bytearray()
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise _away("its answer is too large", url[:200])
        except httpx.HTTPError as error:
            raise _away("it does not answer", type(error).__name__) from None
        if response.status_code in (400, 401, 403) and method == "POST":
            logger("oidc").warning("the provider refuses the code", status=response.status_code)
            raise TollwayError(Code.UNAUTHENTICATED, REFUSED)
        if not response.is_success:
            raise _away("it answers with an error", f"status {response.status_code}")
        return bytes(body)


def claims_of(token: VerifiedToken) -> Claims | None:
    """What the token says of its holder; None when they manage nothing."""
    role = None if token.role is None else role_named(token.role)
    if role is None or not token.subject:
        return None
    email = _text(token, "email")
    return Claims(
        issuer=token.issuer,
        subject=token.subject,
        role=role,
        title=_text(token, "name"),
        email=email if 0 < len(email) <= 254 and email.count("@") == 1 else None,  # noqa: PLR2004 -- RFC 5321
        wished_name=_text(token, "preferred_username") or email or token.subject,
    )


def _is_for(token: VerifiedToken, client_id: str, nonce: str) -> bool:
    """Whether an ID token is for this client and this login (Core 1.0, 3.1.3.7)."""
    audience = token.claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    party = token.claims.get("azp", client_id)
    said = token.claims.get("nonce")
    return (
        client_id in named
        and party == client_id
        and isinstance(said, str)
        and hmac.compare_digest(said.encode(), nonce.encode())
    )


def _text(token: VerifiedToken, claim: str) -> str:
    value = token.claims.get(claim)
    return value if isinstance(value, str) and value.isprintable() else ""


def _away(what: str, internal: str) -> TollwayError:
    return TollwayError(
        Code.UNAVAILABLE, f"the identity provider cannot be used now: {what}", internal
    )


def _secret(path: Path) -> str:
    return path.read_text().strip()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
