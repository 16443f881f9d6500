"""The lab's experiments: what is to be run as data, runs that survive being stopped, a ledger of results, the pages."""
