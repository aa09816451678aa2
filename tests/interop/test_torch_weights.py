"""from_torch and to_torch: weights of PyTorch's recurrent modules, as arrays, tensors, modules and files."""

import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import seqcore as sc
from seqcore import layers
from seqcore.interop.torch import from_torch, to_torch

INPUTS, UNITS = 5, 4
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
LAYERS = {"rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
CELLS = pytest.mark.parametrize("cell", GATES)
DIRECTIONS = pytest.mark.parametrize("directions", [1, 2])


def state_dict(rng, cell, depth=1, directions=1, bias=True, inputs=INPUTS, units=UNITS):
    """Random weights by PyTorch's names; depth 0 is a cell."""
    rows = GATES[cell] * units
    state = {}
    for number in range(max(depth, 1)):
        for back in ("", "_reverse")[:directions]:
            end = f"_l{number}{back}" if depth else ""
            state[f"weight_ih{end}"] = rng.normal(size=(rows, units * directions if number else inputs))
            state[f"weight_hh{end}"] = rng.normal(size=(rows, units))
            if bias:
                state |= {f"bias_ih{end}": rng.normal(size=rows), f"bias_hh{end}": rng.normal(size=rows)}
    return state


def assert_equal_layers(got, expected):
    for layer, other in zip(got, expected, strict=True):
        for array, same in zip(layer, other, strict=True):
            np.testing.assert_array_equal(array, same)
            assert array.dtype == same.dtype and array.flags.c_contiguous


def assert_same_module(got, expected, cell):
    """Equal arrays by name; RNN and LSTM add their two biases, so that these are equal in sum."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        if "bias" in name and cell != "gru":
            other = name.replace("ih", "hh") if "ih" in name else name.replace("hh", "ih")
            np.testing.assert_array_equal(got[name] + got[other], array + expected[other])
        else:
            np.testing.assert_array_equal(got[name], array)


# --- layout -----------------------------------------------------------------------------------------------------------


@given(
    cell=st.sampled_from(list(GATES)),
    depth=st.integers(0, 3),
    directions=st.integers(1, 2),
    bias=st.booleans(),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    prefix=st.sampled_from(["", "rnn", "encoder.rnn"]),
    seed=st.integers(0, 9),
)
def test_round_trip(cell, depth, directions, bias, sizes, prefix, seed):
    """Both ways, with the cell told or found by the shapes."""
    directions = directions if depth else 1
    state = state_dict(np.random.default_rng(seed), cell, depth, directions, bias, *sizes)
    state = {f"{prefix}.{name}" if prefix else name: array for name, array in state.items()}
    got = from_torch(state, cell)
    assert_equal_layers(from_torch(state), got)
    assert [len(layer) for layer in got] == [(3 if bias else 2) * directions] * max(depth, 1)
    back = to_torch(got, cell, prefix=prefix, numbered=bool(depth))
    assert_same_module(back, state, cell)
    assert_same_module(to_torch(got, prefix=prefix, numbered=bool(depth)), back, cell)
    assert_equal_layers(from_torch(back, cell, prefix), got)


@CELLS
def test_one_step_by_the_equations(rng, cell):
    """The equations of PyTorch's documentation, on its arrays, next to a layer with the converted ones."""
    state = state_dict(rng, cell)
    x, h = rng.normal(size=(3, INPUTS)), rng.normal(size=(3, UNITS))
    from_input = np.split(x @ state["weight_ih_l0"].T + state["bias_ih_l0"], GATES[cell], axis=1)
    from_state = np.split(h @ state["weight_hh_l0"].T + state["bias_hh_l0"], GATES[cell], axis=1)
    states = [h]
    if cell == "rnn":
        expected = np.tanh(from_input[0] + from_state[0])
    elif cell == "lstm":
        c = rng.normal(size=(3, UNITS))
        states.append(c)
        i, f, g, o = (a + b for a, b in zip(from_input, from_state))
        expected = sigmoid(o) * np.tanh(sigmoid(f) * c + sigmoid(i) * np.tanh(g))
    else:
        r, z = (sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2]))
        expected = (1 - z) * np.tanh(from_input[2] + r * from_state[2]) + z * h
    layer = LAYERS[cell](UNITS, dtype="float64")
    layer.build((None, None, INPUTS))
    layer.set_weights(from_torch(state, cell)[0])
    np.testing.assert_allclose(layer(x[:, None], initial_state=states), expected, atol=1e-12)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@CELLS
