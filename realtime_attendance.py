"""Camera to ledger: run ``python realtime_attendance.py --help``."""

import sys

from attendance.cli.realtime import main

if __name__ == "__main__":
    sys.exit(main())
