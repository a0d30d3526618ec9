"""Who makes a request: management tokens (Bearer) and the cluster token. Knows no web framework."""

from pathlib import Path

import anyio.to_thread
from anyio import CapacityLimiter

from control.identity.failed_logins import FailedLogins
from control.identity.issuer_tokens import IssuerTokens
from control.identity.oidc import claims_of
from control.store.credentials import Credential, Credentials
from control.store.federated import Federated
from control.store.tokens import ADMIN, Tokens
from protocol import keys
from protocol.errors import Code, TollwayError
from registry.access import Actor, Role
from runtime.files import write_atomically

_BY_ISSUER = "credential of an issuer"
_SCHEME = b"bearer "
UNAUTHENTICATED = (
    "a management token is needed: send 'Authorization: Bearer TOKEN' with one that is valid "
    "(log in with POST /api/v1/sessions; the first start wrote an admin token to admin.token in "
    "the data directory)"
)


class Authenticator:
    """Knows the holder of a management token, a session or an issuer's token."""

    def __init__(
        self,
        credentials: Credentials,
        pepper: bytes,
        failed: FailedLogins,
        tokens: IssuerTokens,
        federated: Federated,
    ) -> None:
        self._credentials = credentials
        self._pepper = pepper
        self._failed = failed
        self._tokens = tokens
        self._federated = federated

    async def identify(self, authorization: bytes | None, threads: CapacityLimiter) -> Credential:
        """The credential that the ``Authorization`` header holds, or ``UNAUTHENTICATED``.

        ``threads`` are those that ask the database.
        """
        secret = bearer(authorization)
        if secret is None or b"." not in secret:
            return await anyio.to_thread.run_sync(self.authenticate, authorization, limiter=threads)
        try:
            token = await self._tokens.verified(secret)
        except TollwayError:
            await anyio.to_thread.run_sync(self._failed.note, _BY_ISSUER, limiter=threads)
            raise
        claims = claims_of(token)
        if claims is None:
            raise TollwayError(
                Code.UNAUTHENTICATED, "the token is valid, but gives its holder no role here"
            )
        found = await anyio.to_thread.run_sync(
            self._federated.holder, claims, token.application, limiter=threads
        )
        if found is None:
            await anyio.to_thread.run_sync(self._failed.note, _BY_ISSUER, limiter=threads)
            raise TollwayError(Code.UNAUTHENTICATED, "the token's holder is not let in here")
        return found

    async def stands(self, authorization: bytes) -> bool:
        """Whether the credential that :meth:`identify` has known has not ended since. To ask is no
        attempt to log in."""
        secret = bearer(authorization) or b""
        if b"." not in secret:
            hash = keys.secret_hash(secret, self._pepper)
            return await anyio.to_thread.run_sync(self._credentials.find, hash) is not None
        try:
            await self._tokens.verified(secret)
        except TollwayError as error:
            return error.code is not Code.UNAUTHENTICATED
        return True

    def authenticate(self, authorization: bytes | None) -> Credential:
        """As :meth:`identify`, of the secrets that this installation has made. Blocks."""
        secret = bearer(authorization)
        # The checksum is tested before any look-up: noise costs no query.
        if secret is None or not keys.well_formed(secret):
            raise TollwayError(Code.UNAUTHENTICATED, UNAUTHENTICATED)
        found = self._credentials.find(keys.secret_hash(secret, self._pepper))
        if found is None:
            self._failed.note("management token or session")
            raise TollwayError(Code.UNAUTHENTICATED, UNAUTHENTICATED)
        return found


def authorise(actor: Actor, roles: tuple[Role, ...]) -> Actor:
    """``actor`` when its role is one of ``roles``, else ``FORBIDDEN``."""
    if actor.role not in roles:
        needed = " or ".join(roles)
        raise TollwayError(Code.FORBIDDEN, f"this needs the role {needed}; yours is {actor.role}")
    return actor


def bearer(authorization: bytes | None) -> bytes | None:
    """The credential of a ``Bearer`` header; None for no or another scheme."""
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return authorization[len(_SCHEME) :].strip() or None


def ensure_admin_token(path: Path, tokens: Tokens, pepper: bytes) -> None:
    """Make the token in ``path`` the admin token, writing a new one (mode 0600) where none is.

    Replacing the file's content and starting again rotates it: the earlier one ends everywhere.
    """
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = keys.generate("admin").encode()
        write_atomically(path, secret + b"\n", 0o600)
    if not keys.well_formed(secret):
        raise TollwayError(
            Code.INVALID, f"{path} does not hold a management token; delete it to get a new one"
        )
    tokens.put(ADMIN, keys.secret_hash(secret, pepper), "admin", ADMIN)
