"""``python -m serving.start`` is an engine's process. It must not hold up those that serve.

Reading the libraries and the model takes a processor for a second or more, so both happen at a low
priority and on the processors that its agent keeps to, unless the order is urgent: then callers
wait for it, or there are none yet.
"""

import importlib
from collections.abc import Callable
from typing import Final

from runtime.priority import lower_session, lowered, step_back
from serving.launch import EngineOrder
from serving.orders import Orders

BOOT: Final = "serving.boot"
Carry = Callable[[Orders, EngineOrder, Callable[[], None]], None]


def main() -> None:
    """Read the order, then everything that it takes to carry it out."""
    orders = Orders()
    order = orders.first()

    def boot() -> Carry:
        found: Carry = importlib.import_module(BOOT).main
        return found

    if order.urgent:
        step_back(order.processors)
        boot()(orders, order, lambda: None)
        return
    give_back = lower_session()

    def loaded() -> None:
        give_back()
        step_back(order.processors)

    lowered(boot)(orders, order, loaded)


if __name__ == "__main__":
    main()
