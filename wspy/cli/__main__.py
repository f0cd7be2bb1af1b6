"""`python -m wspy.cli` is `wspy`."""

from __future__ import annotations

import sys

from wspy.cli import main

if __name__ == "__main__":
    sys.exit(main())
