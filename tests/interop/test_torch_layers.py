"""LSTM, GRU and RNN for PyTorch: its own outputs and gradients, one graph, models that change over and back."""

import copy
import io
import pickle
import threading

import numpy as np
import pytest

import seqcore as sc
from seqcore import interop

torch = pytest.importorskip("torch")
pack_padded = torch.nn.utils.rnn.pack_padded_sequence
pack = torch.nn.utils.rnn.pack_sequence

STEPS, BATCH, FEATURES, UNITS = 7, 5, 6, 9
LENGTHS = [4, 7, 1, 7, 3]
KINDS = {
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
}
OPTIONS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "both directions": {"bidirectional": True},
    "three layers, both directions, no bias": {"num_layers": 3, "bidirectional": True, "bias": False},
    "no bias": {"bias": False},
    "batch first": {"batch_first": True},
    "all": {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.4},
    "dropout": {"num_layers": 3, "dropout": 0.3},
}
# Sizes around those of vectors and panels.
SIZES = [(1, 1), (3, 16), (17, 7), (16, 40), (33, 65)]
TOLERANCES = {torch.float32: 2e-5, torch.float64: 1e-11}

kinds = pytest.mark.parametrize("kind", KINDS)
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def pair(kind, features=FEATURES, units=UNITS, **options):
    """A layer of torch and one of ours with its weights."""
    name, given = KINDS[kind]
    theirs = getattr(torch.nn, name)(features, units, **given, **options)
    ours = getattr(interop.torch, name)(features, units, **given, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def states_of(layer, batch, dtype):
    shape = (layer.num_layers * (2 if layer.bidirectional else 1), *batch, layer.hidden_size)
    states = tuple(torch.randn(shape, dtype=dtype) for _ in range(2 if layer.mode == "LSTM" else 1))
    return states if len(states) == 2 else states[0]


def tensors(value):
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return [value.data]
    return [value] if isinstance(value, torch.Tensor) else [item for part in value for item in tensors(part)]


def run(layer, x, hx=None, weights=(1.0, 0.7)):
    """Outputs and the gradients of a weighted sum of them by the input, the states and the parameters, by name."""
    x = x.detach().requires_grad_()
    hx = None if hx is None else [state.detach().requires_grad_() for state in tensors(hx)]
    layer.zero_grad()
    given = () if hx is None else (tuple(hx) if len(hx) == 2 else hx[0],)
    sequence = layer.as_input(x) if hasattr(layer, "as_input") else x
    torch.manual_seed(3)
    result = layer(sequence, *given)
    out = tensors(result)
    total = sum(
        weight * (item * torch.arange(1, item.numel() + 1, dtype=item.dtype).reshape(item.shape).cos()).sum()
        for weight, item in zip((weights[0], weights[1], weights[1]), out)
        if weight
    )
    total.backward()
    found = {f"output {i}": item.detach() for i, item in enumerate(out)}
    found["x"] = x.grad
    found |= {f"state {i}": state.grad for i, state in enumerate(hx or ())}
    return found | {name: parameter.grad for name, parameter in layer.named_parameters()}


def assert_same(theirs, ours, tolerance):
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        if value is None:
            assert ours[name] is None or not ours[name].any(), name
            continue
        assert ours[name].shape == value.shape and ours[name].dtype == value.dtype, name
        scale = max(1, float(value.abs().max()))
        assert float((ours[name] - value).abs().max()) <= tolerance * scale, name


def compare(theirs, ours, x, hx=None, **options):
    assert_same(run(theirs, x, hx, **options), run(ours, x, hx, **options), TOLERANCES[x.dtype])


@kinds
@dtypes
@pytest.mark.parametrize("states", [False, True], ids=["zeros", "states"])
@pytest.mark.parametrize("name", OPTIONS)
def test_outputs_and_gradients_are_those_of_torch(kind, dtype, states, name):
    torch.manual_seed(1)
    theirs, ours = pair(kind, **OPTIONS[name], dtype=dtype)
    shape = (BATCH, STEPS) if ours.batch_first else (STEPS, BATCH)
    x = torch.randn(*shape, FEATURES, dtype=dtype)
    hx = states_of(ours, (BATCH,), dtype) if states else None
    for layer in (theirs, ours):
        layer.train()
    compare(theirs, ours, x, hx)
    y, expected = ours(x, hx)[0], theirs(x, hx)[0]
    assert y.stride() == expected.stride()


@kinds
@dtypes
@pytest.mark.parametrize("features, units", SIZES)
@pytest.mark.parametrize("batch, steps", [(1, 1), (1, 9), (19, 3), (2, 300)])
def test_sizes_of_all_kinds(kind, dtype, features, units, batch, steps):
    torch.manual_seed(2)
    theirs, ours = pair(kind, features, units, dtype=dtype, bidirectional=units == 7)
    compare(theirs, ours, torch.randn(steps, batch, features, dtype=dtype))


@kinds
@dtypes
@pytest.mark.parametrize("name", ["plain", "two layers", "all", "no bias"])
@pytest.mark.parametrize("states", [False, True], ids=["zeros", "states"])
@pytest.mark.parametrize("ordered", [False, True], ids=["any order", "longest first"])
def test_packed_sequences(kind, dtype, name, states, ordered):
    torch.manual_seed(3)
    theirs, ours = pair(kind, **OPTIONS[name], dtype=dtype)
    lengths = sorted(LENGTHS, reverse=True) if ordered else LENGTHS
    padded = torch.randn(len(lengths), max(lengths), FEATURES, dtype=dtype)

    def as_input(x):
        return pack_padded(x, lengths, batch_first=True, enforce_sorted=ordered)

    theirs.as_input = ours.as_input = as_input
    hx = states_of(ours, (len(lengths),), dtype) if states else None
    compare(theirs, ours, padded, hx)
    expected, y = theirs(as_input(padded))[0], ours(as_input(padded))[0]
    for part in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        ours_part, theirs_part = getattr(y, part), getattr(expected, part)
        assert (ours_part is None and theirs_part is None) or torch.equal(ours_part, theirs_part)


@kinds
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_sequence_without_a_batch(kind, batch_first):
    theirs, ours = pair(kind, num_layers=2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(STEPS, FEATURES)
    compare(theirs, ours, x)
    compare(theirs, ours, x, states_of(ours, (), torch.float32))


@kinds
@pytest.mark.parametrize("weights", [(1, 0), (0, 1)], ids=["outputs", "final states"])
def test_a_loss_of_some_results(kind, weights):
    theirs, ours = pair(kind, num_layers=2)
    compare(theirs, ours, torch.randn(STEPS, BATCH, FEATURES), weights=weights)


@kinds
def test_sequences_in_any_memory_order(kind):
    """Sliced, expanded, transposed and misaligned tensors, and gradients of such."""
    theirs, ours = pair(kind)
    base = torch.randn(STEPS, BATCH, 2 * FEATURES + 1)
    for x in (
        base[..., 1 : FEATURES + 1],
        base[..., : 2 * FEATURES : 2],
        base[:, :1, :FEATURES].expand(STEPS, BATCH, FEATURES),
        base.permute(2, 1, 0)[: STEPS - 1, :, :FEATURES],
        base.flip(0)[..., :FEATURES],
    ):
        outputs = [layer(x)[0] for layer in (theirs, ours)]
        torch.testing.assert_close(*outputs)
        grads = []
        for layer, y in zip((theirs, ours), outputs):
            layer.zero_grad()
            y.mean().backward()  # an expanded gradient
            grads.append([parameter.grad for parameter in layer.parameters()])
        torch.testing.assert_close(*grads)


@kinds
@pytest.mark.parametrize("frozen", ["input", "weights", "one weight"])
def test_gradients_that_nobody_asked_for(kind, frozen):
    theirs, ours = pair(kind, num_layers=2)
    x = torch.randn(STEPS, BATCH, FEATURES)
    grads = []
    for layer in (theirs, ours):
        if frozen == "weights":
            layer.requires_grad_(False)
        elif frozen == "one weight":
            layer.weight_hh_l0.requires_grad_(False)
        mine = x.clone().requires_grad_(frozen != "input")
        layer(mine)[0].square().sum().backward()
        grads.append([mine.grad, *(parameter.grad for parameter in layer.parameters())])
    for expected, grad in zip(*grads):
        assert (expected is None) == (grad is None)
    torch.testing.assert_close(*([grad for grad in each if grad is not None] for each in grads), rtol=1e-4, atol=1e-5)


@kinds
@pytest.mark.parametrize("name", ["plain", "three layers, both directions, no bias"])
@pytest.mark.parametrize("packed", [False, True])
def test_gradcheck(kind, name, packed):
    """Central differences in float64 by every input, every state and every parameter."""
    torch.manual_seed(4)
    _, ours = pair(kind, 3, 2, **OPTIONS[name], dtype=torch.float64)
    lengths = [3, 2]
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in ours.named_parameters()]
    states = tensors(states_of(ours, (2,), torch.float64))

    def function(x, *values):
        given = values[: len(states)] if ours.mode == "LSTM" else values[0]
        sequence = pack_padded(x, lengths) if packed else x
        weights = dict(zip(names, values[len(states) :], strict=True))
        return tuple(tensors(torch.func.functional_call(ours, weights, (sequence, given))))

    arguments = [x, *states, *ours.parameters()]
    if kind == "relu":
        # Away from the corner of relu.
        arguments = [argument.detach() + 0.3 for argument in arguments]
    arguments = [argument.detach().requires_grad_() for argument in arguments]
    assert torch.autograd.gradcheck(function, arguments)


@kinds
def test_a_graph_may_be_used_twice(kind):
    """The first backward pass overwrites what the forward pass saved; the second one gives the same."""
    for options in ({"num_layers": 2}, {"num_layers": 2, "bidirectional": True}):
        theirs, ours = pair(kind, **options)
        x = torch.randn(STEPS, BATCH, FEATURES, requires_grad=True)
        y = ours(x)[0]
        first = torch.autograd.grad(y.sin().sum(), (x, *ours.parameters()), retain_graph=True)
        again = torch.autograd.grad(y.sin().sum(), (x, *ours.parameters()), retain_graph=True)
        expected = torch.autograd.grad(theirs(x)[0].sin().sum(), (x, *theirs.parameters()))
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)
        assert all(map(torch.equal, first, again))


