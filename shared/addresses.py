"""Whose address a request comes from. Pure."""

from ipaddress import IPv4Address, IPv6Network, ip_address


def network_of(address: str) -> str:
    """The part of an address that belongs to one subscriber: all of IPv4, the /64 of IPv6; any other text is returned
    unchanged."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
