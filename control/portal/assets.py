"""What browsers load beside pages: read once, served under a name that changes with the content."""

import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

PREFIX: Final = "/portal/assets"
FOLDER: Final = Path(__file__).parent / "assets"
FOREVER: Final = "public, max-age=31536000, immutable"
DIGITS: Final = 12
_SERVED: Final = frozenset({".css", ".js", ".svg"})


class Asset(msgspec.Struct, frozen=True):
    """A file as it is served."""

    name: str
    media_type: str
    content: bytes
    packed: bytes
    """The content under gzip."""
    digest: str

    @property
    def url(self) -> str:
        """Where it is: another content has another address, so it may be kept forever."""
        return f"{PREFIX}/{self.digest}/{self.name}"


@cache
def assets() -> dict[str, Asset]:
    """Every asset by its name."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _SERVED}


def asset_url(name: str) -> str:
    """The address of an asset. Raises ``KeyError`` for one that there is not."""
    return assets()[name].url


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(
        name=path.name,
        media_type="text/javascript" if path.suffix == ".js" else kind,
        content=content,
        packed=gzip.compress(content, mtime=0),
        digest=hashlib.sha256(content).hexdigest()[:DIGITS],
    )
