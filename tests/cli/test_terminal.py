"""Nothing that is quoted commands a terminal, and output that cannot be written ends in one line."""

import base64
import csv
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import rectifier
from rectifier.records import Warned
from rectifier.report.page.page import comparison_page
from rectifier.storage import RunWriter, write_manifest
from tests.fuzz.mutators import ESCAPES
from tests.fuzz.watching import run_command
from tests.report.builders import make_comparison, make_process, make_run

SOURCE = Path(rectifier.__file__).parent


def write_run(folder, process, **manifest):
    folder.mkdir()
    write_manifest(folder, replace(make_run().manifest, **manifest))
    sink = RunWriter(folder)
    for fact in (process.writer, *process.sites, *process.snapshots, *map(Warned, process.warnings), *process.unseen):
        sink.record(fact)
    return folder


@pytest.fixture
def hostile(tmp_path):
    process = make_process(names=(ESCAPES, f"{ESCAPES}.1", "2"), dying=(1,), model=ESCAPES)
    sites = tuple(replace(site, source=f"{ESCAPES}.py:3") for site in process.sites)
    writer = replace(process.writer, torch=ESCAPES, device=ESCAPES)
    whole = replace(process, sites=sites, writer=writer, warnings=(ESCAPES,))
    return write_run(tmp_path / f"run{ESCAPES.replace('/', '')}", whole, command=(ESCAPES,), swap=(f"relu={ESCAPES}",))


def test_a_run_whose_every_name_commands_a_terminal(hostile):
    seen = run_command("report", str(hostile))
    assert (seen.wrong, seen.code) == ("", 0), seen
    assert seen.text.count(r"\x1b[2J") > 3


def test_a_checkpoint_whose_every_name_commands_a_terminal(tmp_path):
    path = tmp_path / f"{ESCAPES}.pt"
    weights = {f"{ESCAPES}{name}": value for name, value in nn.Linear(7, 5).state_dict().items()}
    weights[f"{ESCAPES}weight"][2:] = -1.0
    torch.save({ESCAPES: weights}, path)
    for more in ((), (str(path),), ("--all",)):
        seen = run_command("inspect", str(path), *more)
        assert (seen.wrong, seen.code) == ("", 0), seen
    assert r"\x1b[2J" in seen.text


@pytest.mark.parametrize(
    "arguments",
    [
        (ESCAPES,), (f"--{ESCAPES}",), ("report", ESCAPES), ("report", "x", ESCAPES), ("report", f"--{ESCAPES}", "x"),
        ("inspect", ESCAPES), ("run", ESCAPES), ("run", "--swap", ESCAPES, "x"), ("run", "--recycle", ESCAPES, "x"),
        ("run", f"--{ESCAPES}"), ("run", "--every", ESCAPES, "x.py"), ("compare", ESCAPES),
        ("compare", "--arms", ESCAPES, __file__), ("explain", ESCAPES), ("check", ESCAPES), ("census", ESCAPES),
        ("check", f"tests.cli.test_terminal:{ESCAPES}"), ("check", "tests.cli.test_terminal:breaks", "--input", "7,3"),
        ("activations", ESCAPES), ("activations", "relu", "--plot", f"{ESCAPES}/x/y.html"), ("reproduce", ESCAPES),
        ("report", "--suppress", ESCAPES, "x"), ("demo", ESCAPES),
    ],
)  # fmt: skip
def test_a_mistake_is_quoted_without_its_commands(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = run_command(*(one.replace("\0", "") for one in arguments))
    assert (seen.wrong, seen.code) == ("", 2), seen


def breaks():
    raise ValueError(ESCAPES)


SCRIPT = f"""
import torch
Net = type({ESCAPES!r}, (torch.nn.Sequential,), {{}})
net = Net(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(5):
    optimizer.zero_grad()
    net(torch.randn(11, 7)).square().mean().backward()
    optimizer.step()
"""


def test_a_script_whose_name_and_classes_command_a_terminal(tmp_path):
    script = tmp_path / "\x1b[2J\x1b]0;x\x07.py"
    script.write_text(SCRIPT)
    ran = started("run", script.name, cwd=tmp_path, stdout=subprocess.PIPE)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert all(character.isprintable() or character == "\n" for character in ran.stderr), ran.stderr


def test_only_one_place_prints():
    """Whoever prints on another way than `open_console` and `echo` prints what is quoted as it is."""
    printing = re.compile(r"(?<![\w.])(Console\((?!file=)(?!\))|click\.echo\(|print\()")
    allowed = {"report/text/terminal.py", "report/text/live.py", "cli/running.py", "storage/writing.py"}
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if any(printing.search(line) for line in path.read_text().splitlines() if ">>>" not in line)
    }
    assert found <= allowed


