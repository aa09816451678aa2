"""One step of a stream for one sequence, called from Python; options as of ``seqcore bench``."""

import sys

from seqcore.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--what", "stream", *sys.argv[1:]]))
