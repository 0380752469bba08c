"""Files of strangers: nothing is executed, and what cannot be opened says why and what to do."""

import contextlib
import os
import pickle
import struct
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import rectifier
from rectifier.checkpoints.opening import open_checkpoint
from rectifier.errors import UnreadableCheckpoint
from rectifier.report.json.documents import inspection_json


@pytest.fixture
def weights():
    return nn.Linear(3, 5).state_dict()


def refusal(path, *more):
    with pytest.raises(UnreadableCheckpoint) as caught:
        rectifier.inspect_checkpoint(path, *more)
    text = str(caught.value)
    assert str(path) in text
    assert "Traceback" not in text
    return text


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, weights, zipped):
    path, mark = tmp_path / "evil.pt", tmp_path / "executed"
    torch.save(
        {"model": weights, "extra": Malicious(f"touch {mark}")}, path, _use_new_zipfile_serialization=zipped
    )  # fmt: skip
    text = refusal(path)
    assert "posix.system" in text
    assert "torch.save({" in text
    bare = tmp_path / "bare.pkl"
    bare.write_bytes(pickle.dumps(Malicious(f"touch {mark}")))
    refusal(bare)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the pickle was harmless, and this test could not fail"


def test_a_pickled_module_is_refused_with_the_line_that_saves_its_weights(tmp_path):
    path = tmp_path / "whole.pt"
    torch.save(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), path)
    text = refusal(path)
    assert "a whole pickled module that only running code can rebuild" in text
    assert "'torch.nn.modules.linear.Linear'" in text
    assert 'torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "weights.pt")' in text


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_that_was_cut_off(tmp_path, weights, keep, kind):
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    text = refusal(path)
    assert "is empty" in text if not keep else any(word in text for word in ("cut off", "damaged", "not copied whole"))


@pytest.mark.parametrize(
    ("head", "told"),
    [(b"hello, I am a text\n", "not a checkpoint of PyTorch or safetensors"), (b"GGUF\x03\0\0\0", "a GGUF model"),
     (b"\x89HDF\r\n\x1a\n", "an HDF5 file"), (b"PK\x03\x04rubbish", "damaged or cut off"),
     (struct.pack("<Q", 10**15) + b"{}", "not a checkpoint"), (b"\x80\x02]q\x00.", "cannot be opened")],
)  # fmt: skip
def test_other_files_are_named(tmp_path, head, told):
    path = tmp_path / "file"
    path.write_bytes(head)
    assert told in refusal(path)


def test_folders_and_what_is_missing(tmp_path):
    assert "there is no" in refusal(tmp_path / "nowhere.pt")
    (tmp_path / "checkpoint-20").mkdir()
    (tmp_path / "model.pt").write_bytes(b"")
    text = refusal(tmp_path)
    assert "without a model.safetensors or pytorch_model.bin" in text
    assert "model.pt, checkpoint-20" in text
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".metadata").write_bytes(b"")
    assert "dcp_to_torch" in refusal(tmp_path / "d")


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    secret = tmp_path / "secret.bin"
    torch.save(nn.Linear(3, 5).state_dict(), secret)
    folder = tmp_path / "model"
    folder.mkdir()
    index = folder / "pytorch_model.bin.index.json"
    for name in ("../secret.bin", str(secret), "./secret.bin"):
        index.write_text(f'{{"weight_map": {{"weight": {json_of(name)}}}}}')
        with pytest.raises(UnreadableCheckpoint, match="outside of its folder"):
            rectifier.inspect_checkpoint(folder)
    index.write_text('{"weight_map": {"weight": "missing.bin"}}')
    with pytest.raises(UnreadableCheckpoint, match=r"the shard 'missing\.bin', which is missing"):
        rectifier.inspect_checkpoint(folder)
    index.write_text("[]")
    with pytest.raises(UnreadableCheckpoint, match="no index of shards"):
        rectifier.inspect_checkpoint(folder)


def json_of(value):
    return f'"{value}"' if isinstance(value, str) else value


def test_a_torchscript_program_is_refused():
    path = Path(torch.__file__).parent / "bin" / "test_interpreter_async.pt"
    if not path.exists():
        pytest.skip("NOT IN CI: this torch ships no such file")
    assert "is a TorchScript program" in refusal(path)


def test_what_runs_no_code_is_opened(tmp_path, weights):
    path = tmp_path / "model.pt"
    extra = {
        "best": np.float64(0.9), "count": np.int64(3), "history": np.arange(4.0), "args": Namespace(lr=0.1, layers=[3]),
        "folder": Path("runs"),
    }  # fmt: skip
    torch.save({"model": weights, **extra}, path)
    assert [layer.name for layer in rectifier.inspect_checkpoint(path).layers] == ["weight"]


def test_a_billion_numbers_that_are_one_are_not_read(tmp_path):
    path = tmp_path / "bomb.pt"
    claimed = torch.zeros(1).expand(2**20, 2**20)
    torch.save({"claimed": claimed, "weight": torch.ones(3, 5), "sparse": torch.eye(3).to_sparse()}, path)
    assert path.stat().st_size < 10_000
    inspection = rectifier.inspect_checkpoint(path)
    assert [layer.name for layer in inspection.layers] == ["weight"]
    assert any("claimed, sparse" in reason.text for reason in inspection.untold)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["zip", "legacy", "safetensors"]))
