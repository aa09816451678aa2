"""from_torch and to_torch: weights of PyTorch's recurrent modules."""

import numpy as np
import pytest

from seqcore import layers, models
from seqcore.interop.torch import from_torch, to_torch

CELLS = {"rnn": (1, layers.SimpleRNN), "lstm": (4, layers.LSTM), "gru": (3, layers.GRU)}


def torch_weights(rng, cell, layer_count, directions, inputs=5, units=4):
    gates = CELLS[cell][0]
    found = {}
    for number in range(layer_count):
        for direction in range(directions):
            end = f"_l{number}" + ("_reverse" if direction else "")
            width = inputs if number == 0 else units * directions
            found[f"weight_ih{end}"] = rng.normal(size=(gates * units, width))
            found[f"weight_hh{end}"] = rng.normal(size=(gates * units, units))
            found[f"bias_ih{end}"] = rng.normal(size=gates * units)
            found[f"bias_hh{end}"] = rng.normal(size=gates * units)
    return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("directions", [1, 2])
def test_torch_weights_round_trip(rng, cell, directions):
    weights = torch_weights(rng, cell, 2, directions)
    found = from_torch({f"lstm.{name}": array for name, array in weights.items()}, cell)
    assert len(found) == 2 and all(len(layer) == 3 * directions for layer in found)
    back = to_torch(found, cell)
    assert back.keys() == weights.keys()
    for name, array in weights.items():
        if cell == "gru" or "weight" in name:
            np.testing.assert_array_equal(back[name], array)
        elif "ih" in name:
            np.testing.assert_array_equal(
                back[name] + back[name.replace("ih", "hh")], array + weights[name.replace("ih", "hh")]
            )
    again = from_torch(back, cell)
    for one, other in zip(found, again):
        for a, b in zip(one, other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("directions", [1, 2])
def test_torch_itself_agrees(rng, cell, directions):
    torch = pytest.importorskip("torch")
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    net = kind(5, 4, num_layers=2, batch_first=True, bidirectional=directions == 2).double()
    x = rng.normal(size=(3, 6, 5))
    with torch.no_grad():
        expected = net(torch.from_numpy(x))[0].numpy()

    def layer():
        one = CELLS[cell][1](4, return_sequences=True, dtype="float64")
        return layers.Bidirectional(one, dtype="float64") if directions == 2 else one

    model = models.Sequential([layer(), layer()])
    model.build((None, None, 5))
    arrays = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    for one, weights in zip(model.layers, from_torch(arrays, cell)):
        one.set_weights(weights)
    np.testing.assert_allclose(model(x).numpy(), expected, atol=1e-12)
    back = to_torch([one.get_weights() for one in model.layers], cell)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in back.items()})
    with torch.no_grad():
        np.testing.assert_allclose(net(torch.from_numpy(x))[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_one_module_of_a_model(rng, cell):
    """The state_dict of a whole model: the module is named, or the only one."""
    encoder, decoder = torch_weights(rng, cell, 2, 1), torch_weights(rng, cell, 1, 2)
    head = {"head.weight": rng.normal(size=(2, 4)), "table.weight": rng.normal(size=(9, 4))}
    single = head | {f"encoder.rnn.{name}": array for name, array in encoder.items()}
    both = single | {f"decoder.{name}": array for name, array in decoder.items()}
    expected = from_torch(encoder, cell)
    for found in (
        from_torch(single, cell),
        from_torch(both, cell, prefix="encoder.rnn"),
        from_torch(both, cell, prefix="encoder.rnn."),
        from_torch(encoder, cell, prefix=""),
        from_torch(both | encoder, cell, prefix=""),
    ):
        assert len(found) == 2
        for layer, same in zip(found, expected, strict=True):
            for array, other in zip(layer, same, strict=True):
                np.testing.assert_array_equal(array, other)
    with pytest.raises(ValueError, match="weights: expected one recurrent module.*'encoder.rnn', 'decoder'"):
        from_torch(both, cell)
    for prefix in ("encoder", "", "rnn"):
        with pytest.raises(ValueError, match="prefix: expected one of 'encoder.rnn', 'decoder', got"):
            from_torch(both, cell, prefix=prefix)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("directions", [1, 2])
def test_no_array_of_a_module_may_be_missing_or_unknown(rng, cell, directions):
    whole = torch_weights(rng, cell, 3, directions)
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
    for name, array in whole.items():
        with pytest.raises(ValueError, match="weights: expected"):
            from_torch({**whole, name: array[:-1]}, cell)
        with pytest.raises(ValueError, match="weights: expected"):
            from_torch({**whole, name: array[..., None]}, cell)
    with pytest.raises(ValueError, match="weights: expected"):
        from_torch({**whole, "weight_ih_l1": whole["weight_ih_l1"][:, :-1]}, cell)


@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_is_widened_before_it_is_added(rng, cell):
    half = {name: array.astype(np.float16) for name, array in torch_weights(rng, cell, 2, 2).items()}
    wide = {name: array.astype(np.float32) for name, array in half.items()}
    for layer, same in zip(from_torch(half, cell), from_torch(wide, cell), strict=True):
        for array, other in zip(layer, same, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_parameters_of_torch_in_any_precision(dtype):
    torch = pytest.importorskip("torch")
    net = torch.nn.LSTM(5, 4).to(getattr(torch, dtype))
    wide = {name: value.detach().float().numpy() for name, value in net.named_parameters()}
    for weights in (net.state_dict(), dict(net.named_parameters())):
        for array, same in zip(from_torch(weights, "lstm")[0], from_torch(wide, "lstm")[0], strict=True):
            np.testing.assert_array_equal(array, same)


def test_bad_torch_weights():
    with pytest.raises(ValueError, match="cell: expected 'rnn', 'lstm' or 'gru'"):
        from_torch({}, "qrnn")
    with pytest.raises(ValueError, match="weight_ih_l0"):
        from_torch({"a": np.ones(3)}, "lstm")
    with pytest.raises(ValueError, match="weight_hh_l0"):
        from_torch({"weight_ih_l0": np.ones((8, 3))}, "lstm")
    with pytest.raises(ValueError, match=r"expected \(8, D\)"):
        from_torch({"weight_ih_l0": np.ones((6, 3)), "weight_hh_l0": np.ones((8, 2))}, "lstm")
    with pytest.raises(ValueError, match="projection"):
        from_torch(
            {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2)), "weight_hr_l0": np.ones((1, 2))}, "lstm"
        )
    with pytest.raises(ValueError, match="columns"):
        to_torch([[np.ones((3, 7)), np.ones((2, 8))]], "lstm")
    with pytest.raises(ValueError, match="reset_after"):
        to_torch([[np.ones((3, 6)), np.ones((2, 6)), np.ones(6)]], "gru")
    with pytest.raises(ValueError, match=r"bias of shape \(8,\)"):
        to_torch([[np.ones((3, 8)), np.ones((2, 8)), np.ones(7)]], "lstm")
    for weights in (None, [np.ones(3)], {1: np.ones(3)}):
        with pytest.raises(TypeError, match="weights: expected a state_dict"):
            from_torch(weights, "lstm")
    with pytest.raises(TypeError, match="prefix: expected a text"):
        from_torch({}, "lstm", prefix=3)
    with pytest.raises(TypeError, match="weights.'weight_ih_l0'.: expected numbers"):
        from_torch({"weight_ih_l0": "text"}, "lstm")
