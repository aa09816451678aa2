"""Training steps of the Penn Treebank language model; options as of ``seqcore bench``."""

import sys

from seqcore.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--what", "ptb", *sys.argv[1:]]))
