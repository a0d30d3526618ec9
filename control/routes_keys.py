"""Routes of API keys. No answer but the ones to making and rotating a key holds a secret."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from control.middleware import require
from control.reach import reach_of
from control.resources import Key, KeyChange, KeyRequest, NewKey, Page, Rotation
from control.routes_conventions import OWNERS, After, Condition, Limit, errors, tagged
from control.routes_parts import part
from control.store.keys import Keys
from registry.access import EVERYONE, Actor

Reader = Annotated[Actor, Depends(require(*EVERYONE))]
Owner = Annotated[Actor, Depends(require(*OWNERS))]
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="A repeated POST with the same value makes no second secret: it is answered "
        "409, because the first cannot be shown again."
    ),
]


TheKeys = Annotated[Keys, Depends(part(lambda services: services.keys))]


def key_router() -> APIRouter:
    """``/keys``."""
    router = APIRouter(tags=["keys"])
    _add_reads(router)
    _add_writes(router)
    return router


def _add_reads(router: APIRouter) -> None:
    @router.get("/keys", responses=errors(422))
    def list_keys(
        keys: TheKeys,
        actor: Reader,
        limit: Limit = 100,
        after: After = "",
        application: Annotated[str | None, Query(description="Only of this application.")] = None,
    ) -> Page[Key]:
        """List keys, revoked ones included, without their secrets."""
        return keys.list(limit, after, application, reach=reach_of(actor))

    @router.get("/keys/{key}", responses=errors(404))
    def get_key(keys: TheKeys, key: str, response: Response, actor: Reader) -> Key:
        """Read a key, without its secret."""
        found = keys.get(key, reach=reach_of(actor))
        tagged(response, found)
        return found


def _add_writes(router: APIRouter) -> None:
    @router.post("/keys", status_code=201, responses=errors(404, 409, 422))
    def create_key(
        keys: TheKeys,
        request: KeyRequest,
        response: Response,
        actor: Owner,
        idempotency_key: IdempotencyKey = None,
    ) -> NewKey:
        """Make an API key. The answer is the only place where its secret is ever shown."""
        made = keys.create(
            request,
            created_by=actor.name,
            idempotency_key=idempotency_key,
            reach=reach_of(actor),
        )
        response.headers["Location"] = f"/api/v1/keys/{made.id}"
        response.headers["Cache-Control"] = "no-store"
        tagged(response, made)
        return made

    # PUT as everywhere in this API; PATCH is the same for clients that send a JSON merge patch.
    @router.put("/keys/{key}", name="put_key", responses=errors(404, 409, 412, 422))
    @router.patch("/keys/{key}", responses=errors(404, 409, 412, 422))
    def change_key(
        keys: TheKeys,
        key: str,
        request: KeyChange,
        response: Response,
        condition: Condition,
        actor: Owner,
    ) -> Key:
        """Change a key's label, scopes, models, networks or expiry: a field left out stays, null
        lifts a restriction. Repeating it changes nothing."""
        changed = keys.change(key, request, condition, reach=reach_of(actor))
        tagged(response, changed)
        return changed

    @router.post("/keys/{key}/rotate", responses=errors(404, 409, 412, 422))
    def rotate_key(
        keys: TheKeys,
        key: str,
        request: Rotation,
        response: Response,
        condition: Condition,
        actor: Owner,
        idempotency_key: IdempotencyKey = None,
    ) -> NewKey:
        """Give a key a new secret, shown only here. Earlier secrets work for `overlap_s` more
        seconds at most; the id stays, and with it restrictions and usage."""
        rotated = keys.rotate(
            key,
            request.overlap_s,
            rotated_by=actor.name,
            idempotency_key=idempotency_key,
            condition=condition,
            reach=reach_of(actor),
        )
        response.headers["Cache-Control"] = "no-store"
        tagged(response, rotated)
        return rotated

    @router.post("/keys/{key}/revoke", responses=errors(404, 412))
    def revoke_key(
        keys: TheKeys, key: str, response: Response, condition: Condition, actor: Owner
    ) -> Key:
        """End a key and all its secrets for good: every gateway refuses them within a second.
        Repeating is harmless."""
        revoked = keys.revoke(key, condition, reach=reach_of(actor))
        tagged(response, revoked)
        return revoked
