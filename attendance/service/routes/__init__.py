"""The routes, a file per resource; each router carries whole paths, without a prefix, which name them in metrics."""
