"""The tools that record operations. Rectifier computes nothing while one of them is active."""

from enum import StrEnum


class Recorder(StrEnum):
    """Something of the user's that sees each operation, and would see ours among them."""

    TRACE = "trace"
    """`torch.jit.trace`, and what is built on it: `torch.onnx.export(..., dynamo=False)`."""
    DISPATCH_MODE = "dispatch_mode"
    """A `TorchDispatchMode`: FakeTensor, `make_fx`, counters of operations, selective checkpointing."""
    FUNCTION_MODE = "function_mode"
    """A `TorchFunctionMode`."""
    TRANSFORM = "transform"
    """`torch.func`, and batched gradients."""
    PROFILER = "profiler"
    """`torch.profiler` and `torch.autograd.profiler`."""
    COMPILED_AUTOGRAD = "compiled_autograd"
    """A compiler that traces the backward pass."""
