"""SimpleRNN, LSTM and GRU over whole sequences, forward and training step; options as of ``seqcore bench``."""

import sys

from seqcore.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--what", "recurrent", *sys.argv[1:]]))
