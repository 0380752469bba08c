"""A program below the tests that is still running, and the processes around it."""

import json
import os
import select
import subprocess

from tests.launch.running import RECTIFIER

WAITS = """
import os, sys, time
print("ready", os.getpid(), flush=True)
time.sleep(60)
"""


class Started:
    """A process below the test, and what it has said so far."""

    def __init__(self, program, folder, *arguments, before=(), line=(RECTIFIER, "run"), **options):
        (folder / "train.py").write_text(program)
        self.folder = folder
        self.process = subprocess.Popen(
            [*before, *line, "train.py", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            **{"stderr": subprocess.PIPE, "start_new_session": True} | options,
        )
        self.script = int(self.line("ready"))

    def line(self, first, within=30):
        """The rest of the next line, which begins with that word."""
        assert select.select([self.process.stdout], [], [], within)[0], f"no {first} came"
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self.process.stdout.fileno(), 1)
            assert byte, f"ended instead of {first}: {self.process.stderr.read().decode()}"
            line += byte
        word, _, rest = line.decode().strip().partition(" ")
        assert word == first, line
        return rest

    def silent(self, seconds=0.2):
        return not select.select([self.process.stdout], [], [], seconds)[0]

    def end(self):
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()

    def outcome(self):
        (path,) = self.folder.glob("rectifier-runs/*/outcome.json")
        return json.loads(path.read_text())["exit_code"]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
