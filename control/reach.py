"""What a request may see and change: the applications and models within its actor's reach."""

from typing import Final

import msgspec

from registry.access import Actor

NOBODY: Final = ""
"""No consumer has this name."""


class Reach(msgspec.Struct, frozen=True):
    """Consumer and models of an actor, as in :class:`registry.access.Actor`. What is outside does
    not exist for the request: it is answered as missing, and absent from lists."""

    consumer: str | None = None
    """None: every consumer's."""
    models: frozenset[str] | None = None
    """None: every model."""

    def has_consumer(self, consumer: str) -> bool:
        """Whether the consumer and its applications are within reach."""
        return self.consumer is None or self.consumer == consumer

    def has_model(self, model: str) -> bool:
        """Whether the actor manages the model."""
        return self.models is None or model in self.models


EVERYTHING: Final = Reach()
"""For what the software does by itself. Never a default: a caller that forgets the reach of its
actor does not run."""


def reach_of(actor: Actor) -> Reach:
    """The actor's reach. Consumers and sponsors manage no model, and reach one consumer or none:
    an account that was never given one must not be taken for one without limits."""
    if actor.role in {"consumer", "sponsor"}:
        return Reach(actor.consumer or NOBODY, frozenset())
    return Reach(actor.consumer, actor.models)
