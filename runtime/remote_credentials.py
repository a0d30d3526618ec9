"""Credentials for remote model servers: files beside the roles, never in the database.

A version names a credential; the file of that name says what is sent, and where it may be sent::

    {"origins": ["https://models.example.com"], "token": "SECRET"}
    {"origins": ["https://models.example.com:8443"], "header": "X-API-Key", "value": "SECRET",
     "models": ["credit-risk"]}

``token`` goes as ``Authorization: Bearer``. ``origins`` are those who may see the secret: whoever
registers a version chooses its URL, and must not thereby choose who gets to know it. ``models``
restricts the credential to versions of these models; absent: all.
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import msgspec

from protocol.errors import Code, TollwayError
from protocol.manifest import Remote
from protocol.names import NAME_PATTERN
from runtime.targets import PORTS

MAX_FILE_BYTES: Final = 64 << 10
_NAME: Final = re.compile(NAME_PATTERN)
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_FRAMING: Final = frozenset(
    {
        "accept", "accept-encoding", "connection", "content-encoding", "content-length",
        "content-type", "expect", "host", "inference-header-content-length", "keep-alive",
        "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that say what a message is; a credential must not change that."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    origins: list[str]
    token: str = ""
    header: str = ""
    value: str = ""
    models: list[str] | None = None


class Secret(msgspec.Struct, frozen=True):
    """A header that proves who we are. Its ``repr`` does not tell the value."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, ...)"


ReadSecret = Callable[[str, Remote], Secret | None]
"""``read(model, remote)``: see :meth:`RemoteCredentials.secret`."""


class RemoteCredentials:
    """The credentials in one folder. Read anew each time: a file may be replaced at any moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def secret(self, model: str, remote: Remote) -> Secret | None:
        """What versions of ``model`` send to ``remote``; None where it names no credential.

        Raises ``INVALID`` with the reason for a credential that is not there, that others than
        its owner can read, or that is not meant for this server or model. Reads a file.
        """
        name = remote.credential
        if not name:
            return None
        if _NAME.fullmatch(name) is None:
            raise _unusable(name, "is not a name: use 1 to 63 of a-z, 0-9 and '-'")
        found = self._read(name)
        if _origin(remote.url) not in {_origin(text) for text in found.origins}:
            raise _unusable(name, f"is not meant for {_shown(remote.url)}: see its 'origins'")
        if found.models is not None and model not in found.models:
            raise _unusable(name, f"is not meant for model {model!r}: see its 'models'")
        header, value = _header_of(name, found)
        return Secret(header, value)

    def _read(self, name: str) -> _File:
        path = self._folder / name
        try:
            with path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise _unusable(name, "can be read by others: chmod 600 its file")
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise _unusable(
                name,
                "is not there: put its file into the folder of TOLLWAY_REMOTE_CREDENTIALS_DIR, "
                "beside control and every gateway",
                f"{path}: {error.strerror}",
            ) from None
        try:
            if len(data) > MAX_FILE_BYTES:
                raise ValueError
            return msgspec.json.decode(data, type=_File)
        except ValueError:  # msgspec's errors are ValueErrors; their text might quote the secret
            raise _unusable(
                name,
                'has a file that is not {"origins": [...], "token": "..."} or '
                '{"origins": [...], "header": "...", "value": "..."}',
            ) from None


def _header_of(name: str, file: _File) -> tuple[str, str]:
    if bool(file.token) == bool(file.header and file.value):
        raise _unusable(name, "needs either 'token', or 'header' and 'value'")
    header = file.header or "Authorization"
    value = f"Bearer {file.token}" if file.token else file.value
    if _HEADER.fullmatch(header) is None or header.lower() in _FRAMING:
        raise _unusable(name, "has a 'header' that no credential can be sent in")
    if _VALUE.fullmatch(value) is None:
        raise _unusable(name, "has a character that no header can hold")
    return header, value


def _origin(text: str) -> tuple[str, bytes, int] | None:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        return None
    if url.scheme not in PORTS or not url.raw_host:
        return None
    return url.scheme, url.raw_host, url.port or PORTS[url.scheme]


def _shown(text: str) -> str:
    url = httpx.URL(text)
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _unusable(name: str, why: str, internal: str = "") -> TollwayError:
    return TollwayError(Code.INVALID, f"the credential {name[:80]!r} {why}", internal)
