"""Origins and networks: one spelling each, and nothing that is wider than it looks."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.addresses import distinct, network, origin


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.Example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://[2001:DB8::0:1]:8443", "https://[2001:db8::1]:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(written: str, kept: str) -> None:
    assert origin(written) == kept
    assert origin(kept) == kept


@pytest.mark.parametrize(
    "written",
    [
        "*",
        "null",
        "",
        "shop.example",
        "https://*.example",
        "https://shop.example/",
        "https://shop.example/path",
        "https://user@shop.example",
        "https://shop.example:0",
        "https://shop.example:65536",
        "https://shop.example:",
        "https://bücher.example",
        "https://shop..example",
        "https://[::1",
        "https://[:::]",
        "ftp://shop.example",
        "https://shop.example\n",
        "https://" + "a" * 400,
    ],
)
def test_what_is_no_origin_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        origin(written)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_a_network_has_one_spelling(written: str, kept: str) -> None:
    assert network(written) == kept
    assert network(kept) == kept


@pytest.mark.parametrize(
    "written", ["", "*", "10", "10.0.0.0/33", "10.0.0.256", "fe80::1%eth0", "a" * 100, "1.2.3.4\n"]
)
def test_what_is_no_network_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        network(written)


def test_bits_behind_the_prefix_are_pointed_out() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8"):
        network("10.0.0.5/8")


@given(st.ip_addresses(), st.data())
def test_every_network_that_contains_an_address_still_does_when_written(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, address.max_prefixlen))
    meant = ipaddress.ip_network((address, length), strict=False)
    kept = ipaddress.ip_network(network(str(meant)))
    if kept.version == address.version:
        assert address in kept
        assert kept == meant
    else:
        assert isinstance(address, ipaddress.IPv6Address)
        assert address.ipv4_mapped in kept


@given(st.lists(st.sampled_from(["a", "b", "c"])))
def test_the_order_in_which_they_are_given_does_not_matter(texts: list[str]) -> None:
    assert distinct(texts) == distinct(reversed(texts)) == tuple(sorted(set(texts)))
