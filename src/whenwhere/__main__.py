"""``python -m whenwhere`` is the ``whenwhere`` command."""

import sys

from whenwhere.cli import main

if __name__ == "__main__":
    sys.exit(main())