def test_bytes_that_flipped_end_in_one_clear_error_or_none(tmp_path_factory, data, kind):
    folder = tmp_path_factory.getbasetemp()
    path = folder / ("flipped.safetensors" if kind == "safetensors" else "flipped.pt")
    state = {"weight": torch.ones(5, 3), "bias": torch.zeros(5)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(UnreadableCheckpoint):
        rectifier.inspect_checkpoint(path)


ODD = [
    None, -1, 10**400, float("nan"), "x", [], {}, torch.tensor(5), torch.tensor(float("nan")), torch.zeros(0, 3),
    torch.ones(5, 3, dtype=torch.int32), torch.ones(5, 3, device="meta"), torch.eye(3).to_sparse(), torch.ones(3, 5),
    torch.ones(5, 3, dtype=torch.complex64), [None], torch.full((5, 3), float("nan")),
]  # fmt: skip


@pytest.mark.parametrize("where", ["step", "exp_avg", "exp_avg_sq", "betas", "lr", "weight_decay", "params", "group",
                                   "entry", "state", "weight", "bias", "global_step"])  # fmt: skip
def test_a_structure_that_is_not_what_it_should_be(tmp_path, where):
    """Whatever stands where a number or a tensor should: a report or one clear error, and never a traceback."""
    path = tmp_path / "odd.pt"
    for odd in ODD:
        model = {"weight": torch.ones(5, 3), "bias": torch.zeros(5)}
        entry = {"step": torch.tensor(9.0), "exp_avg": torch.ones(5, 3), "exp_avg_sq": torch.ones(5, 3)}
        group = {"params": [0, 1], "lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.1}
        optimizer = {"state": {0: entry}, "param_groups": [group]}
        content = {"model": model, "optimizer": optimizer}
        homes = [entry, group, model, content]
        if where == "group":
            optimizer["param_groups"] = [odd]
        elif where == "entry":
            optimizer["state"][0] = odd
        elif where == "state":
            optimizer["state"] = odd
        else:
            next((home for home in homes if where in home), content)[where] = odd
        torch.save(content, path)
        with contextlib.suppress(UnreadableCheckpoint):
            inspection_json(rectifier.inspect_checkpoint(path, path))


def test_without_the_extra_safetensors_are_refused_with_its_name(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install safetensors" in refusal(path)


def test_reading_leaves_the_file_alone(tmp_path, weights):
    path = tmp_path / "model.pt"
    torch.save(weights, path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    path.chmod(0o444)
    rectifier.inspect_checkpoint(path, path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_dtype_that_a_file_has_bent_is_no_dtype(tmp_path):
    """Flags that make numpy take bytes for pointers; here they are dropped, and so is every array."""

    class Bent:
        def __reduce__(self):
            flags = 0x3F
            return np.dtype, ("f8", False, True), (3, "<", None, None, None, -1, -1, flags)

    class Scalar:
        def __reduce__(self):
            return np.float64(0).__reduce__()[0], (Bent(), b"\x41" * 8)

    torch.save({"model": {"w": torch.ones(2, 3)}, "best": Scalar(), "history": np.arange(4.0)}, tmp_path / "bent.pt")
    content, _ = open_checkpoint(tmp_path / "bent.pt")
    assert content["best"] == np.frombuffer(b"\x41" * 8, "<f8")[0]
    assert not isinstance(content["history"], np.ndarray)


@pytest.mark.parametrize("data", [b"", b"\x00" * 7, "text", 3])
def test_a_number_of_the_wrong_length_is_refused(data, tmp_path):
    class Scalar:
        def __reduce__(self):
            return np.float64(0).__reduce__()[0], (np.dtype("f8"), data)

    torch.save({"model": {"w": torch.ones(2, 3)}, "best": Scalar()}, tmp_path / "short.pt")
    with pytest.raises(UnreadableCheckpoint):
        open_checkpoint(tmp_path / "short.pt")


@pytest.mark.parametrize("code", ["f2", "<f4", ">f8", "i1", ">i2", "<i8", "u1", ">u4", "?"])
def test_every_number_is_numpys(code, tmp_path):
    number = np.array([3], code)[0]
    torch.save({"model": {"w": torch.ones(2, 3)}, "best": number}, tmp_path / "numbers.pt")
    assert open_checkpoint(tmp_path / "numbers.pt")[0]["best"] == number.item()


def test_a_path_that_no_file_can_have_is_told(tmp_path):
    with pytest.raises(UnreadableCheckpoint, match="cannot be read"):
        open_checkpoint(tmp_path / ("x" * 300))


def test_a_name_that_would_move_the_cursor_is_written_out(tmp_path):
    (tmp_path / "hostile.pt").write_bytes(b"\x80\x02c\x1b]0;pwned\x07\nname\n)R.")
    with pytest.raises(UnreadableCheckpoint) as refused:
        open_checkpoint(tmp_path / "hostile.pt")
    assert "\x1b" not in str(refused.value)
