"""`python -m vvi`: the command line."""

import sys

from vvi.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
