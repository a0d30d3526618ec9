"""Callers' network addresses: networks, and who is behind a proxy."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
_MAPPED_BITS = 96
"""Leading bits of ``::ffff:0:0/96``, below which IPv6 has the addresses of IPv4."""
REMEMBERED_ADDRESSES = 4096
MAX_ADDRESS = 100
"""Characters of an address with a zone and a port. Longer texts are no addresses, and are not
remembered."""
MAX_HOPS = 50
"""Proxies that one request may have passed."""


def parse_address(text: str) -> Address | None:
    """An address as systems and proxies write it: with a zone, in brackets, with a port. One of
    IPv4 in IPv6's form (RFC 4291, 2.5.5.2) is the address of IPv4. None when it is no address."""
    return _parsed(text) if len(text) <= MAX_ADDRESS else None


@lru_cache(REMEMBERED_ADDRESSES)
def _parsed(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _bounds(text: str) -> tuple[int, int, int]:
    """IP version, address and mask of a network. Raises ``ValueError``."""
    network: IPv4Network | IPv6Network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network.version, int(network.network_address), int(network.netmask)


class Networks:
    """A set of networks, as numbers: asking costs no parsing."""

    __slots__ = ("_bounds",)

    def __init__(self, bounds: Iterable[tuple[int, int, int]] = ()) -> None:
        self._bounds = tuple(bounds)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Networks (CIDR) or single addresses. Raises ``ValueError`` naming what is neither."""
        return cls(_bounds(text.strip()) for text in texts)

    def __contains__(self, address: Address) -> bool:
        number, version = int(address), address.version
        return any(version == of and number & mask == network for of, network, mask in self._bounds)

    def __bool__(self) -> bool:
        return bool(self._bounds)


class TrustedProxies:
    """Tells a request's client from the proxies before this gateway."""

    def __init__(self, networks: Networks) -> None:
        """``networks``: peers whose ``X-Forwarded-For`` is believed."""
        self._networks = networks

    def trusts(self, peer: str) -> bool:
        """Whether what this TCP peer says of its clients is believed."""
        address = parse_address(peer)
        return address is not None and address in self._networks

    def client(self, peer: str, forwarded_for: bytes) -> str:
        """Address of the client: the TCP peer's, unless that is a trusted proxy. Then the rightmost
        hop of ``X-Forwarded-For`` that is none: what stands left of it anybody may have written.

        Empty where the proxies name no address, or too many: such a caller is in no network.
        """
        if not self._networks or not forwarded_for:
            return peer
        address = parse_address(peer)
        if address is None or address not in self._networks:
            return peer
        hops = forwarded_for.rsplit(b",", MAX_HOPS)
        for hop in reversed(hops[-MAX_HOPS:]):
            found = parse_address(hop.strip().decode("latin-1"))
            if found is None:
                return ""
            peer = str(found)
            if found not in self._networks:
                return peer
        return peer if len(hops) <= MAX_HOPS else ""