def test_a_changed_weight_or_input_is_noticed():
    """torch refuses a backward pass through values that are no longer there; the output is not one of them."""
    _, ours = pair("LSTM")
    x = torch.randn(STEPS, BATCH, FEATURES)
    y = ours(x)[0]
    with torch.no_grad():
        ours.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    y = ours(x)[0]
    expected = torch.autograd.grad(ours(x)[0].sum(), ours.weight_hh_l0)
    total = y.sum()
    with torch.no_grad():
        y.zero_()
    assert torch.equal(expected[0], torch.autograd.grad(total, ours.weight_hh_l0)[0])


def test_second_derivatives_are_refused():
    _, ours = pair("GRU")
    x = torch.randn(STEPS, BATCH, FEATURES, requires_grad=True)
    (dx,) = torch.autograd.grad(ours(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="^create_graph: seqcore's layers have no second derivatives"):
        dx.sum().backward()


@kinds
def test_inference_saves_nothing(kind):
    """Without gradients the operator returns an empty reserve, and the same numbers."""
    theirs, ours = pair(kind, num_layers=2, bidirectional=True)
    x = torch.randn(STEPS, BATCH, FEATURES)
    expected = ours(x)[0]
    assert expected.requires_grad
    with torch.no_grad():
        reserves = [
            torch.ops.seqcore.recurrent(x, ours._flat_weights, [], None, ours.mode, True, False, save)[3]
            for save in (False, True)
        ]
        assert reserves[0].numel() == 0 < reserves[1].numel()
        quiet = ours(x)[0]
        quiet.add_(1).sub_(1)
    torch.testing.assert_close(quiet, expected.detach())
    with torch.inference_mode():
        torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    ours.requires_grad_(False)
    assert not ours(x)[0].requires_grad


# The operators -------------------------------------------------------------------------------------------------------


def operator_arguments(kind, packed, dtype, **options):
    _, layer = pair(kind, dtype=dtype, **options)
    states = [state.requires_grad_() for state in tensors(states_of(layer, (BATCH,), dtype))]
    batch_sizes = None
    if packed:
        sequence = pack_padded(torch.randn(STEPS, BATCH, FEATURES, dtype=dtype), LENGTHS, enforce_sorted=False)
        x, batch_sizes = sequence.data.requires_grad_(), sequence.batch_sizes
    else:
        shape = (BATCH, STEPS) if layer.batch_first else (STEPS, BATCH)
        x = torch.randn(*shape, FEATURES, dtype=dtype, requires_grad=True)
    weights = [weight.detach().requires_grad_() for weight in layer.parameters()]
    return x, weights, states, batch_sizes, layer.mode, layer.bidirectional, layer.batch_first


@kinds
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["plain", "both directions", "batch first", "no bias"])
def test_opcheck(kind, packed, name):
    """All tests of PyTorch for operators, but those that compare a reserve, of which only a part has a meaning."""
    arguments = operator_arguments(kind, packed, torch.float32, **OPTIONS[name])
    operator = torch.ops.seqcore.recurrent.default
    torch.library.opcheck(
        operator, (*arguments, True), test_utils=("test_schema", "test_autograd_registration", "test_faketensor")
    )
    with torch.no_grad():
        torch.library.opcheck(operator, (*arguments, False))
    with torch.no_grad():
        y, h, c, reserve = torch.ops.seqcore.recurrent(*arguments, True)
    x, weights, states, *rest = arguments
    plain = [item.detach() for item in (x, *weights, *states)]
    given = (
        y,
        h,
        c if kind == "LSTM" else None,
        reserve,
        plain[0],
        plain[1 : 1 + len(weights)],
        plain[1 + len(weights) :],
    )
    # It overwrites the gates in its reserve, which the test of the schema calls a change.
    utilities = ("test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(
        torch.ops.seqcore.recurrent_backward.default, (*given, *rest, True, True, True), test_utils=utilities
    )


