"""What the management API takes and gives about pins."""

from typing import Annotated, Literal

from pydantic import Field

from control.resources import Reason, Request, Resource

Side = Literal["consumer", "publisher"]


class PinRequest(Request):
    """The version that is to answer the application's calls which name none."""

    version: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
    reason: Reason = ""


class Pin(Resource):
    """The version that answers an application's calls of a model which name none."""

    application: str
    model: str
    version: int
    set_by: Side
    """Whether somebody of the application's consumer set it, or who manages the model."""
    reason: str
    created_at: str
    updated_at: str
