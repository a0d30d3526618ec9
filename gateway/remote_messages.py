"""The protocol's messages as a gateway reads them for remote servers: data is left as it came."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for text that is not of the form."""
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Shape = Annotated[list[Size], Meta(max_length=64)]
"""As many dimensions as a manifest may have: the product of more could keep a core for minutes."""


class GivenTensor(msgspec.Struct):
    """An input of a request, or an output of an answer."""

    name: str
    shape: Shape
    datatype: str
    parameters: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class Request(msgspec.Struct):
    """A request for an inference."""

    inputs: list[GivenTensor]
    id: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET
    outputs: Raw | UnsetType = UNSET


class Chosen(msgspec.Struct):
    """An output that a request asks for."""

    name: str
    parameters: Raw | UnsetType = UNSET


class Response(msgspec.Struct):
    """A remote server's answer: what it calls its model is nobody's concern."""

    outputs: list[GivenTensor]
    id: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET


class Reply(msgspec.Struct):
    """The answer as the client gets it."""

    model_name: str
    model_version: str
    outputs: list[GivenTensor]
    id: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET


class Refusal(msgspec.Struct):
    """What a server says instead of an answer."""

    error: str


class _Binary(msgspec.Struct):
    binary_data_size: Size | None = None


class MalformedAnswer(Exception):  # noqa: N818 -- says what came
    """The remote server's answer is not the protocol's, or not this model's."""


decode_parameters = msgspec.json.Decoder(dict[str, Raw] | None).decode
decode_chosen = msgspec.json.Decoder(list[Chosen] | None).decode
_decode_binary = msgspec.json.Decoder(_Binary | None).decode


def binary_size(given: GivenTensor) -> int | None:
    """``binary_data_size`` of a tensor; None: its data is JSON. Raises what is ``UNREADABLE``."""
    if given.parameters is UNSET:
        return None
    found = _decode_binary(given.parameters)
    return None if found is None else found.binary_data_size
