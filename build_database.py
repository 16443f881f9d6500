"""Enrol a folder of people: run ``python build_database.py --help``."""

import signal
import sys

if __name__ == "__main__":
    # The imports take seconds; Ctrl-C shall end them without a traceback, as it ends any program.
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from attendance.cli.build import main

    signal.signal(signal.SIGINT, interrupt)
    sys.exit(main())
