"""Networks that the lab trains: faces (N, 3, H, W) to embeddings (N, D); the product runs them exported."""
