"""Programs that record what is computed (traces, modes, compilers, profilers), and print what they recorded.

Each trains `net` before and after, under `rectifier run` watched at every step. What it prints must be what it prints
under `python`: graphs, counts of operations, losses to the last bit, and a hash of the weights.
"""

BASE = '''
import collections
import hashlib
import io
import warnings

import torch
import torch.nn.functional as F
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(0)


class Net(nn.Module):
    """A module that is called twice, a method, a function of torch's, one of torch.nn.functional's."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 7), nn.Linear(7, 1)
        self.act = nn.ReLU()

    def forward(self, x):
        h = self.act(self.b(self.act(self.a(x)))).relu()
        return self.d(torch.relu(F.leaky_relu(self.c(h), 0.2)))


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
X = torch.randn(11, 4, generator=torch.Generator().manual_seed(1))
Y = X[:, :1].abs()


def step(call=net.__call__):
    loss = (call(X) - Y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def train(steps, call=net.__call__):
    print("losses", [step(call).item().hex() for _ in range(steps)])


def targets(graph):
    return [getattr(node.target, "__name__", str(node.target)) for node in graph.nodes]


class Operations(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))

    def show(self, what):
        print(what, sorted(self.counts.items()))


train(2)
'''

END = """
train(2)
digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters()))
print("weights", digest.hexdigest(), torch.rand(1).item().hex())
"""

