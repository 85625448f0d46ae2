import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from engine.embed import Embedder, EmbedderKind, EmbedderSettings
from engine.embedders import create_embedder
from engine.errors import EmbedderRefused

VOCABULARY = ["[PAD]", "[UNK]", "the", "wheel", "turns", "valve", "opens"]
WEIGHTS = np.random.default_rng(1).normal(size=(len(VOCABULARY), 6)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that looks each token up in a table, as the first layer of any encoder does."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    shape = ["batch", "tokens"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "lookup",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, 6])],
        [numpy_helper.from_array(WEIGHTS, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path


def embedder_in(folder: Path | None) -> Embedder:
    return create_embedder(EmbedderSettings(kind=EmbedderKind.ONNX, path=folder, batch_size=2))


def mean(*words: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = WEIGHTS[[VOCABULARY.index(word) for word in words]].mean(axis=0)
    return vector / np.float32(np.linalg.norm(vector))


async def test_vectors_are_the_mean_of_the_tokens_without_padding(folder: Path) -> None:
    embedder = embedder_in(folder)
    vectors = await embedder.embed(["the wheel turns", "valve", "the valve opens", "the " * 600])
    expected = [mean("the", "wheel", "turns"), mean("valve"), mean("the", "valve", "opens"), mean("the")]
    assert np.allclose(vectors, expected, atol=2e-3)
    assert vectors.dtype == np.float16
    assert embedder.dimensions == 6
    await embedder.aclose()


def test_the_name_changes_with_the_model(folder: Path) -> None:
    before = embedder_in(folder).name
    assert before == embedder_in(folder).name
    assert before.startswith(f"onnx:{folder.name}:")
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHTS * 2, "table"))
    onnx.save(model, folder / "model.onnx")
    assert embedder_in(folder).name != before


def test_a_missing_part_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbedderRefused, match="MILLRACE_EMBEDDER_PATH"):
        embedder_in(None)
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(EmbedderRefused, match="does not run"):
        embedder_in(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(EmbedderRefused, match=r"model\.onnx is not in the folder"):
        embedder_in(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EmbedderRefused, match=r"pip install 'millrace\[onnx\]'"):
        embedder_in(folder)
