"""Forms about what others may change at the same time. Pure.

A form is filled in under the entity tag of what it shows, and sent under it (``If-Match``,
RFC 9110, section 13.1.1). Where it has changed meanwhile nothing is saved: the form comes back with
what was changed beside what was typed. It keeps its old tag, under which it is refused however
often it is sent; only by ticking a box does the person put it over the state that they were shown.
"""

import re
from collections.abc import Mapping
from typing import Final, TypedDict

import msgspec

from control.portal.api import ApiRefusal
from control.portal.forms import Form
from protocol.errors import Code, TollwayError
from protocol.problems import of_error

ETAG: Final = "etag"
WAS: Final = "was"
"""What the form showed that was not typed into it, by field, as JSON."""
OVER: Final = "over"
"""The tag of the state that the person has decided to put this form over."""
ABSENT: Final = "none"
"""In place of a tag: there was nothing yet."""
MAX_SHOWN: Final = 2_000
"""Characters of a value beside which another stands."""
_TAG: Final = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_NO_TAG: Final = '"none"'
"""Matches nothing: a form that brings no tag changes nothing."""
Texts = Mapping[str, str]
"""Field -> what stands in it."""


class Conditions(TypedDict, total=False):
    """What a write is sent under."""

    if_match: str
    if_none_match: str


class Change(msgspec.Struct, frozen=True):
    """A field that somebody else has changed since the form was opened."""

    label: str
    now: str
    yours: str
    """What was typed here."""
    taken: bool
    """Nothing was typed here, and the form shows the present value now."""


class Editing(msgspec.Struct, frozen=True, kw_only=True):
    """A form, and the state that it was filled in for."""

    values: Texts
    """What stands in its fields."""
    etag: str
    was: str
    fresh: str = ""
    """The tag of the present state, where somebody else was faster."""
    changes: tuple[Change, ...] = ()

    @property
    def late(self) -> bool:
        """Whether somebody else was faster."""
        return bool(self.fresh)


def editing(
    labels: Texts,
    present: Texts,
    etag: str,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
    given: Texts | None = None,
    *,
    merges: bool = True,
) -> Editing:
    """The form about what is ``present`` under ``etag``; with ``form``, as it was sent and refused.

    ``labels``: what its fields are called. ``given``: what was typed, where that is not the text of
    the fields of these names; what it lacks was not asked. Of a form that was overtaken, fields in
    which nothing was typed hold the present value; not so unless it ``merges``.
    """
    etag = etag or ABSENT
    if form is None:
        return Editing(values=present, etag=etag, was=msgspec.json.encode(present).decode())
    mine = {name: form.text(name) for name in present} if given is None else given
    mine = {name: _plain(text) for name, text in mine.items()}
    under, was = form.text(OVER) or form.text(ETAG), form.text(WAS)
    if not is_overtaken(refusal):
        return Editing(values={**present, **mine}, etag=under, was=was)
    before = _read(was)
    values, changes = dict(present), []
    seen = dict(before)
    for name, now in present.items():
        typed = mine.get(name)
        untouched = typed is None or (merges and typed == _plain(before.get(name, now)))
        if typed is not None and not untouched:
            values[name] = typed
        else:
            seen[name] = now  # the form shows it from here on: it was not typed by anybody
        if _plain(before.get(name, typed or "")) != _plain(now):
            if not untouched and typed == _plain(now):
                continue  # both have typed the same: there is nothing to decide
            yours = "" if untouched or typed is None else typed[:MAX_SHOWN]
            label = labels.get(name, name)
            changes.append(Change(label, now[:MAX_SHOWN], yours, untouched))
    return Editing(
        values=values,
        etag=under,
        was=msgspec.json.encode(seen).decode(),
        fresh=etag,
        changes=tuple(changes),
    )


def conditions(form: Form) -> Conditions:
    """What a write of ``form`` is sent under."""
    under = form.text(OVER) or form.text(ETAG)
    return {"if_none_match": "*"} if under == ABSENT else {"if_match": tag(form)}


def tag(form: Form) -> str:
    """The tag that ``form`` is sent under; one that nothing has where it brings none."""
    under = form.text(OVER) or form.text(ETAG)
    return under if _TAG.fullmatch(under) else _NO_TAG


def is_overtaken(refusal: ApiRefusal | None) -> bool:
    """Whether a write was refused because somebody else was faster."""
    return refusal is not None and refusal.problem.code == Code.PRECONDITION_FAILED


def overtaken(refusal: ApiRefusal, what: str) -> ApiRefusal:
    """The same in words for a button, which has no fields to be compared."""
    if not is_overtaken(refusal):
        return refusal
    said = f"somebody else has changed {what} since you saw it: nothing was done. Look at it again"
    return ApiRefusal(of_error(TollwayError(Code.CONFLICT, said)))


def _read(was: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(was, type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def _plain(text: str) -> str:
    """As it compares: browsers end lines with CR LF."""
    return text.replace("\r\n", "\n").strip()
