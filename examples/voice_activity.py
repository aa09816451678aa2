"""Voice activity in generated sound, 32 ms a step: the detector of the package silero-vad in layers of seqcore.

pip download --no-deps silero-vad && unzip silero_vad-*.whl -d silero
python examples/voice_activity.py --files silero/silero_vad/data

The package (MIT licence) has weights as safetensors; installed, it is found without --files. --against compares with
its ONNX file under onnxruntime and its TorchScript file under PyTorch, step by step in turn. These hold another
training than the safetensors of version 6.2, so then the weights are read from an ONNX file of the package (needs
onnx).
"""

import argparse
import importlib
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import seqcore as sc
from seqcore.interop.torch import from_torch

RATE = 16_000  # samples of a second
CHUNK = 512  # samples of a step
CONTEXT = 64  # samples of the step before, in front of them
MIRRORED = 64  # samples mirrored at the end, behind them
WINDOW, HOP = 256, 128  # samples of a short-time Fourier transform, and from one to the next
BINS = WINDOW // 2 + 1


@sc.layers.register("examples/Magnitude")
class Magnitude(sc.layers.Layer):
    """(..., 2 N) real parts, then imaginary parts, to (..., N) absolute values."""

    def call(self, inputs):
        real, imaginary = sc.ops.split(inputs, 2, axis=-1)
        return sc.ops.sqrt(sc.ops.square(real) + sc.ops.square(imaginary))


def make_encoder() -> sc.Sequential:
    """The samples of a step, (B, 640, 1), to (B, 1, 128): a Fourier transform as a convolution, and four more."""
    convolutions = [
        sc.layers.Conv1D(filters, 3, stride, padding=(1, 1), activation="relu", name=name)
        for name, filters, stride in (("conv1", 128, 1), ("conv2", 64, 2), ("conv3", 64, 2), ("conv4", 128, 1))
    ]
    transform = sc.layers.Conv1D(2 * BINS, WINDOW, HOP, use_bias=False, name="stft_conv")
    return sc.Sequential([sc.layers.Input((CONTEXT + CHUNK + MIRRORED, 1)), transform, Magnitude(), *convolutions])


def make_decoder() -> sc.Sequential:
    """Those of all steps, (B, T, 128), to the probabilities of speech, (B, T, 1)."""
    return sc.Sequential(
        [
            sc.layers.Input((None, 128)),
            sc.layers.LSTM(128, return_sequences=True, name="lstm_cell"),
            sc.layers.Activation("relu"),
            sc.layers.Conv1D(1, 1, activation="sigmoid", name="final_conv"),
        ]
    )


# Names of the arrays in the ONNX file and in the safetensors.
ONNX_NAMES = {
    "model.stft.forward_basis_buffer": "stft_conv.weight",
    "model.decoder.rnn.": "lstm_cell.",
    "model.decoder.decoder.2.": "final_conv.",
    **{f"model.encoder.{i}.reparam_conv.": f"conv{i + 1}." for i in range(4)},
}


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Arrays by their names in the safetensors."""
    if path.suffix != ".onnx":
        return load_file(path)
    import onnx
    from onnx import numpy_helper

    arrays = {}
    for tensor in onnx.load(path).graph.initializer:
        for start, name in ONNX_NAMES.items():
            if tensor.name.startswith(start):
                arrays[name + tensor.name.removeprefix(start)] = numpy_helper.to_array(tensor)
    return arrays


class VoiceDetector:
    """Probability of speech, one step of 512 samples after the other.

    Args:
        arrays: the weights, as PyTorch has them: those of a convolution (filters, features, steps).
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.encoder, self.decoder = make_encoder(), make_decoder()
        for layer in (*self.encoder.layers, *self.decoder.layers):
            if isinstance(layer, sc.layers.LSTM):
                layer.set_weights(from_torch(arrays, "lstm", prefix=layer.name)[0])
            elif isinstance(layer, sc.layers.Conv1D):
                bias = [arrays[f"{layer.name}.bias"]] if layer.use_bias else []
                layer.set_weights([arrays[f"{layer.name}.weight"].transpose(2, 1, 0), *bias])
        self.stream = self.decoder.stream()
        self.samples = np.zeros((1, CONTEXT + CHUNK + MIRRORED, 1), np.float32)

    def step(self, chunk: np.ndarray) -> float:
        """The probability of speech in the next 512 samples."""
        samples = self.samples[0, :, 0]
        end = CONTEXT + CHUNK
        samples[:CONTEXT] = samples[CHUNK:end]
        samples[CONTEXT:end] = chunk
        samples[end:] = samples[end - 2 : end - 2 - MIRRORED : -1]
        encoded = self.encoder(self.samples).numpy()[:, 0]
        return float(self.stream.step(encoded)[0, 0])


