"""The first case of the tutorial of `explain` is typed as it stands; the second one runs with the pages' Python."""

import pytest

from tests.docs.pages import BLOCKS
from tests.docs.test_pages import lines, masked, shell

PAGE = "explain-tutorial"


@pytest.mark.timeout(900)
def test_the_first_case_ends_as_the_page_says(tmp_path):
    (script,) = [text for page, language, text in BLOCKS if page == PAGE and language == "python"]
    (tmp_path / "distill.py").write_text(script)
    explain, report = [line for _, line in lines(PAGE)]
    done = shell(explain, tmp_path, timeout=840)
    assert done.returncode == 0, done.stderr
    for text in [text for page, language, text in BLOCKS if page == PAGE and language == "text"]:
        assert masked(text) in masked(done.stdout)
    # The page names the line by its number, which the mask would hide.
    assert "distill.py:14: targets[batch].log()" in " ".join(done.stdout.split())
    assert "targets[batch].log()" in script.splitlines()[13]
    reported = shell(report, tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert "targets[batch].log()" in (tmp_path / "why.html").read_text(encoding="utf-8")
