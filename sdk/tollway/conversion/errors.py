"""Errors of conversion and parity; each says which step failed and what to do next."""

from tollway.errors import TollwayError


class ConversionError(TollwayError):
    """The model cannot become an ONNX graph; the message names the step and the ways out."""


class ParityError(TollwayError):
    """A graph came out, but it does not answer as the original does.

    The message carries the counterexample row and both answers; :attr:`row`, :attr:`expected` and
    :attr:`got` hold them for programs.
    """

    def __init__(
        self,
        message: str,
        *,
        row: dict[str, object] | None = None,
        expected: object = None,
        got: object = None,
    ) -> None:
        super().__init__(message)
        self.row = row or {}
        self.expected = expected
        self.got = got
