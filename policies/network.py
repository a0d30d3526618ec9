"""Whether the credential may be used from where the caller is."""

from policies.addresses import parse_address
from policies.base import Call
from protocol.errors import Code, TollwayError


class NetworkPolicy:
    """Keys with networks work from inside of these alone. A caller without a known address is in
    none of them."""

    def check(self, call: Call) -> None:
        """Raise ``FORBIDDEN`` unless the client's address is in one of the key's networks."""
        identity = call.identity
        assert identity is not None
        if identity.networks is None:
            return
        address = parse_address(call.client)
        if address is None or address not in identity.networks:
            seen = "an unknown address" if address is None else str(address)
            raise TollwayError(
                Code.FORBIDDEN,
                f"this API key may not be used from {seen}: add the network to the key, or call "
                "from one that it has",
            )
