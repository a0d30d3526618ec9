"""Parameters that several routes take."""

from typing import Annotated, Literal

from fastapi import Header, Path, Query

from registry.inputs import MAX_INTEGER, Name
from registry.outputs import Item, Page

Model = Annotated[Name, Path(description="Name of the model.")]
Alias = Annotated[Name, Path(description="Name of the alias.")]
VersionNumber = Annotated[int, Path(ge=1, le=MAX_INTEGER, description="Number of the version.")]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many items.")]
AfterName = Annotated[
    str,
    Query(
        max_length=63,
        pattern=r"^[a-z0-9-]*$",
        description="`next` of the page before.",
    ),
]
AfterNumber = Annotated[int, Query(ge=0, le=2**53 - 1, description="`next` of the page before.")]
AfterVersion = Annotated[
    str,
    Query(
        max_length=80,
        pattern=r"^([a-z0-9-]{1,63}/[0-9]{1,9})?$",
        description="`next` of the page before.",
    ),
]
Order = Annotated[
    Literal["oldest", "newest"],
    Query(description="What comes first; `newest`: pages go back in time."),
]
IfMatch = Annotated[str | None, Header(description="The ETag that the resource must have, or `*`.")]
IfNoneMatch = Annotated[str | None, Header(description="`*`: the resource must not exist.")]
DEFAULT_LIMIT = 100


def page_of(items: list[Item], cursors: list[str | int], limit: int) -> Page[Item]:
    """A page; ``cursors`` are the items' own. The last page is the first that is not full."""
    following = str(cursors[-1]) if len(items) == limit else None
    return Page(items=items, next=following)