# Output that cannot be written. ------------------------------------------------------------------------------------


@pytest.fixture
def whole(tmp_path):
    return write_run(tmp_path / "run", make_process(dying=(0, 1, 2)))


def started(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "rectifier", *arguments],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        **more,
    )


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_behind_standard_output_is_one_line(more, whole):
    with Path("/dev/full").open("w") as full:
        ran = started("report", str(whole), *more, stdout=full)
    assert ran.returncode == 2
    assert ran.stderr == (
        "rectifier: standard output cannot be written: No space left on device. Free space, or send it elsewhere.\n"
    )


@pytest.mark.parametrize("more", [(), ("--json",), ("--fail-on", "warning")])
def test_a_pipe_that_nobody_reads_changes_no_exit_code(more, whole):
    code = run_command("report", str(whole), *more).code
    reader, writer = os.pipe()
    os.close(reader)
    ran = started("report", str(whole), *more, stdout=writer)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (code, "")


def test_a_terminal_without_unicode(whole, hostile):
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain.pop("PYTHONIOENCODING", None)
    for arguments in (("report", str(whole)), ("report", str(hostile)), ("activations",), ("report", "ω")):
        ran = started(*arguments, env=plain, stdout=subprocess.PIPE)
        assert ran.returncode == (2 if arguments[1:] == ("ω",) else 0), ran.stderr
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "a\udcffb"])
def test_names_that_no_file_has(name, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (("report", name), ("inspect", name), ("report", str(whole), "--html", name + "x"), ("run", name)):
        seen = run_command(*arguments)
        expected = 0 if "\udcff" in name and "--html" in arguments else 2
        assert (seen.wrong, seen.code) == ("", expected), seen


def test_a_page_on_a_full_disk_leaves_nothing_half_written(whole, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("the old one")
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); sys.argv[1:] = {!r}\n{}"
    code = limit.format(["report", str(whole), "--html", str(page)], "from rectifier.cli import main; main()")
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert ran.stderr.startswith(f"rectifier: {page} cannot be written: File too large")
    assert page.read_text() == "the old one"
    assert not list(tmp_path.glob(".rectifier-*"))


def test_a_page_may_have_the_longest_name_and_a_device_stays_one(whole, tmp_path):
    longest = tmp_path / ("x" * 250 + ".html")
    assert run_command("report", str(whole), "--html", str(longest)).code == 0
    assert longest.stat().st_size > 1000
    pipe = tmp_path / "pipe"
    pipe.symlink_to("/dev/null")
    assert run_command("report", str(whole), "--html", str(pipe)).code == 0
    assert pipe.is_symlink()


def test_the_table_that_is_downloaded_starts_no_cell_with_a_formula():
    comparison = make_comparison()
    trials = [
        replace(comparison.trials[0], arm=text, metric=-0.5) for text in ("=1+1", "+1", "-1", "@SUM(1)", ESCAPES, "elu")
    ]
    page = comparison_page(replace(comparison, trials=tuple(trials), metric="=HYPERLINK(1)"))
    (data,) = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', page)
    rows = list(csv.reader(io.StringIO(base64.b64decode(data).decode())))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert rows[1][0] == "'=1+1"
    assert float(rows[1][2]) == -0.5
    assert all(cell.isprintable() for row in rows for cell in row)


def test_a_helper_that_sees_escapes_objects_to_them():
    from tests.fuzz.watching import watch_call

    assert watch_call(lambda: print("\x1b[2J")).wrong == "escape"
    assert watch_call(lambda: 1 / 0).wrong == "ZeroDivisionError"
    assert watch_call(lambda: None).wrong == ""
