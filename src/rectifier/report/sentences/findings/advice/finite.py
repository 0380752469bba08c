"""What to do about NaN and infinity."""

from rectifier.records import CauseKind
from rectifier.report.sentences.findings.advice import Advice
from rectifier.report.sentences.fixes import EXPLAIN, Naming

NON_FINITE: Advice = (
    Naming(
        "Run `{}`: it names the first operation whose result is not finite. "
        "torch.autograd.set_detect_anomaly(True) names it, too, if it is in a backward pass.",
        (EXPLAIN,),
    ),
)

NON_FINITE_LOSS: Advice = (
    "First look at the loss: a logarithm or division of 0, or a target out of range, produces NaN "
    "even if every layer is finite. torch.autograd.set_detect_anomaly(True) names the operation.",
)

NON_FINITE_UNSEEN: Advice = (
    "Look for NaN or infinity in the data: the batch of a step that was not sampled may hold it. Then look at the "
    "loss: a logarithm or division of 0, or a target out of range.",
)

_NON_FINITE_UPDATE: Advice = ("First lower the learning rate, or clip the gradient's norm.",)

INFINITE_GRADIENT: Advice = (
    "Under torch.amp.GradScaler, single infinite gradients are normal: it skips these steps and halves the scale.",
    Naming("Without it, run `{}`: it names the first operation whose result is not finite.", (EXPLAIN,)),
)

NON_FINITE_AT_START: Advice = (
    "Look for NaN in the data first, then for a division, logarithm or root in this layer, and for weights that"
    " were never initialised (torch.empty).",
)

NOT_FINITE: dict[CauseKind, Advice] = {
    CauseKind.INPUT_NOT_FINITE: (
        "Look for NaN in the data, and for a constant column divided by its standard deviation, which is 0.",
    ),
    CauseKind.INPUT_SCALE: (
        "First standardise the inputs (subtract their mean, divide by their standard deviation), then lower the "
        "learning rate.",
    ),
    CauseKind.LEARNING_RATE: _NON_FINITE_UPDATE,
    CauseKind.INITIAL_WEIGHTS: ("Initialise these weights: torch.empty leaves arbitrary values.",),
    CauseKind.OPTIMIZER_STATE: (
        "Keep the weights in float32 (torch.autocast computes in half precision), or use an eps of 1e-4.",
    ),
    CauseKind.PRECISION: ("Keep this layer in float32; bfloat16 has the same range.",),
    CauseKind.RECURRENCE: ("Use a bounded activation (tanh) in the recurrence, or clip the gradient's norm.",),
    CauseKind.BATCH_OF_ONE: (
        "Leave incomplete batches out (drop_last=True), or use a normalisation that needs no batch.",
    ),
    CauseKind.NUMERICAL_OPERATION: (
        Naming(
            "Guard the operation: add a small number to the argument of a root or logarithm, or to a divisor. "
            "`{}` names the operation and its line.",
            (EXPLAIN,),
        ),
    ),
}
