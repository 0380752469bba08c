"""What an inspection of a large checkpoint costs: seconds, and memory beside that of reading the file once.

A transformer-like state dict with its AdamW state is written (a third of the bytes weights, two thirds moments), then
`rectifier inspect` reads it in a process of its own. Pages of the file that are mapped count as resident while there
is room for them, and are given back when there is none: they are told apart from memory that is really taken.

    python benchmarks/checkpoints.py [--gib 1.0] [--threads 2] [--format torch|safetensors]
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from rich.console import Console

WIDTH = 1024
GIB = 1 << 30

CHILD = """
import sys, time
import torch
torch.set_num_threads({threads})
began = time.perf_counter()
sys.argv = ["rectifier", *{arguments!r}]
from rectifier.cli import main
try:
    main()
finally:
    print("seconds", time.perf_counter() - began, file=sys.stderr)
    print("processor", time.process_time(), file=sys.stderr)
    # Not getrusage's: that one remembers the parent from before the exec.
    status = open("/proc/self/status").read().split()
    print("peak", status[status.index("VmHWM:") + 1], file=sys.stderr)
"""


def make(folder: Path, gib: float, kind: str, shift: float = 0.0) -> list[str]:
    """A checkpoint of about this size, some of whose rows have had no gradient for 300 steps."""
    generator = torch.Generator().manual_seed(0)
    block = {"up": (4 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH), "mix": (WIDTH, WIDTH)}
    numbers = sum(rows * columns for rows, columns in block.values())
    model: dict[str, torch.Tensor] = {}
    for layer in range(max(1, round(gib * GIB / 4 / 3 / numbers))):
        for name, shape in block.items():
            model[f"layer.{layer}.{name}.weight"] = torch.randn(shape, generator=generator) / 32 + shift
            model[f"layer.{layer}.{name}.bias"] = torch.zeros(shape[0])
    state = {}
    for number, weight in enumerate(model.values()):
        noise = torch.randn(weight.shape, generator=generator)
        fade = torch.ones(weight.shape[0])
        fade[:: 7 if weight.dim() > 1 else 1] = 0.9**300
        column = fade.reshape(-1, *[1] * (weight.dim() - 1))
        state[number] = {
            "step": torch.tensor(1_000.0),
            "exp_avg": 2e-4 * noise * column,
            "exp_avg_sq": 1e-6 * (0.5 + noise.square()) * torch.where(column < 1, 0.999**300, 1.0),
        }
    groups = [
        {"params": list(state), "lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.01, "decoupled_weight_decay": True}
    ]
    optimizer = {"state": state, "param_groups": groups}
    if kind == "torch":
        torch.save({"model": model, "optimizer": optimizer}, folder / "checkpoint.pt")
        return [str(folder / "checkpoint.pt")]
    from safetensors.torch import save_file  # noqa: PLC0415 - an extra

    save_file(model, folder / "model.safetensors")
    torch.save(optimizer, folder / "optimizer.pt")
    return [str(folder)]


def measure(arguments: list[str], threads: int) -> tuple[float, float, float, float, str]:
    """Seconds, those of the processor, peak of resident memory and of what is no page of a file (MiB), the output."""
    code = CHILD.format(threads=threads, arguments=["inspect", *arguments])
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    own: list[int] = [0]

    def look() -> None:
        status = Path(f"/proc/{child.pid}/status")
        while child.poll() is None:
            try:
                lines = status.read_text().splitlines()
            except OSError:
                return
            own.append(max((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), default=0))
            time.sleep(0.01)

    watcher = threading.Thread(target=look)
    watcher.start()
    output, said = child.communicate()
    watcher.join()
    if child.returncode:
        raise SystemExit(said)
    told = dict(line.split() for line in said.splitlines() if line.startswith(("seconds", "processor", "peak")))
    return float(told["seconds"]), float(told["processor"]), int(told["peak"]) / 1024, max(own) / 1024, output


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=1.0, help="about so large; 0.1 for a quick look")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--format", choices=["torch", "safetensors"], default="torch")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = make(folder, options.gib, options.format)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        base = measure(["--help"], options.threads)
        empty = folder / "small.pt"
        torch.save({"weight": torch.ones(3, 5)}, empty)
        small = measure([str(empty)], options.threads)
        seconds, processor, peak, own, output = measure(arguments, options.threads)
        console.print(output.splitlines()[0].replace(str(folder), "…"))
        console.print(
            f"file               {size:8.0f} MiB; {options.format}, {torch.__version__}, {options.threads} threads"
        )
        console.print(f"--help             {base[0]:8.2f} s")
        for name, (wall, busy, resident, private, _) in (
            ("a tiny file", small),
            ("this file", (seconds, processor, peak, own, output)),
        ):
            console.print(
                f"{name:<18} {wall:8.2f} s, {busy:.2f} s of the processor, {resident:6.0f} MiB resident, "
                f"{private:6.0f} MiB its own"
            )
        console.print(
            f"for the file alone {seconds - small[0]:8.2f} s, {processor - small[1]:.2f} s of the processor, "
            f"{(peak - small[2]) / size:.2f} times its size resident, {(own - small[3]) / size:.2f} its own"
        )


if __name__ == "__main__":
    main()
