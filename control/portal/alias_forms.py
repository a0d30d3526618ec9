"""The form that points an alias at a version. Which alias is typed into it, so that it is held
against where all of them pointed when the page was opened (see :mod:`control.portal.editing`)."""

from collections.abc import Mapping
from typing import Final

import msgspec

from control.portal.api import Api, ApiRefusal, Tagged
from control.portal.editing import (
    ABSENT,
    OVER,
    WAS,
    Change,
    Conditions,
    Editing,
    Texts,
    conditions,
    is_overtaken,
)
from control.portal.forms import Form
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from protocol.problems import of_error
from registry.outputs import AliasOutput

NOWHERE: Final = "no version"
_LATE: Final = TollwayError(Code.PRECONDITION_FAILED, "the alias has been moved meanwhile")


class AliasForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form as it is shown."""

    edit: Editing
    """Its values: ``alias``, ``reason`` and ``force``."""
    refusal: ApiRefusal | None = None


def alias_form(aliases: Mapping[str, int]) -> AliasForm:
    """The empty form, of a page that shows where ``aliases`` point."""
    was = {name: _version(number) for name, number in aliases.items()}
    return AliasForm(
        edit=Editing(values={}, etag=ABSENT, was=msgspec.json.encode(was).decode()),
    )


async def put_alias(api: Api, model: str, number: int, form: Form) -> AliasForm | None:
    """Point the alias at version ``number``, unless it has been moved since the form was opened.

    Returns the form as it is shown again where that is refused; None: it is done.
    """
    alias = form.text("alias")
    path = f"/models/{model}/aliases/{alias}"
    body = {"version": number, "force": form.flag("force"), "reason": form.text("reason")}
    try:
        check_name(alias, "alias")  # another name would be another path
        held = _seen(form, alias, number, await _present(api, path))
        await api.put(path, body, AliasOutput, **held)
    except TollwayError as error:
        return _again(form, ApiRefusal(of_error(error)).beside("alias"))
    except ApiRefusal as refusal:
        if not is_overtaken(refusal):
            return _again(form, refusal)
        now = await _present(api, path)
        change = Change(f"Alias {alias}", _where(now), _version(number), taken=False)
        return _again(form, refusal, ABSENT if now is None else now.etag, change)
    return None


def _seen(form: Form, alias: str, number: int, present: Tagged[AliasOutput] | None) -> Conditions:
    """What the change is sent under. Raises :class:`ApiRefusal` for an alias that was moved
    elsewhere since."""
    if form.text(OVER):
        return conditions(form)
    if _where(present) not in (_shown(form).get(alias, NOWHERE), _version(number)):
        raise ApiRefusal(of_error(_LATE))
    return {"if_none_match": "*"} if present is None else {"if_match": present.etag}


async def _present(api: Api, path: str) -> Tagged[AliasOutput] | None:
    try:
        return await api.get_tagged(path, AliasOutput)
    except ApiRefusal as refusal:
        if refusal.problem.code != Code.NOT_FOUND:
            raise
        return None


def _again(form: Form, refusal: ApiRefusal, fresh: str = "", *changes: Change) -> AliasForm:
    values = {name: form.text(name) for name in ("alias", "reason", "force")}
    edit = Editing(values=values, etag=ABSENT, was=form.text(WAS), fresh=fresh, changes=changes)
    return AliasForm(edit=edit, refusal=refusal)


def _where(held: Tagged[AliasOutput] | None) -> str:
    return NOWHERE if held is None else _version(held.item.version)


def _version(number: int) -> str:
    return f"version {number}"


def _shown(form: Form) -> Texts:
    try:
        return msgspec.json.decode(form.text(WAS), type=dict[str, str])
    except msgspec.DecodeError:
        return {}
