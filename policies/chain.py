"""Takes a call through the steps before its body is read, in order, waiting where one has to."""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from policies.base import Call
from protocol.errors import Code, TollwayError
from runtime.logs import logger

Step = Callable[[Call], asyncio.Future[None] | None]
"""See :meth:`policies.base.Policy.check`."""
Decided = Callable[[TollwayError | None], None]
"""Gets None when every step was passed, or why one was not."""


def settle(waiting: asyncio.Future[None], refusal: TollwayError | None) -> None:
    """A :data:`Decided` for those who wait in a task, which may have been cancelled."""
    if waiting.done():
        return
    if refusal is None:
        waiting.set_result(None)
    else:
        waiting.set_exception(refusal)


class Chain:
    """The steps, in their order. A call that no step makes wait costs no future and no task."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)

    def run(self, call: Call, decided: Decided) -> None:
        """Call ``decided`` exactly once: before this returns, unless a step has to wait."""
        self._go_through(iter(self._steps), call, decided)

    async def passed(self, call: Call) -> None:
        """Return once every step was passed; raise :class:`TollwayError` when one was not."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.run(call, partial(settle, waiting))
        await waiting

    def _go_through(self, steps: Iterator[Step], call: Call, decided: Decided) -> None:
        """Take the steps that are left. The iterator remembers where a step has to wait."""
        refusal: TollwayError | None = None
        try:
            for step in steps:
                waiting = step(call)
                if waiting is not None:
                    waiting.add_done_callback(partial(self._go_on, steps, call, decided))
                    return
        except TollwayError as error:
            refusal = error
        except Exception as error:
            # A defect of one step must not leave the call without an answer.
            refusal = defect(call, error)
        decided(refusal)

    def _go_on(
        self, steps: Iterator[Step], call: Call, decided: Decided, waited: asyncio.Future[None]
    ) -> None:
        error = waited.exception()
        if error is None:
            self._go_through(steps, call, decided)
        elif isinstance(error, TollwayError):
            decided(error)
        else:
            decided(defect(call, error))


def defect(call: Call, error: BaseException) -> TollwayError:
    """What a call is answered with that a defect of ours has ended; the log has the rest."""
    # The call's prediction id is made with its answer: what is logged now needs a name before.
    call.request_id = call.request_id or secrets.token_hex(8).encode()
    request_id = call.request_id.decode()
    logger("gateway").error("a call met a defect", request_id=request_id, error=repr(error))
    return TollwayError(Code.INTERNAL, "an internal error of the gateway")
