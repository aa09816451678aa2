"""The programs in examples/ run from beginning to end and show what they promise, with settings that take seconds."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.helpers import reference

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = {
    "character_model": ["--epochs", "25", "--units", "48"],
    "cells_in_a_loop": ["--units", "8", "--steps", "6", "--batches", "120"],
    "gradient_clipping": ["--batches", "240"],
    "language_model": ["--words", "30000", "--units", "32", "--epochs", "2"],
    "ragged_batches": ["--sequences", "600", "--longest", "12", "--epochs", "4"],
    "sentiment": ["--texts", "3000", "--epochs", "10"],
    "word_vectors": ["--sentences", "30000", "--words", "paris"],
    "seq2seq_attention": ["--words", "2500", "--epochs", "5"],
}


def run(name, *arguments):
    """What an example prints."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def numbers(pattern, text):
    return [float(value) for value in re.findall(pattern, text)]


def test_every_example_is_tried():
    """Each file has a test here."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SMALL, "streaming", "voice_activity"}


def test_cells_in_a_loop():
    """The error falls below that of guessing."""
    errors = numbers(r"error ([\d.]+) ", run("cells_in_a_loop", *SMALL["cells_in_a_loop"]))
    assert len(errors) == 6 and errors[-1] < 0.5 * errors[0] and errors[-1] < 0.2


def test_gradient_clipping():
    """Without clipping the loss explodes, with it the sum is learnt."""
    before, after = run("gradient_clipping", *SMALL["gradient_clipping"]).split("clipped by global norm 1:")
    assert "the loss is no longer a number" in before and "no longer" not in after
    losses = numbers(r"loss +(\S+)", after)
    assert len(losses) == 8 and losses[-1] < 0.85 < losses[0]


def test_character_model():
    """The short text is nearly memorized, and the generated text has mostly its words."""
    text = run("character_model", *SMALL["character_model"])
    perplexities = numbers(r"perplexity ([\d.]+)", text)
    assert perplexities[0] > 10 and min(perplexities) < 2
    told = [part.split("\n", 1)[1] for part in text.split("--- seed ")[1:]]
    assert len(told) == 2 and told[0] != told[1] and all(one.startswith("the cat") for one in told)
    source = (EXAMPLES / "character_model.py").read_text()
    known = set(source.split('TEXT = """')[1].split('"""')[0].replace(".", " ").replace(",", " ").split())
    words = " ".join(told).replace(".", " ").replace(",", " ").split()
    assert sum(word in known for word in words) > 0.6 * len(words)


def test_language_model():
    """Perplexity falls, and stays above the grammar's own."""
    text = run("language_model", *SMALL["language_model"])
    epochs, test = numbers(r"valid perplexity ([\d.]+)", text), numbers(r"test perplexity ([\d.]+)", text)
    own = numbers(r"on this text ([\d.]+)", text)
    assert len(epochs) == 2 and epochs[1] < epochs[0] < 200 and test[0] > own[0]
    assert re.search(r"^generated: the \w+", text, re.MULTILINE)


def test_ragged_batches():
    """The model learns, and padding does not matter."""
    text = run("ragged_batches", *SMALL["ragged_batches"])
    assert numbers(r"held out: .* accuracy ([\d.]+)", text)[0] > 0.6
    assert "same predictions: True" in text


def test_seq2seq_attention():
    """Most unseen words are reversed, and the decoder attends to about the letter that it writes."""
    text = run("seq2seq_attention", *SMALL["seq2seq_attention"])
    assert numbers(r"unseen words reversed: ([\d.]+)", text)[0] > 0.8
    word, looks = re.search(r"^(\w+): looks at (\w+)$", text, re.MULTILINE).groups()
    assert len(word) == len(looks) and np.mean([a == b for a, b in zip(looks, word[::-1])]) > 0.6


def test_sentiment():
    """Word order is learnt, where the words alone say nothing; two texts of the same words get their labels."""
    text = run("sentiment", *SMALL["sentiment"])
    assert numbers(r"test accuracy ([\d.]+)", text)[0] > 0.85
    assert re.search(r"^negative .*awful\.$", text, re.MULTILINE) and re.search(
        r"^positive .*great\.$", text, re.MULTILINE
    )