def test_one_module_of_a_model(rng, cell):
    """The state_dict of a whole model: the module is named, or the only one; a cell is a module as any other."""
    encoder, decoder = state_dict(rng, cell, 2), state_dict(rng, cell, 0)
    head = {"head.weight": rng.normal(size=(2, 4)), "table.weight": rng.normal(size=(9, 4))}
    single = head | {f"encoder.rnn.{name}": array for name, array in encoder.items()}
    both = single | {f"decoder.{name}": array for name, array in decoder.items()}
    expected = from_torch(encoder, cell)
    for got in (
        from_torch(single, cell),
        from_torch(both, cell, prefix="encoder.rnn"),
        from_torch(both, cell, prefix="encoder.rnn."),
        from_torch(encoder, cell, prefix=""),
        from_torch(both | encoder, cell, prefix=""),
    ):
        assert_equal_layers(got, expected)
    assert_equal_layers(from_torch(both, cell, prefix="decoder"), from_torch(decoder, cell))
    with pytest.raises(ValueError, match="weights: expected one recurrent module.*'encoder.rnn', 'decoder'"):
        from_torch(both, cell)
    for prefix in ("encoder", "", "rnn"):
        with pytest.raises(ValueError, match="prefix: expected one of 'encoder.rnn', 'decoder', got"):
            from_torch(both, cell, prefix=prefix)


@CELLS
@DIRECTIONS
def test_no_array_of_a_module_may_be_missing_or_unknown(rng, cell, directions):
    whole = state_dict(rng, cell, 3, directions)
    for name in whole:
        rest = {other: array for other, array in whole.items() if other != name}
        with pytest.raises(ValueError, match=f"weights: expected '{name}' next to"):
            from_torch(rest, cell)
    for number in range(2):
        rest = {name: array for name, array in whole.items() if f"_l{number}" not in name}
        with pytest.raises(ValueError, match=f"weights: expected 'weight_ih_l{number}' next to"):
            from_torch(rest, cell)
    for name in ("weight_hr_l0", "weight_ih_l00", "weight_ih_l0_g", "weight", "bias_ih_l0_forward"):
        with pytest.raises(ValueError, match=f"weights: expected .* without .*, got '{name}'"):
            from_torch({**whole, name: np.ones((2, 2))}, cell)
    with pytest.raises(ValueError, match="weights: expected layers or one cell, got 'weight_ih' next to"):
        from_torch({**whole, "weight_ih": np.ones((2, 2))}, cell)
    for name, array in whole.items():
        with pytest.raises(ValueError, match="weights: expected"):
            from_torch({**whole, name: array[:-1]}, cell)
        with pytest.raises(ValueError, match="weights: expected"):
            from_torch({**whole, name: array[..., None]}, cell)
    with pytest.raises(ValueError, match="weights: expected"):
        from_torch({**whole, "weight_ih_l1": whole["weight_ih_l1"][:, :-1]}, cell)


@CELLS
def test_half_precision_is_widened_before_it_is_added(rng, cell):
    half = {name: array.astype(np.float16) for name, array in state_dict(rng, cell, 2, 2).items()}
    wide = {name: array.astype(np.float32) for name, array in half.items()}
    assert_equal_layers(from_torch(half, cell), from_torch(wide, cell))
    assert from_torch(half, cell)[0][0].dtype == np.float32


