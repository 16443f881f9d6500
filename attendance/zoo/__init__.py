"""The model zoo: which models there are to fetch, and how a file comes into the store checked."""
