"""The Open Inference Protocol V2 request object: its structure, without its tensors' elements."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from protocol.datatypes import DATATYPES
from serving.json_text import parse
from serving.signature import Signature, malformed
from serving.tensors import TensorSpec, invalid, show
from serving.v2_reply import V2Encoder, V2Replies

Parameters = dict[str, Any] | UnsetType
_PARAMETER_TYPES: Final = (str, bool, int, float)
_OWN_PARAMETERS: Final = frozenset({"binary_data_output", "binary_data_size"})
"""Parameters that speak to the server about this message; the rest comes back to the client."""
MAX_PARAMETER_INTEGER: Final = 2**64


class RequestedOutput(msgspec.Struct):
    """An element of ``outputs``."""

    name: str
    parameters: Parameters = UNSET


class RequestInput(msgspec.Struct):
    """An element of ``inputs``, its data not yet looked at."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw | UnsetType = UNSET
    parameters: Parameters = UNSET


class InferRequest(msgspec.Struct):
    """The request whose inputs' data is still JSON text."""

    inputs: list[RequestInput]
    id: str | UnsetType = UNSET
    parameters: Parameters = UNSET
    outputs: list[RequestedOutput] | UnsetType = UNSET


class GivenInput(msgspec.Struct):
    """An element of ``inputs`` of a request that was read leniently: ``data`` is a Python value."""

    name: str
    shape: list[int]
    datatype: str
    data: object
    binary_bytes: int | None


def read_leniently(
    body: bytes, signature: Signature, replies: V2Replies
) -> tuple[list[GivenInput], V2Encoder]:
    """Parse a request of any form that the protocol has, or say exactly what is wrong with it."""
    value = parse(body)
    if not isinstance(value, dict):
        raise malformed("the request must be a JSON object with 'inputs'")
    items = value.get("inputs")
    if not isinstance(items, list):
        raise malformed("the request has no array 'inputs'")
    request_id = value.get("id", UNSET)
    if request_id is not UNSET and not isinstance(request_id, str):
        raise malformed(f"id: {show(request_id)} is not a string")
    parameters = read_parameters(value.get("parameters", UNSET), "parameters")
    _check_echoed(request_id, parameters)
    inputs = [_read_input(item, index) for index, item in enumerate(items)]
    outputs: list[RequestedOutput] | UnsetType = UNSET
    if value.get("outputs", UNSET) is not UNSET:
        outputs = _read_outputs(value["outputs"])
    return inputs, choose_encoder(signature, replies, request_id, parameters, outputs)


def _read_input(item: object, index: int) -> GivenInput:
    what = f"inputs[{index}]"
    if not isinstance(item, dict):
        raise malformed(f"{what}: {show(item)} is not an object")
    name = item.get("name")
    if not isinstance(name, str):
        raise malformed(f"{what} has no string 'name'")
    what = f"input {show(name)}"
    datatype = item.get("datatype")
    if not isinstance(datatype, str):
        raise malformed(f"{what} has no string 'datatype'")
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise malformed(f"{what} has no array 'shape'")
    for place, size in enumerate(shape):
        if type(size) is not int:
            raise malformed(f"{what} shape[{place}]: {show(size)} is not an integer")
    parameters = read_parameters(item.get("parameters", UNSET), f"{what} parameters")
    binary = binary_size(parameters, name)
    if "data" not in item and binary is None:
        raise malformed(f"{what} has no 'data'")
    if "data" in item and binary is not None:
        raise malformed(f"{what} has both 'data' and 'binary_data_size'")
    return GivenInput(name, shape, datatype, item.get("data"), binary)


def _read_outputs(items: object) -> list[RequestedOutput]:
    if not isinstance(items, list):
        raise malformed("'outputs' is not an array")
    outputs = []
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise malformed(f"outputs[{index}] has no string 'name'")
        what = f"output {show(item['name'])} parameters"
        parameters = read_parameters(item.get("parameters", UNSET), what)
        outputs.append(RequestedOutput(item["name"], parameters))
    return outputs


def read_parameters(value: object, what: str) -> Parameters:
    """The protocol's ``parameters``: an object of strings, numbers and booleans."""
    if value is UNSET or value is None:
        return UNSET
    if not isinstance(value, dict):
        raise malformed(f"{what}: {show(value)} is not an object")
    for name, item in value.items():
        usable = isinstance(item, _PARAMETER_TYPES) and (
            not isinstance(item, int) or abs(item) < MAX_PARAMETER_INTEGER
        )
        if not usable:
            raise malformed(f"{what}: the value of {show(name)} is not a string, number or boolean")
    return value


def _check_echoed(request_id: str | UnsetType, parameters: Parameters) -> None:
    """Refuse lone surrogates in what the reply repeats: Python's JSON reads their escapes, but no
    reply can be encoded with them."""
    texts = [] if request_id is UNSET else [("id", request_id)]
    for name, value in ({} if parameters is UNSET else parameters).items():
        texts.append(("parameters", name))
        if isinstance(value, str):
            texts.append((f"parameters {show(name)}", value))
    for what, text in texts:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise malformed(f"{what}: {show(text)} is not valid Unicode")


def binary_size(parameters: Parameters, name: str) -> int | None:
    """``binary_data_size`` of an input, if it has one."""
    if parameters is UNSET:
        return None
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise malformed(f"input {show(name)} binary_data_size: {show(size)} is not a size in bytes")
    return size


def check_input(given_datatype: str, shape: list[int], spec: TensorSpec) -> None:
    """Refuse a datatype or shape that the model does not take."""
    if given_datatype != spec.datatype:
        known = "" if given_datatype in DATATYPES else ", which is no datatype of the protocol"
        raise invalid(
            f"input {show(spec.name)} has datatype {show(given_datatype)}{known}; "
            f"the model takes {spec.datatype}"
        )
    spec.check_shape(shape)


def choose_encoder(
    signature: Signature,
    replies: V2Replies,
    request_id: str | UnsetType,
    parameters: Parameters,
    outputs: list[RequestedOutput] | UnsetType,
    *,
    binary_default: bool = False,
) -> V2Encoder:
    """The encoder for the outputs, their order and their form that the request asks for."""
    plain = replies.plain
    if (
        plain is not None
        and request_id is UNSET
        and parameters is UNSET
        and not outputs
        and not binary_default
    ):
        return plain
    echo: dict[str, object] = {}
    if parameters is not UNSET:
        parameters = read_parameters(parameters, "parameters")
        assert parameters is not UNSET
        binary_default = _flag(parameters, "binary_data_output", "parameters", binary_default)
        echo = {key: value for key, value in parameters.items() if key not in _OWN_PARAMETERS}
    if not outputs:
        wanted = [(index, binary_default) for index in range(len(signature.outputs))]
    else:
        wanted = []
        for output in outputs:
            index = signature.output(output.name)
            if any(index == other for other, _ in wanted):
                raise invalid(f"output {show(output.name)} is requested twice")
            binary = binary_default
            if output.parameters is not UNSET:
                what = f"output {show(output.name)} parameters"
                binary = _flag(output.parameters, "binary_data", what, binary)
                if "classification" in output.parameters:
                    raise invalid(f"{what}: the classification extension is not supported")
            wanted.append((index, binary))
    return replies.encoder(wanted, None if request_id is UNSET else request_id, echo)


def _flag(parameters: dict[str, Any], name: str, what: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise malformed(f"{what}: {name} must be true or false")
    return value
