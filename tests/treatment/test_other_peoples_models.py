"""Hugging Face's models in tiny, random configurations: a swap makes of them what their own configuration would.

Install what they need with `pip install -r tests/treatment/other-peoples-models.txt`; nothing is loaded from a network.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

from rectifier.errors import CannotRecycle, CannotSwap
from rectifier.hooks.modules import activation_of
from rectifier.treatment import recycle, rescale, swap
from tests.treatment.recycling.recycle_models import dead

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -r tests/treatment/other-peoples-models.txt"
)

TOKENS = torch.arange(7 * 11).reshape(7, 11) % 29
SMALL = {"vocab_size": 31, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def bert(act):
    config = transformers.BertConfig(**SMALL, intermediate_size=24, max_position_embeddings=16, hidden_act=act)
    return transformers.BertForSequenceClassification(config), {"input_ids": TOKENS}


def gpt2(act):
    config = transformers.GPT2Config(
        vocab_size=31,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=16,
        activation_function=act,
        bos_token_id=0,
        eos_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config), {"input_ids": TOKENS}


def opt(act):
    config = transformers.OPTConfig(
        **SMALL, ffn_dim=24, max_position_embeddings=16, word_embed_proj_dim=16, activation_function=act
    )
    return transformers.OPTForCausalLM(config), {"input_ids": TOKENS}


def t5(act):
    config = transformers.T5Config(
        vocab_size=31, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, feed_forward_proj=act
    )
    return transformers.T5ForConditionalGeneration(config), {"input_ids": TOKENS, "decoder_input_ids": TOKENS[:, :5]}


def llama(act):
    config = transformers.LlamaConfig(
        **SMALL, intermediate_size=24, max_position_embeddings=16, num_key_value_heads=1, hidden_act=act
    )
    return transformers.LlamaForCausalLM(config), {"input_ids": TOKENS}


# Maker, the activation by its name there and here, and how many there are.
MODELS = {
    "BERT": (bert, "gelu", "gelu", 2),
    "GPT-2": (gpt2, "gelu_new", "gelu_tanh", 2),
    "OPT": (opt, "relu", "relu", 2),
    "T5": (t5, "relu", "relu", 4),
    "T5, gated": (t5, "gated-silu", "silu", 4),
    "LLaMA": (llama, "silu", "silu", 2),
}


def made(name, act=None):
    make, theirs, ours, count = MODELS[name]
    torch.manual_seed(0)
    gated = "gated-" if theirs.startswith("gated-") and act else ""
    model, inputs = make(gated + act if act else theirs)
    return model, inputs, ours, count


def returned(model, inputs):
    """Logits and gradients, from one random stream for the dropouts."""
    torch.manual_seed(1)
    model.zero_grad()
    logits = model(**inputs).logits
    logits.square().mean().backward()
    return logits.detach(), [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def equal(one, other):
    assert torch.equal(one[0], other[0])
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_a_swap_is_what_their_configuration_would_be_and_undo_is_the_identity(name, train):
    model, inputs, old, count = made(name)
    reference, *_ = made(name, "leaky_relu")  # 0.01, in torch and there
    reference.load_state_dict(model.state_dict())
    model.train(train), reference.train(train)
    before, keys, shown = returned(model, inputs), list(model.state_dict()), repr(model)
    assert not torch.equal(before[0], returned(reference, inputs)[0])
    change = swap(model, old, "leaky_relu:0.01")
    assert len(change.replaced) == count
    equal(returned(model, inputs), returned(reference, inputs))
    equal(returned(copy.deepcopy(model), inputs), returned(reference, inputs))
    assert list(model.state_dict()) == keys
    change.undo()
    equal(returned(model, inputs), before)
    assert repr(model) == shown


@pytest.mark.parametrize("name", MODELS)
def test_a_learned_slope_goes_into_their_optimizer(name):
    model, inputs, old, count = made(name)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    change = swap(model, old, "prelu:0.25", optimizer=optimizer)
    assert len(change.replaced) == count
    slopes = [value for key, value in model.named_parameters() if value.shape == (1,)]
    assert len(slopes) == count
    before = [slope.item() for slope in slopes]
    model(**inputs).logits.square().mean().backward()
    optimizer.step()
    assert all(slope.item() != start for slope, start in zip(slopes, before, strict=True))
    assert len(optimizer.param_groups) == 2
    change.undo()
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_rescale_is_measured_and_taken_back(name):
    model, inputs, *_ = made(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stream = torch.get_rng_state()
    change = rescale(model, inputs)
    assert change.mode == "lsuv"
    assert change.gains
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(gain.deviation_after == pytest.approx(1, abs=0.1) for gain in change.gains)
    change.undo()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


LABELS = TOKENS[:, :5].contiguous()
RECYCLED = {  # a site, the layer that feeds it, and the labels, which make a batch as their collators yield it
    "OPT": ("model.decoder.layers.0.activation_fn", "model.decoder.layers.0.fc1", TOKENS),
    "T5": ("encoder.block.0.layer.1.DenseReluDense.act", "encoder.block.0.layer.1.DenseReluDense.wi", LABELS),
}


@pytest.mark.parametrize("name", RECYCLED)
def test_dead_units_are_recycled_and_the_logits_stay(name):
    model, inputs, *_ = made(name)
    site, feeding, labels = RECYCLED[name]
    model.eval()
    with torch.no_grad():
        layer = model.get_submodule(feeding)
        layer.weight[:5] = 0
        if layer.bias is not None:
            layer.bias[:5] = -1
        before = model(**inputs).logits
    optimizer = torch.optim.AdamW(model.parameters())
    change = recycle(model, optimizer, dead(site, range(5)), batch={**inputs, "labels": labels})
    assert change.units == {site: (0, 1, 2, 3, 4)}
    with torch.no_grad():
        assert torch.allclose(model(**inputs).logits, before, atol=1e-5 * float(before.abs().max()))
    model(**inputs).logits.square().mean().backward()
    assert bool((layer.weight.grad[:5].abs().amax(1) > 0).all())


def test_gates_are_refused_with_the_reason():
    model, inputs, *_ = made("LLaMA")
    optimizer = torch.optim.AdamW(model.parameters())
    with torch.no_grad():
        model.model.layers[0].mlp.gate_proj.weight[:2] = 0
    with pytest.raises(CannotRecycle, match="multiplied with another tensor, so two of them no longer cancel"):
        recycle(model, optimizer, dead("model.layers.0.mlp.act_fn", (0, 1)), batch=inputs)


@pytest.mark.parametrize("key", sorted(transformers.activations.ACT2FN))
def test_every_activation_of_theirs_is_swapped_as_the_model_itself_or_refused_by_name(key):
    module = transformers.activations.ACT2FN[key]
    z = torch.linspace(-3, 3, 77).reshape(7, 11)
    found = activation_of(module)
    if found is None:
        with pytest.raises(CannotSwap, match=f"{type(module).__name__} computes no relu"):
            swap(module, "relu", "elu")
        return
    before = module(z)
    change = swap(module, found.activation.name, "leaky_relu:0.37")
    assert torch.equal(module(z), F.leaky_relu(z, 0.37))
    change.undo()
    assert torch.equal(module(z), before)


def test_all_of_theirs_are_known_but_the_one_that_learns_two_coefficients():
    found = {key: activation_of(transformers.activations.ACT2FN[key]) for key in transformers.activations.ACT2FN}
    assert [key for key, choice in found.items() if choice is None] == ["xielu"]
    assert activation_of(transformers.activations.ClippedGELUActivation(-1, 10)) is None
