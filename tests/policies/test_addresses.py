"""Addresses and networks mean the same however they are written, and proxies tell no tales."""

from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import addresses
from policies.addresses import MAX_ADDRESS, MAX_HOPS, Networks, TrustedProxies, parse_address


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_an_address_of_ipv4_in_ipv6_form_is_in_the_same_networks(
    address: IPv4Address, prefix: int
) -> None:
    mapped = parse_address(f"::ffff:{address}")
    assert mapped == parse_address(str(address)) == address
    for networks in (
        Networks.parse([f"{address}/{prefix}"]),
        Networks.parse([f"::ffff:{address}/{96 + prefix}"]),
    ):
        assert mapped in networks


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 32))
def test_a_network_has_the_addresses_that_the_standard_library_says(
    address: object, of: object, prefix: int
) -> None:
    found, base = parse_address(str(address)), parse_address(str(of))
    assert found is not None
    expected = found in ip_network(f"{base}/{prefix}", strict=False)
    assert (found in Networks.parse([f"{base}/{prefix}"])) is expected


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:8080", "10.0.0.1"),
        ("[2001:db8::1]:8080", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("10.0.0.256", None),
        ("010.0.0.1", None),
        ("1" * 10_000, None),
    ],
)
def test_addresses_are_read_as_proxies_write_them(text: str, address: str | None) -> None:
    found = parse_address(text)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.org", "", "*", "10.0.0.0/8/8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Networks.parse([text])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("203.0.113.5", "10.9.9.9", "203.0.113.5"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
        ("::ffff:10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.5, unknown", ""),
        ("10.0.0.1", "unknown, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "203.0.113.5,", ""),
        ("", "203.0.113.5", ""),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_no_trusted_proxy(
    peer: str, forwarded_for: str, client: str
) -> None:
    proxies = TrustedProxies(Networks.parse(["10.0.0.0/8"]))
    assert proxies.client(peer, forwarded_for.encode()) == client


@given(st.text(max_size=60), st.binary(max_size=200))
def test_without_trusted_proxies_the_peer_is_the_client(peer: str, forwarded_for: bytes) -> None:
    assert TrustedProxies(Networks()).client(peer, forwarded_for) == peer


@given(st.binary(max_size=200))
def test_any_header_of_a_trusted_proxy_is_read_without_an_error(forwarded_for: bytes) -> None:
    TrustedProxies(Networks.parse(["10.0.0.0/8"])).client("10.0.0.1", forwarded_for)


PROXIES = TrustedProxies(Networks.parse(["10.0.0.0/8"]))


def test_a_client_behind_more_proxies_than_there_are_is_in_no_network() -> None:
    hops = b"203.0.113.9" + b",10.0.0.1" * (MAX_HOPS - 1)
    assert PROXIES.client("10.0.0.2", hops) == "203.0.113.9"
    assert PROXIES.client("10.0.0.2", hops + b",10.0.0.1") == ""
    assert PROXIES.client("10.0.0.2", b"10.0.0.1," * 7000) == ""


def test_texts_of_any_length_are_not_remembered() -> None:
    parse_address("203.0.113.1")
    before = addresses._parsed.cache_info().currsize
    for n in range(10):
        assert parse_address("1" * (MAX_ADDRESS + 1 + n)) is None
    assert addresses._parsed.cache_info().currsize == before