def test_bad_weights():
    kernel, recurrent = np.ones((8, 3)), np.ones((8, 2))
    for arguments, message in (
        (({}, "qrnn"), "cell: expected 'rnn', 'lstm' or 'gru', got 'qrnn'"),
        (({"a": np.ones(3), "epoch": 3}, "lstm"), r"expected arrays named 'weight_ih_l0', .*got \['a', 'epoch'\]"),
        (({"weight_ih_l0": kernel}, "lstm"), "weight_hh_l0"),
        (({"weight_ih_l0": np.ones((6, 3)), "weight_hh_l0": recurrent}, "lstm"), r"expected \(8, D\)"),
        (({"weight_ih_l0": kernel, "weight_hh_l0": np.ones((5, 2))},), "1, 3 or 4 gates, got shape"),
        (({"weight_ih_l0": kernel, "weight_hh_l0": recurrent, "weight_hr_l0": np.ones((1, 2))}, "lstm"), "projection"),
    ):
        with pytest.raises(ValueError, match=message):
            from_torch(*arguments)
    for layer, cell, message in (
        ([np.ones((3, 7)), np.ones((2, 8))], "lstm", "columns"),
        ([np.ones((3, 6)), np.ones((2, 6)), np.ones(6)], "gru", "reset_after"),
        ([np.ones((3, 8)), np.ones((2, 8)), np.ones(7)], "lstm", r"bias of shape \(8,\)"),
        ([np.ones((3, 8)), np.ones((2, 7))], None, "1, 3 or 4 gates"),
        ([np.ones((3, 8))], "lstm", "expected 2, 3, 4 or 6 arrays"),
    ):
        with pytest.raises(ValueError, match=message):
            to_torch([layer], cell)
    for count, parts in ((2, 2), (1, 4)):
        with pytest.raises(ValueError, match="numbered: expected True"):
            to_torch([[np.ones((2, 8))] * parts] * count, "lstm", numbered=False)
    for weights in (None, [np.ones(3)], {1: np.ones(3)}, 3):
        with pytest.raises(TypeError, match="weights: expected a state_dict, a module or a path"):
            from_torch(weights, "lstm")
    with pytest.raises(TypeError, match="prefix: expected a text"):
        from_torch({}, "lstm", prefix=3)
    with pytest.raises(TypeError, match="prefix: expected a text"):
        to_torch([], "lstm", prefix=None)
    with pytest.raises(TypeError, match="layers: expected a list of layer.get_weights.., got <LSTM"):
        to_torch(layers.LSTM(2))
    with pytest.raises(TypeError, match="weights.'weight_ih_l0'.: expected numbers"):
        from_torch({"weight_ih_l0": "text"}, "lstm")


# --- files ------------------------------------------------------------------------------------------------------------


@CELLS
def test_safetensors(rng, tmp_path, cell):
    state = {f"model.{name}": array for name, array in state_dict(rng, cell, 2, 2).items()}
    save_file(state, tmp_path / "model.safetensors")
    assert_equal_layers(from_torch(tmp_path / "model.safetensors"), from_torch(state, cell))
    assert_equal_layers(from_torch(str(tmp_path / "model.safetensors"), cell, "model"), from_torch(state, cell))


