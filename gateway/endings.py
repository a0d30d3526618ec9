"""What every answer of a version that ends says of that: ``Deprecation``, ``Sunset``, ``Link``."""

from email.utils import formatdate

from gateway.answer import Headers
from protocol.configuration import DeprecationDoc


class EndingHeaders:
    """Makes the headers of each document once. Holds no more than there are such versions."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int], tuple[DeprecationDoc, Headers]] = {}

    def of(self, model: str, number: int, deprecation: DeprecationDoc | None) -> Headers:
        """The headers for answers of the version; none for one that does not end."""
        if deprecation is None:
            return []
        made = self._made.get((model, number))
        if made is None or made[0] is not deprecation:
            made = deprecation, ending_headers(model, deprecation)
            self._made[model, number] = made
        return made[1]


def ending_headers(model: str, deprecation: DeprecationDoc) -> Headers:
    """``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594), and ``Link`` to the successor (RFC 5829).

    The link leads to the successor's metadata, in the one path that both protocols' clients can
    read.
    """
    headers: Headers = [(b"deprecation", b"@%d" % deprecation.since)]
    if deprecation.sunset is not None:
        headers.append((b"sunset", formatdate(deprecation.sunset, usegmt=True).encode()))
    if deprecation.successor is not None:
        target = f'</v2/models/{model}/versions/{deprecation.successor}>; rel="successor-version"'
        headers.append((b"link", target.encode()))
    return headers