def make_sound(seconds: float, seed: int) -> np.ndarray:
    """Silence, noise, and something like a voice that speaks vowels: pulses of the vocal cords through resonances."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE) // (3 * CHUNK) * CHUNK
    time_ = np.arange(count) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 1.3 * time_) + 4 * np.sin(2 * np.pi * 5.5 * time_)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = np.zeros(count)
    for harmonic in range(1, 30):
        frequency = harmonic * pitch
        # The resonances of "a" and "i", in turn.
        open_ = 0.5 + 0.5 * np.sin(2 * np.pi * 2.1 * time_)
        strength = np.zeros(count)
        for a, i, width in ((730, 270, 90), (1090, 2290, 110), (2440, 3010, 170)):
            centre = open_ * a + (1 - open_) * i
            strength += 1 / (1 + ((frequency - centre) / width) ** 2)
        voice += strength * np.sin(harmonic * phase) / harmonic**0.5
    syllables = np.clip(np.sin(2 * np.pi * 4 * time_) + 0.6, 0, 1)
    voice *= syllables / np.abs(voice).max()
    silence = 1e-4 * rng.normal(size=count)
    return np.concatenate([silence, 0.05 * rng.normal(size=count), 0.5 * voice + silence]).astype(np.float32)


def data_folder() -> Path:
    """The files of the installed package; ``find_spec`` imports nothing of it."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("voice_activity: silero-vad is not installed; give its folder of files, --files DIR")
    return Path(spec.submodule_search_locations[0]) / "data"


def with_onnxruntime(files: Path) -> Callable[[np.ndarray], float]:
    """The step of the package's ONNX file, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(files / "silero_vad.onnx", options, providers=["CPUExecutionProvider"])
    state, context, rate = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32), np.array(RATE)

    def step(chunk: np.ndarray) -> float:
        nonlocal state, context
        samples = np.concatenate([context, chunk])[None]
        y, state = session.run(None, {"input": samples, "state": state, "sr": rate})
        context = chunk[-CONTEXT:]
        return float(y[0, 0])

    return step


def with_torch(files: Path) -> Callable[[np.ndarray], float]:
    """The step of the package's TorchScript file, on one thread."""
    import torch

    torch.set_num_threads(1)
    model = torch.jit.load(files / "silero_vad.jit", map_location="cpu").eval()

    def step(chunk: np.ndarray) -> float:
        with torch.no_grad():
            return float(model(torch.from_numpy(chunk), RATE))

    return step


AGAINST = {"onnxruntime": with_onnxruntime, "torch": with_torch}


def installed_megabytes(name: str) -> float:
    """Size of a package's folder."""
    place = Path(importlib.import_module(name).__file__).parent
    files = (path for path in place.rglob("*") if "__pycache__" not in path.parts and path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, metavar="DIR", help="those of the package; by default the installed one")
    parser.add_argument("--seconds", type=float, default=9, help="of sound (default 9)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--against", nargs="*", choices=AGAINST, default=[], help="compare with these")
    arguments = parser.parse_args()
    files = arguments.files or data_folder()
    weights = files / ("silero_vad_16k_op15.onnx" if arguments.against else "silero_vad_16k.safetensors")
    if not weights.exists():
        sys.exit(f"voice_activity: --files: expected {weights.name} in {files}, got none")

    steps = {"seqcore": VoiceDetector(read_weights(weights)).step}
    steps |= {name: AGAINST[name](files) for name in arguments.against}
    chunks = make_sound(arguments.seconds, arguments.seed).reshape(-1, CHUNK)
    speech: dict[str, list[float]] = {name: [] for name in steps}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for chunk in chunks:
        for name, step in steps.items():
            begin = time.perf_counter()
            speech[name].append(step(chunk))
            seconds[name].append(time.perf_counter() - begin)

    for name, part in zip(("silence", "noise", "voice"), np.split(np.array(speech["seqcore"]), 3)):
        print(f"{name:8} probability of speech: mean {part.mean():.3f}, largest {part.max():.3f}")
    for name, times in seconds.items():
        median = 1e6 * np.median(times)
        line = f"{name:12} median step {median:.0f} µs, {1e6 * CHUNK / RATE / median:.0f} times as fast as the sound"
        if name != "seqcore":
            difference = np.abs(np.subtract(speech[name], speech["seqcore"])).max()
            line += f"; largest difference {difference:.1e}"
        print(f"{line}; {installed_megabytes(name):.0f} MB installed")


if __name__ == "__main__":
    main()