def test_safetensors_and_arrays_need_no_torch(rng, tmp_path):
    save_file(state_dict(rng, "gru"), tmp_path / "gru.safetensors")
    (tmp_path / "gru.pt").write_bytes(b"")
    program = """
import sys
sys.modules["torch"] = None  # importing it fails
from seqcore.interop.torch import from_torch, to_torch
to_torch(from_torch("gru.safetensors"))
try:
    from_torch("gru.pt")
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["gru.pt: a file of PyTorch needs PyTorch, pip install torch; safetensors do not"]


def test_files_that_are_none(tmp_path):
    for name in ("missing.safetensors", "missing.pt"):
        with pytest.raises(FileNotFoundError):
            from_torch(tmp_path / name)
    (tmp_path / "text.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="text.safetensors: expected a whole safetensors file"):
        from_torch(tmp_path / "text.safetensors")


# --- with PyTorch -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def as_tensors(torch, state):
    return {name: torch.from_numpy(array) for name, array in state.items()}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depth", [1, 3])
@DIRECTIONS
@pytest.mark.parametrize("cell", [*GATES, "relu"])
def test_layers_of_torch(torch, rng, cell, directions, depth, dtype, bias):
    """Outputs before and after, and back in PyTorch, which takes the arrays as a state_dict."""
    options = {"nonlinearity": "relu"} if cell == "relu" else {}
    cell, activation = ("rnn", "relu") if cell == "relu" else (cell, "tanh")
    options |= {"num_layers": depth, "batch_first": True, "bidirectional": directions == 2, "bias": bias}
    module = getattr(torch.nn, cell.upper())(INPUTS, UNITS, **options).to(getattr(torch, dtype))
    x = rng.normal(size=(3, 6, INPUTS)).astype(dtype)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))[0].numpy()
    model = sc.Sequential()
    for _ in range(depth):
        layer = LAYERS[cell](UNITS, activation, return_sequences=True, use_bias=bias, dtype=dtype)
        model.add(layers.Bidirectional(layer) if directions == 2 else layer)
    model.build((None, None, INPUTS))
    for layer, arrays in zip(model.layers, from_torch(module), strict=True):
        layer.set_weights(arrays)
    tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=0, atol=tolerance)
    state = to_torch([layer.get_weights() for layer in model.layers], cell)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.load_state_dict(as_tensors(torch, state))
        np.testing.assert_allclose(module(torch.from_numpy(x))[0].numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bias", [True, False])
@CELLS
def test_cells_of_torch(torch, rng, cell, bias):
    module = getattr(torch.nn, f"{cell.upper()}Cell")(INPUTS, UNITS, bias=bias)
    x = rng.normal(size=(3, INPUTS)).astype("float32")
    with torch.no_grad():
        output = module(torch.from_numpy(x))
    expected = (output[0] if cell == "lstm" else output).numpy()
    layer = LAYERS[cell](UNITS, use_bias=bias)
    layer.build((None, None, INPUTS))
    (arrays,) = from_torch(module)
    layer.set_weights(arrays)
    np.testing.assert_allclose(layer(x[:, None]).numpy(), expected, rtol=0, atol=1e-6)
    other = type(module)(INPUTS, UNITS, bias=bias)
    other.load_state_dict(as_tensors(torch, to_torch([layer.get_weights()], cell, numbered=False)))
    with torch.no_grad():
        output = other(torch.from_numpy(x))
    np.testing.assert_allclose((output[0] if cell == "lstm" else output).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_precision(torch, tmp_path, dtype):
    module = torch.nn.LSTM(INPUTS, UNITS).to(getattr(torch, dtype))
    wide = {name: value.detach().float().numpy() for name, value in module.named_parameters()}
    torch.save(module.state_dict(), tmp_path / "lstm.pt")
    save = pytest.importorskip("safetensors.torch").save_file
    save(module.state_dict(), tmp_path / "lstm.safetensors")
    sources = [module, module.state_dict(), dict(module.named_parameters())]
    for weights in (*sources, tmp_path / "lstm.pt", tmp_path / "lstm.safetensors"):
        assert_equal_layers(from_torch(weights), from_torch(wide))
    with pytest.raises(ValueError, match="weights.'weight_ih_l0'.: expected a tensor with values, got one .* meta"):
        from_torch(module.to("meta"))


def test_a_model_and_its_file(torch, tmp_path):
    model = torch.nn.ModuleDict({"encoder": torch.nn.GRU(INPUTS, UNITS), "head": torch.nn.Linear(UNITS, 2)})
    for name in ("model.pt", "MODEL.PTH", "pytorch_model.bin"):
        torch.save(model.state_dict(), tmp_path / name)
        assert_equal_layers(from_torch(tmp_path / name), from_torch(model["encoder"]))
        assert_equal_layers(from_torch(str(tmp_path / name), "gru", "encoder"), from_torch(model))
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"expected arrays named 'weight_ih_l0', .*got \['model', 'epoch'\]"):
        from_torch(tmp_path / "checkpoint.pt")


class Trap:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return (print, ("a trap has run",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_torch_runs_no_code(torch, tmp_path, capsys):
    whole = io.BytesIO()
    torch.save(torch.nn.LSTM(INPUTS, UNITS).state_dict(), whole)
    path = tmp_path / "model.pt"
    for content in (Trap(), {"weight_ih_l0": Trap()}, torch.nn.LSTM(INPUTS, UNITS), {"a": np.ones(3)}):
        torch.save(content, path)
        check_refused(path)
    for raw in (b"", b"text", pickle.dumps(Trap()), pickle.dumps({"a": 1}), whole.getvalue()[:-99]):
        path.write_bytes(raw)
        check_refused(path)
    assert "trap" not in capsys.readouterr().out
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match="refuses: KeyError "):
        from_torch(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(TypeError, match="weights: expected a state_dict.* got list"):
        from_torch(path)


def check_refused(path):
    with pytest.raises(ValueError, match="expected a file of torch.save.*weights_only=True. refuses: .") as caught:
        from_torch(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text and len(text) < 300 + len(str(path))
    assert "weights_only=False" not in text and "`False`" not in text
