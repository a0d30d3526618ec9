"""Fills the stack: people, two models with their versions, applications with usage, curl lines.

    python -m demo.publish TOKEN_FILE ORDER_FD [--check]     reads where the stack is from stdin

What an earlier run has done is found again and not done twice. ``ORDER_FD`` is where the demo's
traffic hears whom to be.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec

import tollway
from demo import applications, calls, history, look, people, training
from demo.applications import CANCER, DIABETES
from demo.life import DIAGNOSTICS, PROGRESSION, Life
from demo.traffic import Caller, Order, call
from demo.training import Trained

ROLL_BACK_S = 40.0
LOOK_EVERY = 8
"""Calls between two looks at whether the canary was rolled back."""
ABOUT = {
    CANCER: (
        "Breast cancer: malignant or benign",
        (
            "Whether a breast mass is malignant, from 30 measurements of the cell nuclei in a "
            "fine-needle aspirate. It supports a pathologist's finding and does not replace it: "
            "what is near 50 % belongs under the microscope again."
        ),
    ),
    DIABETES: (
        "Diabetes: progression after one year",
        (
            "How far diabetes will have progressed a year after the first visit, as a score from "
            "25 to 346, from age, sex, body mass, blood pressure and six blood values."
        ),
    ),
}


class Place(msgspec.Struct, frozen=True):
    """Where the stack is."""

    url: str
    control: str
    """Its control's internal address."""
    cluster_token_file: str


