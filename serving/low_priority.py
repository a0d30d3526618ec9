"""An engine's work below its predictions, in slices: explanations, whose clients wait, and after
them what it does as a shadow, for which nobody waits."""

from collections.abc import Callable

from serving.account import Account
from serving.batcher import Batcher
from serving.contract import Contracts
from serving.explanations import Begin, ExplainSetup, Explanations
from serving.shadow_work import Decode, ShadowWork
from serving.signature import Signature
from serving.v1 import V1


class LowPriority:
    """Does a slice when there is nothing to predict."""

    def __init__(
        self,
        signature: Signature,
        predictions: Batcher,
        decode: Decode,
        v1: V1,
        *,
        contracts: Contracts,
        account: Account,
        explain: ExplainSetup,
        instance: str,
        clock_ns: Callable[[], int],
        report_defect: Callable[[BaseException], None],
    ) -> None:
        """See :class:`Explanations` and :class:`ShadowWork`."""
        self.explanations = Explanations(
            signature,
            v1,
            predictions,
            explain,
            contracts=contracts,
            account=account,
            clock_ns=clock_ns,
            report_defect=report_defect,
        )
        self.shadows = ShadowWork(
            signature,
            predictions,
            decode,
            instance,
            clock_ns=clock_ns,
            report_defect=report_defect,
        )

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return self.explanations.due or self.shadows.due

    def work(self, begin: Begin, inline_s: float) -> None:
        """Do one slice; runs that are predicted to take longer than ``inline_s`` by ``begin``."""
        if not self.explanations.work(begin, inline_s):
            self.shadows.work(begin, inline_s)
