"""Each kill test: start, load, kill, count. Every one has a stack of its own."""

import contextlib
import time
from collections.abc import Callable
from functools import partial

from benchmarks.kills.roles import Roles
from benchmarks.kills.trial import REPLACED_S, Bench, Deployed, KillResult, judge
from benchmarks.kills.victims import find, kill, wait_for
from benchmarks.measure import BackgroundLoad, run_load
from benchmarks.models import CLASSIFIER
from benchmarks.systems import stack

FIRST_KILL_S = 1.5
STEADY_S = 1.0
"""Between the return of one engine and the death of the other."""


def engine_killed(bench: Bench) -> KillResult:
    """Each of two engines is killed in turn; the other takes over what was in flight."""
    with contextlib.ExitStack() as cleanup:
        deployed = Deployed(bench, cleanup.enter_context(stack(bench.folder, workers=2)), cleanup)
        deployed.wait_for_engines(2)
        load = cleanup.enter_context(BackgroundLoad(bench.load(deployed.served)))
        time.sleep(FIRST_KILL_S)
        first = kill(deployed.pid, f"engine {CLASSIFIER}")
        deployed.wait_for_engines(2, without=first.pid)
        time.sleep(STEADY_S)
        kill(deployed.pid, f"engine {CLASSIFIER}")
        result = load.result()
        return judge(
            "engine killed, two workers",
            "no client sees an error",
            ["engine", "the other engine"],
            deployed.account(result),
            result,
        )


def worker_killed(bench: Bench) -> KillResult:
    """An agent is killed, and its engines end with it; the other worker takes over."""
    with contextlib.ExitStack() as cleanup:
        deployed = Deployed(bench, cleanup.enter_context(stack(bench.folder, workers=2)), cleanup)
        deployed.wait_for_engines(2)
        load = cleanup.enter_context(BackgroundLoad(bench.load(deployed.served)))
        time.sleep(FIRST_KILL_S)
        kill(deployed.pid, "worker")
        result = load.result()
        return judge(
            "worker killed, two workers",
            "no client sees an error",
            ["worker"],
            deployed.account(result),
            result,
        )


def control_killed(bench: Bench) -> KillResult:
    """Control is killed twice; predictions go on, and their usage arrives later."""
    with contextlib.ExitStack() as cleanup:
        deployed = Deployed(bench, cleanup.enter_context(stack(bench.folder)), cleanup)
        load = cleanup.enter_context(BackgroundLoad(bench.load(deployed.served)))
        killed = _kill_under_load(deployed, ["control", "control"], bench.seconds)
        result = load.result()
        return judge(
            "control killed twice",
            "predictions go on without an error",
            killed,
            deployed.account(result),
            result,
        )


def gateway_without_control(bench: Bench) -> KillResult:
    """Control stays dead; the gateway is killed and started anew, and serves from its disk copy."""
    with contextlib.ExitStack() as cleanup:
        roles = Roles(bench.folder, cleanup)
        deployed = Deployed(bench, roles.start_all(), cleanup)
        with BackgroundLoad(bench.load(deployed.served)) as load:
            time.sleep(FIRST_KILL_S)
            roles.kill("control")
            before = load.result()
        roles.kill("gateway")
        roles.start("gateway")
        roles.wait_for_path(f"/v2/models/{CLASSIFIER}/ready")
        after = run_load(bench.load(deployed.served))
        roles.start("control")
        roles.wait_for_path("/readyz")
        return judge(
            "gateway restarted while control is down",
            "serves; usage arrives once control is back",
            ["control (stays dead)", "gateway"],
            deployed.account(before, after),
            before,
            after,
        )


def gateway_killed(bench: Bench) -> KillResult:
    """The gateway is killed twice; what clients got is in the usage, once."""
    return _acknowledged_once(bench, "gateway killed twice", ["gateway", "gateway"])


def gateway_and_control_killed(bench: Bench) -> KillResult:
    """Both ends of the usage's way are killed in turn."""
    return _acknowledged_once(
        bench, "gateway and control killed in turn", ["control", "gateway", "control", "gateway"]
    )


SCENARIOS: dict[str, Callable[[Bench], KillResult]] = {
    "engine": engine_killed,
    "worker": worker_killed,
    "control": control_killed,
    "restart": gateway_without_control,
    "gateway": gateway_killed,
    "both": gateway_and_control_killed,
}
"""Name on the command line -> test."""


def _acknowledged_once(bench: Bench, name: str, victims: list[str]) -> KillResult:
    with contextlib.ExitStack() as cleanup:
        deployed = Deployed(bench, cleanup.enter_context(stack(bench.folder)), cleanup)
        spec = bench.load(deployed.served, reconnect=True)
        load = cleanup.enter_context(BackgroundLoad(spec))
        killed = _kill_under_load(deployed, victims, bench.seconds)
        result = load.result()
        return judge(
            name,
            "every acknowledged request is in the usage, once",
            killed,
            deployed.account(result),
            result,
            errors_allowed=True,
        )


def _kill_under_load(deployed: Deployed, victims: list[str], seconds: float) -> list[str]:
    """Kill ``victims`` at even distances while the load runs; returns what was killed."""
    pause = seconds / (len(victims) + 1)
    killed: list[str] = []
    for victim in victims:
        time.sleep(pause)
        wait_for(partial(find, deployed.pid, victim), REPLACED_S, f"{victim} is back")
        kill(deployed.pid, victim)
        killed.append(victim)
    return killed