def main() -> int:
    """Returns the exit code."""
    token_file, order, check = Path(sys.argv[1]), int(sys.argv[2]), "--check" in sys.argv[3:]
    models = {CANCER: training.breast_cancer(), DIABETES: training.diabetes()}
    line = sys.stdin.readline()
    if not line:
        return 1  # the stack did not start, and has said why
    place = msgspec.json.decode(line, type=Place)
    try:
        token = token_file.read_text().strip()
        with tollway.Client(place.url, token) as admin:
            return Filling(admin, token, place, models).run(order, check=check)
    except (tollway.TollwayError, httpx.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


class Filling:
    """One run."""

    def __init__(
        self, admin: tollway.Client, token: str, place: Place, models: dict[str, list[Trained]]
    ) -> None:
        self._admin = admin
        self._token = token
        self._place = place
        self._models = models
        self._passwords = people.welcome(admin)
        publisher = people.as_user(admin, people.PUBLISHER, self._passwords)
        sponsor = people.as_user(admin, people.SPONSOR, self._passwords)
        self._publisher = publisher
        for model in admin.models():
            if model.name in models and admin.grants.owner(model.name) != people.PUBLISHER:
                admin.grants.transfer(model.name, people.PUBLISHER)  # an earlier demo's
        self._cancer = Life(publisher, sponsor, CANCER, _sayer(CANCER))
        self._diabetes = Life(publisher, sponsor, DIABETES, _sayer(DIABETES))

    def run(self, order: int, *, check: bool) -> int:
        """Fill, print, check. The exit code."""
        with ThreadPoolExecutor(2) as threads:
            cancer = threads.submit(self._begin_cancer)
            diabetes = threads.submit(self._begin_diabetes)
            versions = {CANCER: cancer.result(), DIABETES: diabetes.result()}
            keys = applications.open_accounts(self._admin, self._publisher, self._passwords)
            lines = {name: models[-1] for name, models in self._models.items()}
            callers = applications.callers(keys, lines)
            past = threads.submit(self._remember, keys, versions)
            wrong = threads.submit(self._go_wrong, callers)
            self._watch_cancer()
            past.result()
            wrong.result()
            self._await_word()
        _tell(order, Order(self._place.url, tuple(callers.values())))
        stable = {name: found[-1] for name, found in versions.items()}
        failures = self._lines(stable, check=check)
        self._logins()
        if check:
            found = list(look.complaints(self._place.url, self._passwords))
            print("\nthe portal's pages show what was filled in" if not found else "\nFAILED:")
            for one in found:
                print(f"  {one}")
            failures += len(found)
        return 1 if failures else 0

    def _begin_cancer(self) -> list[tollway.Version]:
        life, (first, second, _) = self._cancer, self._models[CANCER]
        old = life.promote(life.stage(first))
        self._describe(CANCER)
        life.require(DIAGNOSTICS)
        stable = life.stage(second)
        life.approve(stable, "misses fewer malignant masses than the linear model")
        stable = life.promote(stable)
        life.end(old, stable)
        return [old, stable]

    def _begin_diabetes(self) -> list[tollway.Version]:
        stable = self._diabetes.promote(self._diabetes.stage(self._models[DIABETES][0]))
        self._describe(DIABETES)
        return [stable]

    def _watch_cancer(self) -> None:
        canary = self._cancer.stage(self._models[CANCER][2])
        self._cancer.approve(canary, "as good, at half of the computing time: watch it for a while")
        self._cancer.watch(canary)

    def _go_wrong(self, callers: dict[tuple[str, str], Caller]) -> None:
        """A canary fails for some patients, and the guard ends it: that is the alert."""
        life, say = self._diabetes, _sayer(DIABETES)
        if not life.go_wrong(self._models[DIABETES][0]):
            return
        both = [caller for (_, model), caller in callers.items() if model == DIABETES]
        chance = random.Random(1)
        until = time.monotonic() + ROLL_BACK_S
        with httpx.Client(base_url=self._place.url, timeout=10, trust_env=False) as client:
            while time.monotonic() < until:
                for _ in range(LOOK_EVERY):
                    call(client, chance.choice(both), chance)
                    time.sleep(0.05)
                if life.is_rolled_back():
                    say("the guard has rolled the canary back")
                    return
        say("the canary is still watched")

    def _await_word(self) -> None:
        """A version that goes no further until its sponsor says so."""
        waiting = self._diabetes.stage(self._models[DIABETES][1])
        self._diabetes.require(PROGRESSION)
        self._diabetes.ask(waiting, "smoother, and less far off in the mean")

    def _remember(
        self, keys: dict[str, tollway.NewKey], versions: dict[str, list[tollway.Version]]
    ) -> None:
        token = Path(self._place.cluster_token_file).read_text().strip()
        sent = history.ship(
            self._place.control, token, applications.habits(keys, versions), _now_ms()
        )
        if sent:
            _say(f"usage: {sent:,} requests of the last {history.DAYS} days")

    def _describe(self, name: str) -> None:
        """Say what the model is about; later words of its publisher stay."""
        model = self._publisher.model(name)
        if model.title:
            return
        title, description = ABOUT[name]
        httpx.put(
            f"{self._place.url}/api/v1/models/{name}",
            json={"title": title, "description": description},
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=30,
            trust_env=False,
        ).raise_for_status()

    def _lines(self, stable: dict[str, tollway.Version], *, check: bool) -> int:
        """Print the curl lines; run them where that is asked for. How many failed."""
        names = list(self._models)
        key = applications.key_of(self._admin, applications.DEMO, names, applications.DEMO_KEY)
        # A canary may answer otherwise: the lines promise the answers of these.
        for name in names:
            self._admin.pin(applications.DEMO, name, stable[name].number, "the printed answers")
        failures = 0
        for name, version in stable.items():
            model = self._model_of(name, version)
            print(f"\n# {ABOUT[name][0]}")
            print(f"# scikit-learn itself answers {model.predictions.tolist()}")
            for line in (
                calls.v2(self._place.url, key.secret, model, version),
                calls.v1(self._place.url, key.secret, model),
            ):
                print(line, flush=True)
                if check:
                    failures += not _right(line, model)
        if check:
            said = "every answer equals scikit-learn's" if not failures else f"{failures} failed"
            print(f"\n{said}")
        return failures

    def _model_of(self, name: str, version: tollway.Version) -> Trained:
        said = version.manifest.description
        return next(model for model in self._models[name] if model.description == said)

    def _logins(self) -> None:
        print(f"\nThe portal: {self._place.url}/portal (anybody may sign up, or log in as one of)")
        for one in people.PEOPLE:
            print(f"  {one.role:<10} {one.name:<8} {self._passwords[one.name]:<18} {one.looks_at}")
        print("These passwords are shown here only; the next start makes others.", flush=True)


def _sayer(name: str) -> Callable[[str], None]:
    return lambda message: _say(f"{name}: {message}")


_printing = threading.Lock()


def _say(message: str) -> None:
    with _printing:
        print(message, flush=True)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _tell(order: int, wanted: Order) -> None:
    with os.fdopen(order, "wb") as pipe:
        pipe.write(msgspec.json.encode(wanted) + b"\n")


def _right(line: calls.CurlLine, model: Trained) -> bool:
    try:
        answer = line.run()
    except (subprocess.SubprocessError, OSError, httpx.HTTPError) as error:
        print(f"  FAILED: {error}")
        return False
    wrong = calls.difference(answer, model)
    print(f"  {answer.strip()[:300]}")
    print(f"  FAILED: {wrong}" if wrong else "  equals scikit-learn's answer", flush=True)
    return wrong is None


if __name__ == "__main__":
    sys.exit(main())
