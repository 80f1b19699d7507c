"""One contract for every runtime: where nodes live must not matter to anybody."""
