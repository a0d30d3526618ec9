"""Tollway: deploy a trained model as a managed REST API.

    client = tollway.Client("http://127.0.0.1:8080", token=...)
    version = client.deploy(model, name="credit-risk", X=X_train, y=y_train)
    client.predict("credit-risk", X_test[:3])
    key = client.create_key(application="web-shop", model="credit-risk")

Importing this module imports neither scikit-learn, nor onnx, nor pandas.
"""

from tollway import webhooks
from tollway.client import Client
from tollway.conversion.errors import ConversionError, ParityError
from tollway.disagreement import DisagreementReport
from tollway.endings import Ending, RetirementReport, TransitionReport
from tollway.errors import (
    AuthenticationError,
    ConflictError,
    ConnectionFailed,
    CredentialsError,
    DeploymentError,
    GateError,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    TimedOut,
    TollwayError,
    TooLargeError,
)
from tollway.evaluation.evidence import (
    ClassEvidence,
    Evidence,
    Importance,
    Measured,
    MeasuredLatency,
    Resampling,
    SegmentEvidence,
)
from tollway.explanation import Explanation
from tollway.gates import (
    Approval,
    ApprovalStanding,
    CriterionPart,
    CriterionResult,
    Gate,
    Requirements,
)
from tollway.guarded import CanaryDecision, CanaryStep, Guard, GuardedCanary
from tollway.receipts import Capture, Captured, Receipt, Runtime
from tollway.replay import OutputDifference, Replay, ValueDifference
from tollway.resources import (
    Alert,
    AliasMove,
    Application,
    Consumer,
    Deprecation,
    Key,
    KeyOverlap,
    Manifest,
    Model,
    NewKey,
    Parity,
    Plan,
    Price,
    Quota,
    Rate,
    Remote,
    Serving,
    Subscription,
    Transition,
    UsageRow,
    Version,
)
from tollway.transport import RetryPolicy
from tollway.version import __version__

__all__ = [
    "Alert",
    "AliasMove",
    "Application",
    "Approval",
    "ApprovalStanding",
    "AuthenticationError",
    "CanaryDecision",
    "CanaryStep",
    "Capture",
    "Captured",
    "ClassEvidence",
    "Client",
    "ConflictError",
    "ConnectionFailed",
    "Consumer",
    "ConversionError",
    "CredentialsError",
    "CriterionPart",
    "CriterionResult",
    "DeploymentError",
    "Deprecation",
    "DisagreementReport",
    "Ending",
    "Evidence",
    "Explanation",
    "Gate",
    "GateError",
    "GoneError",
    "Guard",
    "GuardedCanary",
    "Importance",
    "InvalidRequestError",
    "Key",
    "KeyOverlap",
    "Manifest",
    "Measured",
    "MeasuredLatency",
    "Model",
    "NewKey",
    "NotFoundError",
    "NotReadyError",
    "OutputDifference",
    "Parity",
    "ParityError",
    "PermissionDeniedError",
    "Plan",
    "Price",
    "Quota",
    "Rate",
    "RateLimitedError",
    "Receipt",
    "Remote",
    "Replay",
    "Requirements",
    "Resampling",
    "RetirementReport",
    "RetryPolicy",
    "Runtime",
    "SegmentEvidence",
    "ServerError",
    "Serving",
    "Subscription",
    "TimedOut",
    "TollwayError",
    "TooLargeError",
    "Transition",
    "TransitionReport",
    "UsageRow",
    "ValueDifference",
    "Version",
    "__version__",
    "webhooks",
]