PROGRAMS = {
    "torch.jit.trace": """
traced = torch.jit.trace(net, X)
print("nodes", len(list(traced.inlined_graph.nodes())), [n.kind() for n in traced.inlined_graph.nodes()])
print([value.debugName() for node in traced.inlined_graph.nodes() for value in node.outputs()])
train(3, traced)
print(torch.jit.trace_module(net, {"forward": X}).code)
""",
    "torch.jit.script": """
scripted = torch.jit.script(net)
print(scripted.code, len(list(scripted.inlined_graph.nodes())))
train(3, scripted)
""",
    "torch.onnx.export, of a trace": """
import onnx
file = io.BytesIO()
torch.onnx.export(net, (X,), file, dynamo=False)
model = onnx.load_from_string(file.getvalue())
print([(node.op_type, list(node.input), list(node.output)) for node in model.graph.node])
""",
    "torch.onnx.export, of an exported program": """
program = torch.onnx.export(net, (X,), dynamo=True, verbose=False)
print([(node.op_type, node.name) for node in program.model.graph])
""",
    "make_fx": """
from torch.fx.experimental.proxy_tensor import make_fx
for mode in ("real", "fake", "symbolic"):
    print(mode, targets(make_fx(net, tracing_mode=mode, _allow_non_fake_inputs=True)(X).graph))

def gradients(x):
    return torch.autograd.grad((net(x) - 1).square().mean(), list(net.parameters()))

print("with backward", targets(make_fx(gradients)(X).graph))
print("before dispatch", targets(make_fx(net, pre_dispatch=True)(X).graph))
""",
    "FakeTensorMode": """
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode() as mode:
    fake = Net()
    own = torch.optim.SGD(fake.parameters(), lr=0.1)
    loss = fake(torch.randn(3, 4)).sum()
    loss.backward()
    own.step()
print(type(loss).__name__, fake.a.weight.grad.shape)
fake(mode.from_tensor(X)).sum().backward()
with torch.device("meta"):
    nobodys = Net()
nobodys(X.to("meta")).sum().backward()
""",
    "a TorchFunctionMode that counts and compares": """
class Names(torch.overrides.TorchFunctionMode):
    names, met = [], collections.Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        for known in ("torch.relu", "F.leaky_relu", "F.relu", "torch.Tensor.relu"):
            self.met[known] += func is eval(known)
        return func(*args, **(kwargs or {}))

with Names() as names:
    train(3)
print(len(names.names), names.names, sorted(names.met.items()))
with Names() as inner, Names():
    train(1)
print(len(inner.names))
""",
    "a TorchFunctionMode with a table of functions": """
class Replaced(torch.overrides.TorchFunctionMode):
    table = {torch.relu: torch.tanh, F.leaky_relu: torch.sigmoid, torch.Tensor.relu: torch.tanh, F.gelu: torch.sin}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        first = [*args, *(kwargs or {}).values()][0]
        return self.table[func](first) if func in self.table else func(*args, **(kwargs or {}))

with Replaced():
    print(net(X).sum().item().hex(), F.gelu(X).sum().item().hex(), torch.relu(input=X).sum().item().hex())
    train(3)
""",
    "a tensor subclass that handles functions": """
HANDLED = {}

class Own(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in HANDLED:
            print("handled", func.__name__)
            return HANDLED[func](*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs or {})

HANDLED[torch.relu] = lambda input: torch.tanh(input.as_subclass(torch.Tensor))
HANDLED[F.gelu] = lambda input: torch.sin(input.as_subclass(torch.Tensor))
own = X.as_subclass(Own)
print(torch.relu(own).sum().item().hex(), F.gelu(own).sum().item().hex(), F.relu(own).sum().item().hex())
print(type(net(own)).__name__, type(own.relu()).__name__)
net(own).sum().backward()
print(net.a.weight.grad.sum().item().hex())
""",
    "a TorchDispatchMode around a training": """
with Operations() as operations:
    train(3)
operations.show("training")
""",
    "a TorchDispatchMode around parts of a step": """
optimizer.zero_grad()
with Operations() as operations:
    loss = net(X).square().mean()
operations.show("forward")
with Operations() as operations:
    loss.backward()
operations.show("backward")
with Operations() as operations:
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
operations.show("clipping")
with Operations() as operations:
    optimizer.step()
operations.show("step")
with Operations() as operations:
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(net(X).square().mean()).backward()
operations.show("scaling")
""",
    "a TorchDispatchMode to the end of the program": """
mode = Operations()
mode.__enter__()
train(40)
mode.show("training")
""",
    "FlopCounterMode": """
from torch.utils.flop_counter import FlopCounterMode
with FlopCounterMode(display=False) as flops:
    train(3)
by_name = {name: sorted(map(str, counts.items())) for name, counts in flops.get_flop_counts().items()}
print(flops.get_total_flops(), sorted(by_name.items()))
""",
    "DebugMode": """
from torch.utils._debug_mode import DebugMode
with DebugMode() as mode:
    train(2)
print(mode.debug_string())
""",
    "torch.profiler": """
from torch.profiler import ProfilerActivity, profile
with profile(activities=[ProfilerActivity.CPU], record_shapes=True, profile_memory=True) as found:
    train(3)
print(sorted((event.key, event.count) for event in found.key_averages()), len(found.events()))
with torch.autograd.profiler.profile(use_cpu=True) as found:
    train(3)
print(sorted((event.key, event.count) for event in found.key_averages()))
""",
    "torch.profiler with a schedule": """
from torch.profiler import ProfilerActivity, profile, schedule
def show(found):
    print(sorted((event.key, event.count) for event in found.key_averages()))
plan = schedule(wait=2, warmup=1, active=2, repeat=2)
with profile(activities=[ProfilerActivity.CPU], schedule=plan, on_trace_ready=show) as found:
    for _ in range(12):
        step()
        found.step()
""",
    "torch.export": """
for strict in (False, True):
    print(strict, targets(torch.export.export(net, (X,), strict=strict).graph))
""",
    "torch.compile of a module and of a function": """
graphs = []
def backend(graph, inputs):
    graphs.append(targets(graph.graph))
    return graph
train(3, torch.compile(net, backend=backend, fullgraph=True).__call__)
@torch.compile(backend=backend, fullgraph=True)
def loss_of(x):
    return (net(x) - Y).square().mean()
for _ in range(3):
    optimizer.zero_grad()
    loss_of(X).backward()
    optimizer.step()
print(graphs)
""",
    "module.compile, aot_eager": """
import torch._dynamo
net.compile(backend="aot_eager")
train(3)
print(dict(torch._dynamo.utils.counters["stats"]), dict(torch._dynamo.utils.counters["graph_break"]))
""",
    "torch.compile of a whole step": """
import torch._dynamo
graphs = []
def backend(graph, inputs):
    graphs.append(len(graph.graph.nodes))
    return graph
@torch.compile(backend=backend)
def whole():
    loss = (net(X) - Y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
print([whole().item().hex() for _ in range(4)], graphs, dict(torch._dynamo.utils.counters["stats"]))
""",
    "compiled autograd": """
import torch._dynamo.compiled_autograd as compiled_autograd
nodes = []
def compiler(graph):
    nodes.append(targets(graph.graph))
    return graph
for _ in range(3):
    loss = (net(X) - Y).square().mean()
    optimizer.zero_grad()
    with compiled_autograd._enable(compiler):
        loss.backward()
    optimizer.step()
print(len(nodes), nodes)
torch._dynamo.config.compiled_autograd = True
train(2, torch.compile(net, backend="eager").__call__)
""",
    "aot_module": """
from functorch.compile import aot_module
graphs = []
def compiler(graph, inputs):
    graphs.append(targets(graph.graph))
    return graph.forward
train(3, aot_module(net, fw_compiler=compiler, bw_compiler=compiler).__call__)
print(graphs)
""",
    "torch.func": """
from torch import func
parameters = dict(net.named_parameters())
def loss_of(parameters, x, y):
    return (func.functional_call(net, parameters, (x,)) - y).square().mean()
print({name: g.sum().item().hex() for name, g in func.grad(loss_of)(parameters, X, Y).items()})
each = func.vmap(func.grad(loss_of), (None, 0, 0))(parameters, X, Y)
print({name: (tuple(g.shape), g.sum().item().hex()) for name, g in each.items()})
print(func.jvp(net, (X,), (X,))[1].sum().item().hex())
print(func.hessian(lambda x: net(x).sum())(X[0]).sum().item().hex())
""",
    "an ensemble under vmap": """
from torch.func import functional_call, stack_module_state, vmap
models = [Net() for _ in range(3)]
parameters, buffers = stack_module_state(models)
own = torch.optim.SGD(list(parameters.values()), lr=0.1)
for _ in range(4):
    together = vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)), (0, 0, None))
    loss = together(parameters, buffers, X).square().mean()
    own.zero_grad()
    loss.backward()
    own.step()
    print(loss.item().hex())
""",
    "batches of gradients, forward mode": """
rows = torch.eye(11).unsqueeze(-1)[:3]
print([g.sum().item().hex() for g in torch.autograd.grad(net(X), list(net.parameters()), rows, is_grads_batched=True)])
print(torch.autograd.functional.jacobian(lambda x: net(x).sum(0), X, vectorize=True).sum().item().hex())
from torch.autograd import forward_ad
with forward_ad.dual_level():
    print(forward_ad.unpack_dual(net(forward_ad.make_dual(X, X))).tangent.sum().item().hex())
""",
    "torch.fx": """
traced = torch.fx.symbolic_trace(net)
known = [(node.op, node.target is torch.relu, node.target in (F.leaky_relu, "relu")) for node in traced.graph.nodes]
print(traced.code, known)
train(3, traced)
for node in traced.graph.nodes:
    if node.target is torch.relu:
        node.target = torch.tanh
traced.recompile()
print(traced(X).sum().item().hex())
""",
    "selective checkpointing": """
import functools
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
asked = []
def policy(context, op, *args, **kwargs):
    asked.append((context.is_recompute, str(op)))
    return CheckpointPolicy.MUST_SAVE if op == torch.ops.aten.addmm.default else CheckpointPolicy.PREFER_RECOMPUTE
contexts = functools.partial(create_selective_checkpoint_contexts, policy)
class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net
    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=False, context_fn=contexts)
train(3, Outer().__call__)
print(len(asked), asked)
""",
    "hooks on saved tensors": """
packed = []
def pack(tensor):
    packed.append(tuple(tensor.shape))
    return tensor
with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
    train(3)
print(len(packed), packed)
""",
    "a walk through the graph, hooks of every kind": """
met = []
def walk(node):
    if node is not None and node not in met:
        met.append(node)
        for parent, _ in node.next_functions:
            walk(parent)
loss = net(X).square().mean()
walk(loss.grad_fn)
print([node.name() for node in met])
order = []
for node in met:
    node.register_hook(lambda gradients, outputs, name=node.name(): order.append(name))
loss.backward()
print(order)
names = []
module = torch.nn.modules.module
handles = [module.register_module_forward_hook(lambda m, i, o: names.append(type(m).__name__)),
           module.register_module_full_backward_hook(lambda m, i, o: names.append("back " + type(m).__name__))]
train(2)
[handle.remove() for handle in handles]
print(names)
""",
    "anomaly mode, autocast, no_grad, inference_mode": """
with torch.autograd.detect_anomaly():
    train(3)
with torch.autocast("cpu", torch.bfloat16):
    loss = (net(X) - Y).square().mean()
loss.backward()
print(loss.item().hex())
with torch.no_grad():
    print(net(X).sum().item().hex())
with torch.inference_mode():
    print(net(X).sum().item().hex())
""",
    "a default device": """
torch.set_default_device("cpu")
train(3)
with torch.device("meta"):
    print(Net().a.weight.device)
""",
    "functions as attributes of a class": """
import copy
import pickle
class Bound(nn.Module):
    first, second, third, fourth = torch.relu, F.gelu, torch.tanh, F.softplus
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fifth = nn.Linear(4, 5), nn.Linear(5, 1), torch.sigmoid
    def forward(self, x):
        return self.b(self.fifth(self.fourth(self.third(self.second(self.first(self.a(x)))))))
bound = Bound()
own = torch.optim.SGD(bound.parameters(), lr=0.1)
for call in (bound, copy.deepcopy(bound)):
    loss = call(X).square().mean()
    loss.backward()
    own.step()
    print(loss.item().hex())
table = {torch.relu: 1, F.gelu: 2, torch.Tensor.relu: 3}
copied = pickle.loads(pickle.dumps(list(table)))
print([table[function] for function in copied], copied[0] is torch.relu, copy.copy(torch.relu) is torch.relu)
print(list(map(torch.relu, [torch.ones(1)])), torch.Tensor.relu(-torch.ones(1)), torch.relu.__name__)
""",
    "functions as members of an enumeration": """
import enum
class Activation(enum.Enum):
    RELU = torch.relu
    TANH = torch.tanh
print([member.name for member in Activation], Activation["RELU"].value(-torch.ones(1)))
""",
    "torch.compile under a function mode": """
class Passing(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))
graphs = []
def backend(graph, inputs):
    graphs.append(targets(graph.graph))
    return graph
with Passing():
    print(torch.compile(net, backend=backend)(X).sum().item().hex())
with torch.device("cpu"):
    function = torch.compile(lambda x: torch.relu(x).tanh().sigmoid(), backend=backend, fullgraph=True)
    print(function(X).sum().item().hex())
print(graphs)
""",
    "signatures in torch.fx, torch.jit by its modules": """
from torch.fx.operator_schemas import get_signature_for_torch_op, normalize_function
from torch.jit._trace import trace
print([len(get_signature_for_torch_op(f)) for f in (torch.relu, torch.tanh, torch.clamp, torch.exp)])
print(normalize_function(torch.relu, (X,), normalize_to_only_use_kwargs=True) is not None)
print(len(list(trace(net, X).inlined_graph.nodes())))
print(torch.jit.script(lambda_free := torch.nn.ReLU()).code)
""",
    "memory of forwards that nobody back-propagates": """
import gc
import weakref
gc.collect()
gc.disable()
def forget():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
    own = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(X)
        own.zero_grad()
        model(X).square().mean().backward()
        own.step()
    return [weakref.ref(parameter) for parameter in model.parameters()]
forget()
for _ in range(3):
    print([reference() is None for reference in forget()])
gc.enable()
""",
    "a time limit that a signal's handler raises": """
import signal
import time
class TimeUp(Exception):
    pass
def up(number, frame):
    raise TimeUp
signal.signal(signal.SIGALRM, up)
deep = nn.Sequential(*[module for _ in range(4) for module in (nn.Linear(4, 4), nn.ReLU())])
own = torch.optim.SGD(deep.parameters(), lr=0.01)
caught = 0
for _ in range(40):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        end = time.time() + 0.5
        while time.time() < end:
            loss = deep(X).square().mean()
            own.zero_grad()
            loss.backward()
            own.step()
    except TimeUp:
        caught += 1
        torch.set_grad_enabled(True)  # Where the limit comes as `torch.no_grad` ends, it stays off.
signal.setitimer(signal.ITIMER_REAL, 0)
print("caught", caught)
""",
    "nested and sparse tensors": """
ragged = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)], requires_grad=True)
class Ragged(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act = nn.Linear(4, 5), nn.ReLU()
    def forward(self, x):
        return self.act(self.a(x))
print(Ragged()(ragged).to_padded_tensor(0.0).shape)
""",
    "several threads": """
import threading
results = {}
def work(number):
    model = Net()
    with torch.no_grad():
        [p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p)) for p in model.parameters()]
    own = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        loss = (model(X) - Y).square().mean()
        own.zero_grad()
        loss.backward()
        own.step()
    results[number] = loss.item().hex()
threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sorted(results.items()))
torch.manual_seed(3)
""",
}
