"""Deliveries go to public addresses alone, unless the operator allows a network."""

import ipaddress
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.targets import TargetRefused, Targets, carried, is_public, networks, parse

INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1",
    "172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.0.1", "100.64.0.1",
    "100.100.100.200", "100.127.255.255", "168.63.129.16", "192.0.0.192", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:a00:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "3fff::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1",
    "5f00::1", "4000::1", "nonsense", "",
]  # fmt: skip
OUTSIDE = ["1.1.1.1", "93.184.216.34", "100.128.0.1", "172.32.0.1", "192.169.0.1",
           "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::101:101", "::ffff:8.8.8.8"]  # fmt: skip


class FakeResolver:
    """Answers each question with the next of its answers; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise socket.gaierror("no such host")
        return answer


def targets(resolver: FakeResolver, allowed: str = "") -> Targets:
    return Targets(networks(allowed), "TOLLWAY_ALLOWED_NETWORKS", resolver)


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_nothing_that_the_standard_library_knows_as_special_is_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    inner = carried(address)
    special = (
        inner.is_loopback
        or inner.is_link_local
        or inner.is_multicast
        or inner.is_private
        or inner.is_reserved
        or inner.is_unspecified
    )
    assert not (special and is_public(str(address)))


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_like_itself(address: ipaddress.IPv4Address) -> None:
    alone = is_public(str(address))

    assert is_public(f"::ffff:{address}") == alone
    assert is_public(str(ipaddress.IPv6Address(int(address) | 0x64FF9B << 96))) == alone
    assert is_public(str(ipaddress.IPv6Address(0x2002 << 112 | int(address) << 80))) == alone


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    with pytest.raises(TargetRefused, match="private or reserved") as refused:
        await targets(FakeResolver([address])).check("https://hooks.example/x", 1)

    assert address == "" or address not in refused.value.public


async def test_one_address_inside_among_others_is_enough_to_refuse() -> None:
    with pytest.raises(TargetRefused):
        await targets(FakeResolver(["1.1.1.1", "10.0.0.1"])).check("https://hooks.example", 1)


async def test_a_public_target_is_given_with_its_checked_addresses() -> None:
    resolver = FakeResolver(["1.1.1.1", "2606:4700::1111"])

    target = await targets(resolver).check("https://hooks.example:8443/in?a=b", 1)

    assert target.addresses == ("1.1.1.1", "2606:4700::1111")
    assert resolver.asked == [("hooks.example", 8443)]


async def test_plain_http_is_for_allowed_networks_alone() -> None:
    resolver = FakeResolver(["1.1.1.1"])
    with pytest.raises(TargetRefused, match="https"):
        await targets(resolver).check("http://hooks.example", 1)
    with pytest.raises(TargetRefused, match="https"):
        await targets(resolver, "10.0.0.0/8").check("http://hooks.example", 1)

    assert await targets(FakeResolver(["10.1.2.3"]), "10.0.0.0/8").check("http://inside", 1)


async def test_an_allowed_network_opens_itself_and_nothing_else() -> None:
    for address, allowed in (
        ("10.1.0.1", True), ("::ffff:10.1.0.1", True), ("10.2.0.1", False), ("127.0.0.1", False),
    ):  # fmt: skip
        one = targets(FakeResolver([address]), "10.1.0.0/16")
        if allowed:
            assert await one.check("https://inside", 1)
        else:
            with pytest.raises(TargetRefused):
                await one.check("https://inside", 1)


async def test_a_wide_allowed_network_does_not_open_the_metadata_service_in_it() -> None:
    resolver = FakeResolver(["169.254.169.254"])
    with pytest.raises(TargetRefused):
        await targets(resolver, "169.254.0.0/16,0.0.0.0/0").check("https://inside", 1)

    assert await targets(resolver, "169.254.169.254/32").check("https://inside", 1)


async def test_a_name_without_an_address_is_refused() -> None:
    with pytest.raises(TargetRefused, match="cannot be resolved"):
        await targets(FakeResolver([])).check("https://nowhere.example", 1)


async def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    import asyncio

    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TargetRefused, match="in time"):
        await Targets((), "TOLLWAY_ALLOWED_NETWORKS", hang).check("https://hooks.example", 0.01)


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example", "//hooks.example", "ftp://hooks.example", "file:///etc/passwd",
        "gopher://x", "https://", "https:///path", "https://user@hooks.example",
        "https://user:secret@hooks.example", "https://hooks.example/#fragment",
        "https://hooks.example/a b", "https://hooks.example\r\nX: y", "https://hooks.example\\@evil",
        "https://[fe80::1%25eth0]/", "https://hooks.example:0/", "https://hooks.example:99999/",
        "https://hooks.example/" + "x" * 2000, "unix:/run/x", "https://\x00",
    ],
)  # fmt: skip
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        parse(url)


@pytest.mark.parametrize(
    "url", ["https://2130706433/", "https://0x7f000001/", "https://127.1/", "https://0177.0.0.1/",
            "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://localhost/",
            "https://localhost./", "https://127.0.0.1:8080/"]
)  # fmt: skip
async def test_other_spellings_of_this_machine_are_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        await Targets((), "TOLLWAY_ALLOWED_NETWORKS").check(url, 5)
