import pytest

from tests.report.builders import diagnosed, make_process, make_run


@pytest.fixture(scope="session")
def dying():
    return diagnosed(make_run(make_process(widths=(13, 32, 32, 11, 7), dying=(1, 3))))
