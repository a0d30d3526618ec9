"""The inspection process: reads a job, answers with an inspection or a refusal, and ends.

Started by ``registry.inspect``; nothing imports it.
"""

import os
import resource
import sys

import msgspec

from registry.inspect import Inspection, Job, Refusal
from runtime.priority import lower_session, lower_thread


def main() -> None:
    """Answer one job. What goes wrong beyond a refusal ends the process with a traceback."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    os.setsid()  # a session of its own, so that only its priority is lowered
    lower_session()
    lower_thread()
    _limit(job)
    # After the limits are set, and in the process that they are set for.
    from registry.graph import Refused, inspect_graph  # noqa: PLC0415

    answer: Inspection | Refusal
    try:
        answer = inspect_graph(job)
    except Refused as refused:
        answer = Refusal(refused=str(refused)[:2000])
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _limit(job: Job) -> None:
    limits = {resource.RLIMIT_CPU: job.cpu_s, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if sys.platform == "linux":  # elsewhere the kernel does not enforce it, or refuses to set it
        limits[resource.RLIMIT_AS] = job.memory_bytes
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))


if __name__ == "__main__":
    main()
