"""What to do about gradients that vanish, explode or spike."""

from rectifier.records import Cause, CauseKind
from rectifier.report.sentences.findings.advice import UNKNOWN_CAUSE, Advice

VANISHING: Advice = (
    "First initialise with the activation's gain: torch.nn.init.kaiming_normal_(layer.weight, "
    "nonlinearity='relu') and zero biases in every layer; or add normalisation or skip connections.",
    "Leaky ReLU alone hardly helps: at initialisation the squared gradient changes per layer in proportion to "
    "(1 + slope²)/2.",
)

EXPLODING: Advice = (
    "First initialise with the activation's gain, then clip the gradient's norm "
    "(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)) or lower the learning rate.",
)

SPIKE: Advice = (
    "First clip the gradient's norm at about its running median (torch.nn.utils.clip_grad_norm_), or warm the "
    "learning rate up; then look at the batch of that step.",
)

SHRINKING: Advice = ("Nothing to do.",)


def for_exploding(cause: Cause) -> Advice:
    """What to do about a gradient that explodes on its way down.

    Args:
        cause: Why it does.
    """
    return UNKNOWN_CAUSE if cause.kind is CauseKind.UNKNOWN else EXPLODING


def for_vanishing(cause: Cause, activation: str) -> Advice:
    """What to do about a gradient that vanishes, for the layers' own activation.

    Args:
        cause: Why it does.
        activation: As the site has it: `relu`, `tanh`.
    """
    if cause.kind is CauseKind.UNKNOWN:
        return UNKNOWN_CAUSE
    if "relu" in activation:
        return VANISHING
    if activation == "tanh":
        return (
            "First initialise with the activation's gain: torch.nn.init.xavier_normal_(layer.weight, "
            "gain=torch.nn.init.calculate_gain('tanh')); or add normalisation or skip connections.",
        )
    return (
        f"First add normalisation or skip connections; `rectifier activations {activation}` has the gain for "
        "initial weights.",
    )
