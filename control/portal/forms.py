"""Forms as browsers send them without a file: ``application/x-www-form-urlencoded``, bounded."""

import math
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from protocol.errors import Code, TollwayError

MAX_BYTES: Final = 1 << 20
MAX_FIELDS: Final = 2_000
_STATE: Final = "portal_form"


class Form:
    """The fields of a form. What a field lacks is the empty text."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """The last value of a field, without white space around it."""
        return self.raw(name).strip()

    def raw(self, name: str) -> str:
        """The last value of a field as it was typed: for passwords."""
        return next((value for key, value in reversed(self._fields) if key == name), "")

    def optional(self, name: str) -> str | None:
        """As :meth:`text`; None where nothing was typed."""
        return self.text(name) or None

    def every(self, name: str) -> list[str]:
        """All values of a field that are not empty."""
        return [value.strip() for key, value in self._fields if key == name and value.strip()]

    def lines(self, name: str) -> list[str]:
        """The lines and comma-separated parts of a field that are not empty."""
        parts = self.text(name).replace(",", "\n").splitlines()
        return [part.strip() for part in parts if part.strip()]

    def flag(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.text(name) not in ("", "0", "false", "off")

    def number(self, name: str) -> int | float | str | None:
        """What was typed as a number; as a text where it is none, so that the API says so; None
        where nothing was typed."""
        text = self.text(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            pass
        try:
            value = float(text)
        except ValueError:
            return text
        return value if math.isfinite(value) else text

    def values(self) -> dict[str, str]:
        """Field -> last value: to show a refused form again. Leave out passwords."""
        return dict(self._fields)


async def read_form(request: Request) -> Form:
    """The form that was sent, read once however many ask. Raises ``TOO_LARGE``, ``MALFORMED``."""
    known: Form | None = getattr(request.state, _STATE, None)
    if known is not None:
        return known
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    fields: list[tuple[str, str]] = []
    if media_type == "application/x-www-form-urlencoded":
        try:
            fields = parse_qsl(
                (await _body(request)).decode(),
                keep_blank_values=True,
                max_num_fields=MAX_FIELDS,
                errors="strict",
            )
        except ValueError:
            raise TollwayError(Code.MALFORMED, "the form is not encoded as UTF-8") from None
    found = Form(fields)
    setattr(request.state, _STATE, found)
    return found


async def _body(request: Request) -> bytes:
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > MAX_BYTES:
            raise TollwayError(Code.TOO_LARGE, f"the form is larger than {MAX_BYTES} bytes")
    return bytes(read)