@pytest.mark.parametrize("units", ["1", "17", "64"])
def test_streaming(units):
    """Steps equal the whole sequence, and a saved state leads back."""
    text = run("streaming", "--units", units, "--steps", "50")
    assert numbers(r"whole sequence: (\S+)", text)[0] <= 1e-6 and "is equal: True" in text


SHAPES = {
    "stft_conv": (258, 1, 256),
    "conv1": (128, 129, 3),
    "conv2": (64, 128, 3),
    "conv3": (64, 64, 3),
    "conv4": (128, 64, 3),
    "final_conv": (1, 128, 1),
}


def test_the_graph_of_the_voice_detector(rng, tmp_path):
    """Random weights under the names of the file give the probabilities that the equations give, step by step."""
    arrays = {f"{name}.weight": rng.normal(0, np.prod(shape[1:]) ** -0.5, shape) for name, shape in SHAPES.items()}
    arrays |= {f"{name}.bias": rng.normal(0, 0.3, shape[0]) for name, shape in SHAPES.items() if name != "stft_conv"}
    for part in ("ih", "hh"):
        arrays[f"lstm_cell.weight_{part}"] = rng.normal(0, 0.1, (512, 128))
        arrays[f"lstm_cell.bias_{part}"] = rng.normal(0, 0.3, 512)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    save_file(arrays, tmp_path / "weights.safetensors")
    spec = importlib.util.spec_from_file_location("voice_activity", EXAMPLES / "voice_activity.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    sound = example.make_sound(1.0, 0)
    detector = example.VoiceDetector(example.read_weights(tmp_path / "weights.safetensors"))
    got = [detector.step(chunk) for chunk in sound.reshape(-1, 512)]

    def convolved(x, name, stride, pads, activation):
        bias = arrays.get(f"{name}.bias")
        kernel = arrays[f"{name}.weight"].transpose(2, 1, 0)
        return reference.conv1d_forward(x, kernel, bias, stride, pads=pads, activation=activation)

    h = c = np.zeros(128)
    for step, probability in enumerate(got):
        before = sound[max(512 * step - 64, 0) : 512 * step] if step else np.zeros(64)
        x = np.pad(np.concatenate([before, sound[512 * step : 512 * (step + 1)]]), (0, 64), "reflect")
        spectrum = convolved(x[None, :, None], "stft_conv", 128, (0, 0), "linear")
        x = np.hypot(spectrum[..., :129], spectrum[..., 129:])
        for number, stride in enumerate((1, 2, 2, 1)):
            x = convolved(x, f"conv{number + 1}", stride, (1, 1), "relu")
        ih, hh = (
            arrays[f"lstm_cell.weight_{part}"].astype(float) @ value + arrays[f"lstm_cell.bias_{part}"]
            for part, value in (("ih", x[0, 0]), ("hh", h))
        )
        i, f, g, o = np.split(ih + hh, 4)
        c = reference.activate("sigmoid", f) * c + reference.activate("sigmoid", i) * np.tanh(g)
        h = reference.activate("sigmoid", o) * np.tanh(c)
        expected = convolved(np.maximum(h, 0)[None, None], "final_conv", 1, (0, 0), "sigmoid").item()
        assert probability == pytest.approx(expected, abs=1e-5)
    assert np.ptp(got) > 0.01


def test_voice_activity():
    """The trained detector, where silero-vad is installed: a voice is none in noise; the numbers are onnxruntime's."""
    if importlib.util.find_spec("silero_vad") is None:
        pytest.skip("silero-vad is not installed")
    means = numbers(r"mean ([\d.]+)", run("voice_activity"))
    assert len(means) == 3 and max(means[:2]) < 0.2 < 0.8 < means[2]
    for name in ("onnxruntime", "torch"):
        if importlib.util.find_spec("onnx") and importlib.util.find_spec(name):
            assert numbers(r"largest difference (\S+);", run("voice_activity", "--against", name))[0] < 1e-4


def test_word_vectors():
    """The neighbours of a capital are of its topic, and analogies hold."""
    text = run("word_vectors", *SMALL["word_vectors"])
    assert re.search(r"^nearest to paris: \w+ 0\.\d\d, ", text, re.MULTILINE)
    assert numbers(r"right \(([\d.]+)%\)", text)[0] > 50 and "does not belong: sister" in text
