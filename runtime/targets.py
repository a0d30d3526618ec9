"""Where requests to URLs that users give may go: a public address, or one the operator allows.

A name is resolved, every address of it is checked, and the connection goes to a checked address: a
name that answers differently a moment later (DNS rebinding) leads nowhere else. See
:mod:`runtime.checked_transport` for the connection.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import httpx

from protocol.errors import Code, TollwayError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""``resolver(host, port)`` gives every address of the host; raises ``OSError`` when it has none."""

MAX_URL: Final = 2000
MAX_PORT: Final = 65_535
PORTS: Final = {"https": 443, "http": 80}

_REFUSED: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host, this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and some clouds' metadata
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
"""The special-purpose registries of IANA (RFC 6890) that are not reachable from the internet."""
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is allocated for use on the internet; the rest of IPv6 is refused whole."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",  # a public address that is local to Azure's machines
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
"""Services that give cloud credentials to whoever asks from inside."""


class Target(NamedTuple):
    """A URL whose addresses were checked just now."""

    url: httpx.URL
    addresses: tuple[str, ...]


class TargetRefused(TollwayError):  # noqa: N818 -- says what happened
    """The URL is none that requests may go to."""

    def __init__(self, why: str, internal: str = "") -> None:
        super().__init__(Code.INVALID, why, internal)


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Every address that the system's resolver gives."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Targets:
    """Checks URLs against the networks that ``allowed`` names beside the public internet."""

    def __init__(
        self, allowed: Sequence[Network], setting: str, resolver: Resolver = system_resolver
    ) -> None:
        """``setting`` is where the operator allows networks: refusals name it."""
        self._allowed = tuple(allowed)
        self._setting = setting
        self._resolver = resolver

    async def check(self, text: str, timeout_s: float) -> Target:
        """The target of a URL with its checked addresses, or :class:`TargetRefused`."""
        url = parse(text)
        port = url.port or PORTS[url.scheme]
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._resolver(url.raw_host.decode("ascii"), port)
        except TimeoutError:
            raise TargetRefused("the URL's host name could not be resolved in time") from None
        except (OSError, UnicodeError):
            raise TargetRefused("the URL's host name cannot be resolved") from None
        if not found:
            raise TargetRefused("the URL's host name has no address")
        for address in found:
            self._check_address(url, address)
        return Target(url, tuple(found))

    def _check_address(self, url: httpx.URL, text: str) -> None:
        allowed = self._is_allowed(text)
        if url.scheme != "https" and not allowed:
            raise TargetRefused(
                "the URL must begin with https:// (http:// is for networks that the operator "
                f"allows with {self._setting})"
            )
        if not allowed and not is_public(text):
            raise TargetRefused(
                "the URL leads to a private or reserved address: use a public one, or have the "
                f"operator allow the network with {self._setting}",
                internal=f"{url.host} has the address {text}",
            )

    def _is_allowed(self, text: str) -> bool:
        address = _parsed(text)
        if address is None:
            return False
        inner = carried(address)
        for network in self._allowed:
            # A wide network is not meant to open the metadata service in it; its own address is.
            whole = network.num_addresses == 1
            if inner in network and (whole or inner not in _METADATA):
                return True
        return False


def parse(text: str) -> httpx.URL:
    """The URL, if its form is acceptable: http(s), a host, no user, no fragment."""
    if len(text) > MAX_URL:
        raise TargetRefused(f"the URL is longer than {MAX_URL} characters")
    if any(ord(character) <= ord(" ") or character in "\\\x7f" for character in text):
        raise TargetRefused("the URL contains a space, a backslash or a control character")
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise TargetRefused("the URL cannot be parsed") from None
    if url.scheme not in PORTS:
        raise TargetRefused("the URL must begin with https://")
    if not host or "%" in host:
        raise TargetRefused("the URL has no host that can be reached")
    if url.userinfo:
        raise TargetRefused("the URL must not carry a user or password")
    if url.fragment:
        raise TargetRefused("the URL must not have a fragment (#...)")
    if url.port is not None and not 0 < url.port <= MAX_PORT:
        raise TargetRefused("the URL's port must be 1 to 65535")
    return url


def is_public(text: str) -> bool:
    """Whether the address is one of the public internet, also the one that it carries inside."""
    address = _parsed(text)
    if address is None:
        return False
    inner = carried(address)
    if inner in _METADATA:
        return False
    if isinstance(inner, ipaddress.IPv6Address) and inner not in _GLOBAL_V6:
        return False
    return not any(inner in network for network in _REFUSED if network.version == inner.version)


def carried(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped, NAT64 or 6to4 one; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def networks(text: str) -> tuple[Network, ...]:
    """Comma-separated networks in CIDR form. Raises ``ValueError`` for what is none."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _parsed(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
