"""``python -m attendance``."""

import sys

from attendance.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
