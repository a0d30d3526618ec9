"""Web origins and networks as operators write them, checked and in one spelling. Pure."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

MAX_ORIGINS: Final = 50
MAX_NETWORKS: Final = 100
MAX_ORIGIN_CHARACTERS: Final = 300
_ORIGIN = re.compile(r"(https?)://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65_535


def origin(text: str) -> str:
    """A web origin as browsers send it in ``Origin`` (RFC 6454): lower case, no default port.

    Raises ``ValueError`` for anything but ``http(s)://host[:port]``; there is no wildcard.
    """
    shown = text[:80]
    found = _ORIGIN.fullmatch(text.lower()) if len(text) <= MAX_ORIGIN_CHARACTERS else None
    if found is None:
        raise ValueError(
            f"'{shown}' is not an origin: write https://host or https://host:port, without a path, "
            "a wildcard, or letters outside of ASCII"
        )
    scheme, host, port = found[1], found[2], found[4]
    if ".." in host:
        raise ValueError(f"'{shown}' is not an origin: two dots follow each other in its host")
    if host.startswith("["):
        host = f"[{_address(host[1:-1], shown)}]"
    if port is None:
        return f"{scheme}://{host}"
    number = int(port)
    if not 0 < number <= _MAX_PORT:
        raise ValueError(f"'{shown}' is not an origin: there is no port {port}")
    return f"{scheme}://{host}" + ("" if number == _DEFAULT_PORTS[scheme] else f":{number}")


def _address(text: str, shown: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError(f"'{shown}' is not an origin: its address is not valid") from None


def network(text: str) -> str:
    """A network in CIDR notation; a single address is a network of one.

    IPv4 addresses in their IPv6 form become IPv4: that is how connections show them. Raises
    ``ValueError`` for what is none, or for an address with bits behind the prefix.
    """
    shown = text[:80]
    if "%" in text or len(text) > len(shown):
        raise ValueError(f"'{shown}' is not a network: write 203.0.113.0/24 or 2001:db8::/32")
    try:
        found = ipaddress.ip_network(text, strict=True)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(
                f"'{shown}' is not a network: write 203.0.113.0/24 or 2001:db8::/32"
            ) from None
        raise ValueError(
            f"'{shown}' has bits behind its prefix: write {meant}, or one address without a prefix"
        ) from None
    if isinstance(found, ipaddress.IPv6Network):
        mapped = found.network_address.ipv4_mapped
        if mapped is not None and found.prefixlen >= 96:  # noqa: PLR2004 -- where IPv4 begins
            return f"{mapped}/{found.prefixlen - 96}"
    return str(found)


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Each once and in order, so that the same wish is the same resource."""
    return tuple(sorted(set(texts)))
