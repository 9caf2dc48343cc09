"""Personal data may go to addresses of the site's own network, and nowhere else."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lan import NotLocal, is_local, resolve


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.20",
        "169.254.7.7",
        "127.0.0.1",
        "::1",
        "fd12::1",
        "fe80::1%eth0",
        "::ffff:192.168.1.1",
    ],
)
def test_addresses_of_a_site_are_local(address):
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.0",
        "192.169.0.1",
        "100.64.0.1",
        "2001:db8::1",
        "::",
        "::ffff:8.8.8.8",
        "224.0.0.1",
        "255.255.255.255",
        "school.example",
        "10.0.0.1.evil.example",
    ],
)
def test_everything_else_is_not(address):
    assert not is_local(address)


@given(st.ip_addresses(v=4))
def test_nothing_that_is_routed_in_the_internet_is_local(address):
    if address.is_global:
        assert not is_local(str(address))
        assert not is_local(str(ipaddress.IPv6Address(f"::ffff:{address}")))


def test_no_address_at_all_is_not_local():
    assert not is_local("")


def test_a_name_outside_is_refused_with_a_remedy():
    with pytest.raises(NotLocal, match="private address"):
        resolve("8.8.8.8", 80)


def test_a_local_name_gives_the_address_to_connect_to():
    assert is_local(resolve("localhost", 80))
