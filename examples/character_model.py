"""A stateful model of characters: trained window by window on a short text, then continuing a few letters.

python examples/character_model.py --epochs 60 --prompt "the cat"
"""

import argparse

import numpy as np

import seqcore as sc
from seqcore import layers
from seqcore.language_model import generate
from seqcore.text import Tokenizer, Vocabulary, bptt_batches

TEXT = """the cat sat by the door and waited for the rain to stop.
the rain did not stop, so the cat sat by the fire and slept.
the dog came in from the rain and shook the water from its coat.
the water fell on the fire, and the fire hissed, and the cat woke up.
the cat looked at the dog, and the dog looked at the door.
then the rain stopped, and the dog and the cat went out together.
"""


class ResetStates(sc.callbacks.Callback):
    """Zero the state at the start of each epoch, which is the start of the text."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.reset_states()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--prompt", default="the cat")
    parser.add_argument("--length", type=int, default=200, help="characters to add")
    arguments = parser.parse_args()

    sc.set_seed(0)
    characters = Tokenizer(1)
    tokens = characters.split(TEXT * 4)
    vocabulary = Vocabulary.from_tokens(tokens)
    # Row b of a window continues row b of the previous window: the state is carried over.
    batches = bptt_batches(vocabulary.encode(tokens), batch_size=4, steps=20)
    print(f"{len(tokens)} characters, {vocabulary.size} different ones, {len(batches)} windows per epoch")

    model = sc.Sequential(
        [
            layers.Embedding(vocabulary.size, 16),
            layers.GRU(arguments.units, return_sequences=True, stateful=True),
            layers.Dense(vocabulary.size),
        ]
    )
    loss = sc.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(sc.optimizers.Adam(0.01, global_clipnorm=5.0), loss)
    history = model.fit(batches, epochs=arguments.epochs, callbacks=[ResetStates()], verbose=0).history["loss"]
    for epoch in range(0, arguments.epochs, max(1, arguments.epochs // 6)):
        print(f"epoch {epoch + 1}: perplexity {np.exp(history[epoch]):.3f}")
    print(f"epoch {arguments.epochs}: perplexity {np.exp(history[-1]):.3f}")

    prompt = characters.known(arguments.prompt, vocabulary)
    # Small noise in the initial state: other seeds give other stories.
    for seed in (0, 1):
        told = generate(model, vocabulary, prompt, arguments.length, temperature=0.5, noise=0.1, seed=seed)
        print(f"--- seed {seed}\n{characters.join(prompt + told)}")


if __name__ == "__main__":
    main()