class Tagger(torch.nn.Module):
    """A model around one of our layers, or torch's."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.head = torch.nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), 3)

    def forward(self, x):
        return self.head(torch.relu(self.layer(x)[0]))


@kinds
@pytest.mark.parametrize("name, dynamic", [("plain", False), ("all", True)])
def test_compile_keeps_one_graph(kind, name, dynamic):
    theirs, ours = pair(kind, **{**OPTIONS[name], "dropout": 0.0})
    torch._dynamo.reset()
    model = Tagger(ours)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    expected = Tagger(theirs)
    expected.load_state_dict(model.state_dict())
    for steps in (STEPS, STEPS + 3):
        x = torch.randn(steps, BATCH, FEATURES)
        grads = []
        for net in (expected, compiled):
            net.zero_grad()
            mine = x.clone().requires_grad_()
            net(mine).square().sum().backward()
            grads.append([mine.grad, *(parameter.grad for parameter in net.parameters())])
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), expected(x), rtol=1e-4, atol=1e-5)


# Models ---------------------------------------------------------------------------------------------------------------


@kinds
def test_constructor_repr_state_dict_and_draws_are_those_of_torch(kind):
    name, given = KINDS[kind]
    options = {**given, "num_layers": 2, "bidirectional": True, "dropout": 0.1, "batch_first": True}
    built = []
    for module in (torch.nn, interop.torch):
        torch.manual_seed(5)
        built.append(getattr(module, name)(FEATURES, UNITS, **options))
    theirs, ours = built
    assert repr(ours) == repr(theirs)
    expected, state = theirs.state_dict(), ours.state_dict()
    assert list(expected) == list(state) and all(map(torch.equal, expected.values(), state.values()))
    theirs.load_state_dict(state)
    assert isinstance(ours, torch.nn.RNNBase)
    assert {key: value for key, value in vars(theirs).items() if not key.startswith("_")} == {
        key: value for key, value in vars(ours).items() if not key.startswith("_")
    }


@kinds
def test_accelerate_and_restore_with_an_optimizer_across(kind):
    """The same losses as torch alone, with layers that change their class between the steps."""
    torch.manual_seed(6)
    theirs, _ = pair(kind, num_layers=2)
    plain, swapped = Tagger(theirs), Tagger(copy.deepcopy(theirs))
    swapped.load_state_dict(plain.state_dict())
    calls = []
    swapped.layer.register_forward_hook(lambda module, inputs, output: calls.append(type(module)))
    x, targets = torch.randn(STEPS, BATCH, FEATURES), torch.randint(3, (STEPS, BATCH))
    losses = []
    for model in (plain, swapped):
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        parameters = list(model.parameters())
        for step in range(6):
            if model is swapped and step in (1, 4):
                assert interop.torch.accelerate(model) is model
            if model is swapped and step == 3:
                assert interop.torch.restore(model) is model
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x).flatten(0, 1), targets.flatten())
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert all(before is after for before, after in zip(parameters, model.parameters(), strict=True))
    np.testing.assert_allclose(losses[:6], losses[6:], rtol=1e-4)
    assert losses[5] < losses[0]
    ours = getattr(interop.torch, KINDS[kind][0])
    assert [call is ours for call in calls] == [False, True, True, False, True, True]


def test_accelerate_keeps_the_training_flag_and_finds_shared_and_bare_layers():
    layer = torch.nn.LSTM(3, 4).eval()
    model = torch.nn.ModuleDict({"a": torch.nn.Sequential(layer), "b": layer})
    interop.torch.accelerate(model)
    assert model["b"] is layer and type(layer) is interop.torch.LSTM and not layer.training
    interop.torch.accelerate(model)
    assert type(interop.torch.restore(layer)) is torch.nn.LSTM
    interop.torch.restore(model)


def test_accelerate_refuses_and_changes_nothing():
    class Mine(torch.nn.LSTM):
        """A forward pass of its own."""

    lstm = torch.nn.LSTM(3, 4)
    for layer, words in (
        (torch.nn.LSTM(3, 4, proj_size=2), "1: proj_size: expected 0"),
        (
            torch.nn.GRU(3, 4, dtype=torch.float16),
            "1: dtype: expected torch.float32 or torch.float64, got torch.float16",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            interop.torch.accelerate(torch.nn.ModuleList([lstm, layer]))
        assert type(lstm) is torch.nn.LSTM
    for function in (interop.torch.accelerate, interop.torch.restore):
        with pytest.raises(ValueError, match="module: expected a model with"):
            function(torch.nn.Sequential(torch.nn.Linear(2, 2), Mine(3, 4)))
        for value in (None, torch.nn.LSTM, [lstm]):
            with pytest.raises(TypeError, match="module: expected a torch.nn.Module, got"):
                function(value)
    mine = torch.nn.Sequential(Mine(3, 4), lstm)
    interop.torch.accelerate(mine)
    assert type(mine[0]) is Mine and type(mine[1]) is interop.torch.LSTM


@kinds
def test_copies_and_pickles(kind):
    _, ours = pair(kind, num_layers=2)
    x = torch.randn(STEPS, BATCH, FEATURES)
    expected = ours(x)[0]
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), torch.load(file, weights_only=False)):
        assert type(other) is type(ours)
        assert torch.equal(other(x)[0], expected)
        with torch.no_grad():
            other.weight_hh_l0.zero_()
        assert not torch.equal(other(x)[0], expected)
    assert torch.equal(ours(x)[0], expected)


@kinds
def test_the_thread_pools_go_together(kind):
    """torch's threads and ours give the same bits in any number, from several Python threads at once."""
    _, ours = pair(kind, 32, 48, num_layers=2)
    x = torch.randn(20, 16, 32)
    before = torch.get_num_threads()

    def gradients():
        layer = copy.deepcopy(ours)
        (layer(x)[0] @ torch.ones(48, 300)).tanh().sum().backward()
        return [parameter.grad for parameter in layer.parameters()]

    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            sc.set_num_threads(threads)
            results.append(gradients())
        workers = [threading.Thread(target=lambda: results.append(gradients())) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        torch.set_num_threads(before)
    assert len(results) == 7
    for each in results[1:]:
        torch.testing.assert_close(each, results[0], rtol=1e-4, atol=1e-4)


def test_no_memory_is_held_after_the_backward_pass():
    _, ours = pair("LSTM", 32, 48)
    x = torch.randn(20, 16, 32)
    made = []
    for _ in range(6):
        ours.zero_grad()
        ours(x)[0].sum().backward()
        made.append(sc._core.system.memory()["made"])
    assert made[-1] == made[2]


REFUSALS = {
    "proj_size": (lambda: interop.torch.LSTM(3, 4, proj_size=2), ValueError, "proj_size: expected 0, .* got 2"),
    "dtype": (lambda: interop.torch.GRU(3, 4, dtype=torch.bfloat16), ValueError, "dtype: .* got torch.bfloat16"),
    "nonlinearity": (lambda: interop.torch.RNN(3, 4, nonlinearity="sin"), ValueError, "nonlinearity: .* got 'sin'"),
    "moved": (lambda: interop.torch.LSTM(3, 4).to("meta")(torch.ones(2, 1, 3)), ValueError, "device: .* got meta"),
    "halved": (lambda: interop.torch.LSTM(3, 4).half()(torch.ones(2, 1, 3)), ValueError, "dtype: .* got torch.float16"),
    "input dtype": (
        lambda: interop.torch.LSTM(3, 4)(torch.ones(2, 1, 3, dtype=torch.float64)),
        ValueError,
        "input: expected torch.float32 on the CPU, as the weights, got torch.float64 on cpu",
    ),
    "no tensor": (
        lambda: interop.torch.GRU(3, 4)([[1.0, 2.0, 3.0]]),
        TypeError,
        "input: expected a tensor or a PackedSequence, got list",
    ),
    "features": (lambda: interop.torch.GRU(3, 4)(torch.ones(2, 1, 4)), ValueError, "input: .* 3 features, got"),
    "axes": (lambda: interop.torch.GRU(3, 4)(torch.ones(1, 2, 1, 3)), ValueError, "input: expected two or three axes"),
    "no steps": (lambda: interop.torch.GRU(3, 4)(torch.ones(0, 2, 3)), ValueError, "input: expected at least one"),
    "states": (lambda: interop.torch.LSTM(3, 4)(torch.ones(2, 1, 3), torch.ones(1, 1, 4)), TypeError, "hx: expected a"),
    "no states": (lambda: interop.torch.LSTM(3, 4)(torch.ones(2, 1, 3), (None, 1)), TypeError, "tuple of NoneType"),
    "state": (lambda: interop.torch.GRU(3, 4)(torch.ones(2, 1, 3), 1), TypeError, "hx: expected a tensor h_0, got int"),
    "shape of a state": (
        lambda: interop.torch.GRU(3, 4)(torch.ones(2, 1, 3), torch.ones(1, 2, 4)),
        ValueError,
        r"h_0: expected shape \(1, 1, 4\), got \(1, 2, 4\)",
    ),
    "rank of a state": (
        lambda: interop.torch.GRU(3, 4)(torch.ones(2, 3), torch.ones(1, 1, 4)),
        ValueError,
        r"h_0: expected shape \(1, 4\), got \(1, 1, 4\)",
    ),
    "packed": (
        lambda: interop.torch.GRU(3, 4)(pack([torch.ones(2, 5)])),
        ValueError,
        "input: expected .* 3 features, got",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_name_the_argument(name):
    make, error, words = REFUSALS[name]
    with pytest.raises(error, match=words):
        make()
