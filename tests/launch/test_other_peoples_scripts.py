"""Training scripts that other people wrote and published, run as they are installed.

    stanza 1.15.0   `python -m stanza.models.classifier`: a CNN whose activations are all calls of `F.relu`
    opacus 1.6.0    `examples/char-lstm-classification.py`: loaders with worker processes, per-sample gradients
    skorch 1.4.0    the example of its description: trained by `NeuralNetClassifier.fit`

Install them with `pip install -r tests/launch/other-peoples-scripts.txt`. Only the data is ours; neither can be had
without a network.
"""

import json
import random
import re
import textwrap
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.launch.running import Case, lay, observed, python, rectifier

PINS = dict(
    line.split("==")
    for line in (Path(__file__).parent / "other-peoples-scripts.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
)


def installed(name, record_property):
    try:
        found = distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed: pip install -r tests/launch/other-peoples-scripts.txt")
    record_property("distribution", f"{name} {found.version}")
    assert found.version == PINS[name]
    return found


def test_stanza_whose_activations_are_functions_only(tmp_path, record_property):
    installed("stanza", record_property)
    draw = random.Random(2)
    words = ["good", "bad", "fine", "film", "plot", "the", "a", "of"]
    vectors = "\n".join(f"{word} " + " ".join(f"{draw.gauss(0, 1):.4f}" for _ in range(5)) for word in words)
    reviews = [
        {"sentiment": str(index % 3), "text": draw.choices(words, k=9), "constituency": ""} for index in range(75)
    ]
    case = Case(
        {
            "train.json": json.dumps(reviews),
            "dev.json": json.dumps(reviews[:11]),
            "test.json": json.dumps(reviews[11:20]),
            "vectors.txt": f"{len(words)} 5\n{vectors}\n",
        },
        (
            *("-m", "stanza.models.classifier", "--cpu", "--seed", "1", "--max_epochs", "2", "--batch_size", "7"),
            *("--train_file", "train.json", "--dev_file", "dev.json", "--test_file", "test.json"),
            *("--wordvec_raw_file", "vectors.txt", "--wordvec_pretrain_file", "vectors.pt"),
            *("--save_dir", "saved", "--shorthand", "en_reviews", "--filter_channels", "7", "--fc_shapes", "11"),
        ),
    )
    lay(case, tmp_path / "plain")
    lay(case, tmp_path / "work" / "here")
    plainly = python(case, tmp_path / "plain")
    ours, (run,) = rectifier(case, tmp_path / "work" / "here")
    assert plainly.code == ours.code == 0, ours.err

    def said(ran):
        return [re.sub(r"^[-\d]+ [:\d]+ ", "", line) for line in ran.err.splitlines()]

    # Its log tells the loss of each epoch and the accuracies.
    assert "Total loss" in plainly.err
    assert said(ours)[: len(said(plainly))] == said(plainly)
    (process,) = run.processes
    assert {(site.activation, site.kind) for site in process.sites} == {("relu", "function")}
    assert {site.source.partition(":")[0] for site in process.sites} == {"cnn_classifier.py"}
    assert len(process.sites) == 4
    assert observed(run) > 100


def test_opacus_with_workers(tmp_path, record_property):
    found = installed("opacus", record_property)
    (script,) = [path for path in found.files if path.as_posix() == "examples/char-lstm-classification.py"]
    text = Path(script.locate()).read_text()
    assert text.count("num_workers=1") == 2
    draw = random.Random(1)
    names = {
        f"names/{language}.txt": "\n".join("".join(draw.choices(letters, k=draw.randint(3, 8))) for _ in range(25))
        for language, letters in {"Abc": "abcdef", "Xyz": "uvwxyz", "Mno": "klmnop"}.items()
    }
    case = Case(
        names,
        (
            *(str(script.locate()), "--data-root", "names", "--device", "cpu", "--batch-size", "16", "--epochs", "2"),
            *("--embedding-size", "5", "--hidden-size", "7"),
        ),
    )
    lay(case, tmp_path / "here")
    ours, (run,) = rectifier(case, tmp_path / "here", "--every", "1")
    assert ours.code == 0, ours.err
    assert "Test Accuracy" in ours.out
    # One process trains; the loaders' workers write nothing.
    (process,) = run.processes
    assert {"tanh", "sigmoid"} == {site.activation for site in process.sites}
    assert all(site.source.startswith("dp_rnn.py:") for site in process.sites)
    assert observed(run) > 100


def test_skorch_whose_trainer_is_a_class(tmp_path, record_property):
    found = installed("skorch", record_property)
    description = found.metadata.get_payload()
    (example,) = re.findall(r"\.\. code:: python\n\n((?:    .*\n|\n)+)", description)[:1]
    assert "net.fit(X, y)" in example
    case = Case({"example.py": textwrap.dedent(example)}, ("example.py",))
    lay(case, tmp_path / "here")
    ours, (run,) = rectifier(case, tmp_path / "here")
    assert ours.code == 0, ours.err
    assert "train_loss" in ours.out
    (process,) = run.processes
    # One nn.ReLU, called twice in each forward.
    assert [(site.model, site.path, site.call, site.kind, site.units) for site in process.sites] == [
        ("MyModule", "nonlin", 0, "module", 10),
        ("MyModule", "nonlin", 1, "module", 10),
    ]
    # Ten epochs of 800 rows, 128 a batch.
    assert len(process.series("loss").values) == 70
