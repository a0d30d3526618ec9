"""Lenient JSON: what Python and JavaScript clients send for floats that JSON has no word for."""

import json
from math import isinf
from typing import Final

import msgspec

from protocol.errors import TollwayError
from serving.signature import malformed

TOO_DEEP: Final = "the body is nested too deeply"


def parse(body: bytes) -> object:
    """The body's value; ``NaN``, ``Infinity`` and ``-Infinity`` are taken as floats.

    Raises ``MALFORMED`` for anything that is not JSON otherwise, and for numbers beyond a double.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise malformed(TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _parse_lenient(body, error)


def _parse_lenient(body: bytes, first: Exception) -> object:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not valid UTF-8 at byte {error.start}") from None
    try:
        return json.loads(text, parse_float=_finite)
    except RecursionError:
        raise malformed(TOO_DEEP) from None
    except TollwayError:
        raise
    except json.JSONDecodeError as error:
        raise malformed(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError:
        # An integer with more digits than Python converts; msgspec had refused it as well.
        raise malformed(f"the body is not usable JSON: {first}") from None


def _finite(literal: str) -> float:
    value = float(literal)
    if isinf(value):
        raise malformed(f"the number {literal[:80]} is out of range")
    return value
