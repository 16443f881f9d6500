"""Small scripts behind the make targets."""
