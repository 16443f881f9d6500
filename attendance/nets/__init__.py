"""Networks of the product: nn.Module only, no files, no configuration."""
