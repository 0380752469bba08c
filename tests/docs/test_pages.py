"""Every block of the documentation is executed, and prints what it says it prints.

`python` and `pycon` blocks of a page run one after the other in one namespace. Blocks of `sh` run in
`test_commands.py`, but for the tutorial's and those for CI, whose output is looked at here.
"""

import doctest
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rectifier.catalogue import CATALOGUE
from rectifier.cli.group import _group
from rectifier.records import Rule
from tests.docs.pages import BLOCKS, HEALTHY, PAGES, ROOT
from tests.test_readme import EXCERPT

OPTIONAL = ("lightning", "transformers")
HERE = {
    "tutorial": ["rectifier run --every 1 examples/digits.py --seed 4 --epochs 4"],
    "recipes": ["rectifier run --fail-on serious train.py --epochs 1"],
}


def lines(page=None):
    return [
        (name, line)
        for name, language, text in BLOCKS
        if language == "sh" and page in (None, name)
        for line in text.splitlines()
    ]


def shell(text, folder, timeout=240):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "80"}
    return subprocess.run(
        ["sh", "-e", "-c", text],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=timeout,
    )


def test_no_block_and_no_line_is_left_out():
    assert len(PAGES) >= 9
    assert {language for _, language, _ in BLOCKS} == {"sh", "python", "pycon", "text"}
    assert sum(text.count("```") for text in PAGES.values()) == 2 * len(BLOCKS)
    rest = [line for _, line in lines() if not line.startswith(("rectifier ", "make "))]
    assert rest == []
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {line.split()[1] for _, line in lines() if line.startswith("make ")} <= set(targets)


def words_of(line):
    return shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("line", sorted({line for _, line in lines() if line.startswith("rectifier ")}))
def test_each_line_is_taken_by_its_command(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *arguments = words_of(line.partition(" > ")[0])
    command = _group.get_command(None, name)
    command.make_context(name, arguments)


def test_a_line_that_no_command_takes_is_noticed():
    import click

    with pytest.raises(click.NoSuchOption):
        _group.get_command(None, "report").make_context("report", ["runs", "--htm", "x"])


@pytest.mark.parametrize("page", sorted({name for name, language, _ in BLOCKS if language in ("python", "pycon")}))
def test_python_blocks_print_what_they_say(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, missing = {}, []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for name, language, text in BLOCKS:
        if name != page:
            continue
        needed = [name for name in OPTIONAL if re.search(rf"^import {name}$", text, re.MULTILINE)]
        if absent := [name for name in needed if not importlib.util.find_spec(name)]:
            missing += absent
        elif language == "python":
            exec(compile(text, f"{page}.md", "exec"), names)
        elif language == "pycon":
            test = doctest.DocTestParser().get_doctest(text, names, page, f"{page}.md", 0)
            said = []
            runner.run(test, out=said.append, clear_globs=False)
            assert runner.failures == 0, "".join(said)
            names.update(test.globs)
    if missing:
        pytest.skip(f"NOT INSTALLED, so its block was not executed: {', '.join(missing)}")


def masked(text):
    """A text without its numbers and line breaks: another machine rounds differently."""
    return " ".join(re.sub(r"\d[\d.,]*", "#", text).split())


@pytest.mark.timeout(240)
def test_the_tutorial_shows_what_its_run_prints(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (line,) = HERE["tutorial"]
    ran = shell(line, tmp_path)
    assert ran.returncode == 0, ran.stderr
    told = [text for page, language, text in BLOCKS if page == "tutorial" and language == "text"]
    output, *diagnosis, verdict = told
    assert masked(output) == masked(ran.stdout)
    assert len(diagnosis) == 2
    for text in diagnosis:
        assert masked(text) in masked(ran.stderr)
    assert verdict == EXCERPT.partition("...\n")[2], "the README's, which tests/test_demo.py compares with the demo"
    (report,) = [line for _, line in lines("tutorial") if line.startswith("rectifier report ")]
    reported = shell(report, tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert "<title>digits-" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_lines_for_ci(tmp_path):
    (tmp_path / "train.py").write_text(HEALTHY)
    block = next(text for page, _, text in BLOCKS if page == "recipes" and "--fail-on serious" in text)
    assert block.splitlines()[0] in HERE["recipes"]
    done = shell(block, tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"findings"' in (tmp_path / "diagnosis.json").read_text()


def test_every_finding_is_explained_and_no_other():
    told = re.findall(r"^###? ([a-z]+(?:-[a-z]+)*)$", PAGES["findings"], re.MULTILINE)
    assert sorted(told) == sorted(Rule)
    for rule in Rule:
        assert f"*{rule.says[0].upper()}{rule.says[1:]}.*" in PAGES["findings"].replace("\n", " "), rule


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_hold_the_whole_catalogue_every_threshold_and_every_public_name(generate):
    import rectifier
    from rectifier.diagnosis import thresholds

    text = generate.activations()
    for name, row in CATALOGUE.items():
        assert f"## {name}\n" in text
        assert row.paper in text
    limits = generate.limits()
    assert limits.count("**") == 2 * len([name for name in vars(thresholds) if name.isupper()])
    assert "**dead samples: 3,000**" in limits
    api = generate.api()
    for name in set(rectifier.__all__) - {"__version__", "nn", "functional", "plot"}:
        assert f".{getattr(rectifier, name).__qualname__}\n" in api


def test_a_curve_is_drawn_through_its_values(generate):
    from rectifier.catalogue import parse

    value = re.findall(r'<polyline points="([^"]*)"[^>]*#0072B2', generate.curve(parse("leaky_relu:0.5")))
    points = [tuple(map(float, point.split(","))) for point in value[0].split()]
    assert len(points) == 401
    # The slope below 0 is half of that above.
    left = (points[100][1] - points[0][1]) / (points[100][0] - points[0][0])
    right = (points[400][1] - points[300][1]) / (points[400][0] - points[300][0])
    assert left / right == pytest.approx(0.5, abs=0.02)
    jumps = re.findall(r'points="([^"]*)"[^>]*#D55E00', generate.curve(parse("relu")))
    assert len(jumps) == 2, "the derivative of ReLU jumps, and is not drawn as if it did not"


def test_every_page_is_in_the_navigation_and_nothing_else_is():
    """Zensical builds a link to a page that does not exist, and says nothing."""
    listed = set(re.findall(r'= "([\w/-]+\.md)" }', (ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8")))
    generated = {"generated/activations.md", "generated/api.md"}
    assert listed == {f"{page}.md" for page in PAGES} | generated


def test_pages_name_files_and_links_that_exist():
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#:]+\.md)", text):
            if target.startswith("generated/"):
                assert target.partition("/")[2] in ("activations.md", "api.md", "thresholds.md"), (page, target)
            else:
                assert (ROOT / "docs" / "pages" / target).is_file(), (page, target)
