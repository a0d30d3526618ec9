"""What a visitor of the demo's portal finds: the front page, and one page of every role."""

import re
from collections.abc import Iterable

import httpx

from demo.people import PEOPLE

CSRF = re.compile(r'name="csrf"[^>]*value="([^"]+)"')


def complaints(url: str, passwords: dict[str, str]) -> Iterable[str]:
    """What is not as it should be, in words."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield from _page(client, "/portal", "Breast cancer", "a visitor's")
    for person in PEOPLE:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            token = CSRF.search(client.get("/portal/login").text)
            if token is None:
                yield "the login page has no form"
                return
            form = {"csrf": token[1], "name": person.name, "password": passwords[person.name]}
            answer = client.post("/portal/login", data=form)
            if not answer.is_redirect:
                yield f"{person.name} cannot log in: {answer.status_code}"
                continue
            yield from _page(client, person.looks_at, person.finds, f"the {person.role}'s")


def _page(client: httpx.Client, path: str, text: str, whose: str) -> Iterable[str]:
    answer = client.get(path)
    if answer.status_code != httpx.codes.OK:
        yield f"{whose} page {path} is answered {answer.status_code}"
    elif text not in answer.text:
        yield f"{whose} page {path} shows no {text!r}"
