"""Who calls the models: applications with their plans, keys, and habits."""

from dataclasses import dataclass

import tollway
from demo.calls import objects
from demo.history import Habit
from demo.people import CLINICAL, CONSUMER, HOSPITAL, INSTITUTE, as_user
from demo.traffic import Caller
from demo.training import Trained

DEMO = "demo"
"""The application of the curl lines."""
DEMO_KEY, TRAFFIC_KEY = "make demo", "live traffic"
CANCER, DIABETES = "breast-cancer", "diabetes"
SWITCHED_DAYS_AGO = 4.0
"""Since when the second version of the first model is stable, in the history."""
CALLED_WITH = 60
"""Rows that live traffic is drawn from."""


@dataclass(frozen=True)
class Subscribed:
    """One application's use of one model."""

    application: str
    model: str
    plan: str
    hourly: float
    rows: int
    approved: bool = True
    office: bool = True
    impatience: float = 0.0
    mistakes: float = 0.01
    weight: float = 1.0


TITLES = {
    "tumour-board": ("Tumour board", HOSPITAL),
    "screening-van": ("Screening van", HOSPITAL),
    "research-notebook": ("Research notebook", INSTITUTE),
}
"""Application -> title and consumer. A canary of :data:`CANCER` answers the first one from 1 % on
and the third from 22 %; one of :data:`DIABETES` at 50 % answers the third and not the first."""
APPLICATIONS = (
    Subscribed("tumour-board", CANCER, CLINICAL, 90, 6, weight=3),
    Subscribed("tumour-board", DIABETES, CLINICAL, 20, 2),
    Subscribed("screening-van", CANCER, "standard", 140, 2, mistakes=0.04, weight=3),
    Subscribed("screening-van", DIABETES, CLINICAL, 0, 1, approved=False),
    Subscribed("research-notebook", CANCER, "trial", 14, 12, office=False, impatience=0.05),
    Subscribed("research-notebook", DIABETES, "trial", 10, 10, office=False, impatience=0.02),
)


def open_accounts(
    admin: tollway.Client, publisher: tollway.Client, passwords: dict[str, str]
) -> dict[str, tollway.NewKey]:
    """Make the applications with their subscriptions; a new key for each, whose secrets this run
    knows, in the place of the earlier run's."""
    with as_user(admin, CONSUMER, passwords) as hospital:
        for name, (title, consumer) in TITLES.items():
            owner = hospital if consumer == HOSPITAL else admin
            owner.create_application(name, title=title, consumer=consumer)
        for one in APPLICATIONS:
            owner = hospital if TITLES[one.application][1] == HOSPITAL else admin
            found = owner.subscribe(one.application, one.model, one.plan)
            if found.state == "pending" and one.approved:
                publisher.approve(one.application, one.model)
    return {name: key_of(admin, name, [CANCER], TRAFFIC_KEY) for name in TITLES}


def key_of(
    admin: tollway.Client, application: str, models: list[str], label: str
) -> tollway.NewKey:
    """A key for this run. Secrets are shown once, so that of an earlier run is lost: revoked."""
    old = []
    if any(one.name == application for one in admin.applications()):
        old = [key for key in admin.keys(application) if key.revoked_at is None]
    for model in models[1:]:
        admin.create_application(application)
        admin.subscribe(application, model)
    made = admin.create_key(application, models[0], label=label)
    for key in old:
        if key.label == label:
            admin.revoke_key(key.id)
    return made


def habits(
    keys: dict[str, tollway.NewKey], versions: dict[str, list[tollway.Version]]
) -> list[Habit]:
    """How the applications would have called in the days before."""
    return [
        Habit(
            application=one.application,
            key=keys[one.application].id,
            model=one.model,
            plan=one.plan,
            hourly=one.hourly,
            rows=one.rows,
            infer_us=700 if one.model == CANCER else 450,
            versions=tuple(
                zip((1e9, SWITCHED_DAYS_AGO), (v.number for v in versions[one.model]), strict=False)
            ),
            office=one.office,
            mistakes=one.mistakes,
            impatience=one.impatience,
        )
        for one in APPLICATIONS
        if one.hourly
    ]


def callers(
    keys: dict[str, tollway.NewKey], models: dict[str, Trained]
) -> dict[tuple[str, str], Caller]:
    """How they call now: by application and model."""
    return {
        (one.application, one.model): Caller(
            key=keys[one.application].secret,
            path=f"/v1/models/{one.model}:predict",
            rows=objects(models[one.model].X_test.iloc[:CALLED_WITH]),
            weight=one.weight,
        )
        for one in APPLICATIONS
        if one.hourly
    }
