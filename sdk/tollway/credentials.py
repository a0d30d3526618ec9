"""The file that ``tollway login`` writes: where the server is, and the token for it (mode 0600)."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tollway.errors import CredentialsError

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A server and the token for it. Its repr leaves the token out."""

    url: str
    token: str | None = field(default=None, repr=False)


def path() -> Path:
    """``$XDG_CONFIG_HOME/tollway/credentials.json``, by default below ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(base) if base else Path.home() / ".config"
    return folder / "tollway" / "credentials.json"


def load() -> Credentials | None:
    """What ``tollway login`` stored; None when nobody has logged in."""
    file = path()
    try:
        return msgspec.json.decode(file.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not valid"
        raise CredentialsError(f"{file}: {reason} - run `tollway login URL` again") from error


def save(credentials: Credentials) -> Path:
    """Store ``credentials`` for later calls; readers see the old file or the new one."""
    file = path()
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(msgspec.json.encode(credentials))
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CredentialsError(f"cannot write {file}: {error.strerror}") from error
    return file


def forget() -> bool:
    """Remove what ``tollway login`` stored. Returns whether there was anything."""
    file = path()
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CredentialsError(f"cannot remove {file}: {error.strerror}") from error
    return True


def resolve(url: str | None, token: str | None) -> Credentials:
    """Arguments first, then TOLLWAY_URL and TOLLWAY_TOKEN, then the file.

    A stored token is used for the server that it was stored for only, so that pointing the client
    elsewhere never sends it there.
    """
    given_url = url or os.environ.get("TOLLWAY_URL") or None
    given_token = token or os.environ.get("TOLLWAY_TOKEN") or None
    if given_url and given_token:
        return Credentials(_clean(given_url), given_token.strip())
    stored = load()
    chosen = _clean(given_url or (stored.url if stored else DEFAULT_URL))
    if given_token is None and stored is not None and _clean(stored.url) == chosen:
        given_token = stored.token
    return Credentials(chosen, given_token.strip() if given_token else None)


def _clean(url: str) -> str:
    if "://" not in url:
        url = f"http://{url}"
    return url.rstrip("/")
