"""Whose certificates a server may show."""

import os
import re
import ssl
from pathlib import Path
from typing import Final

import httpx

from tollway.errors import ConnectionFailed

PINNED: Final = "TOLLWAY_PINNED_CERTIFICATE"
"""Names a file (PEM): the server must show its first certificate, whatever name that is for."""
_FIRST: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def trust() -> ssl.SSLContext:
    """The public authorities, or those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``; with
    :data:`PINNED` nobody but the holder of that certificate's key.

    Raises :class:`ConnectionFailed` for files that cannot be read.
    """
    pinned = os.environ.get(PINNED)
    if pinned:
        return _pinned(Path(pinned))
    try:
        # On loopback too, where proxies of the environment are not for: SSL_CERT_FILE decides.
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConnectionFailed(
            f"the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}"
        ) from error


def _pinned(file: Path) -> ssl.SSLContext:
    try:
        # Of a chain the leaf alone: its issuer has certified others as well.
        found = _FIRST.search(file.read_text(encoding="ascii"))
        if found is None:
            raise ValueError("there is no certificate in it")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # it is this very certificate, whatever it names
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # and needs no issuer
        context.load_verify_locations(cadata=found[0])
    except (OSError, ValueError) as error:
        raise ConnectionFailed(f"{file}, of {PINNED}, cannot be read: {error}") from error
    return context
