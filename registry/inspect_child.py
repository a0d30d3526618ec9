"""The inspection process: reads a job, answers with an inspection or a refusal, and ends.

Started by ``registry.inspect``; nothing imports it.
"""

import os
import sys

import msgspec

from registry.inspect import Inspection, Job, Refusal
from runtime.confinement import bound_process
from runtime.priority import lower_session, lower_thread


def main() -> None:
    """Answer one job. What goes wrong beyond a refusal ends the process with a traceback."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    os.setsid()  # a session of its own, so that only its priority is lowered
    lower_session()
    lower_thread()
    bound_process(job.cpu_s, job.memory_bytes)
    # After the limits are set, and in the process that they are set for.
    from registry.graph import Refused, inspect_graph  # noqa: PLC0415

    answer: Inspection | Refusal
    try:
        answer = inspect_graph(job)
    except Refused as refused:
        answer = Refusal(refused=str(refused)[:2000])
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
