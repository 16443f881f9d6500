"""Enrol a folder of people: run ``python build_database.py --help``."""

import sys

from attendance.cli.build import main

if __name__ == "__main__":
    sys.exit(main())
