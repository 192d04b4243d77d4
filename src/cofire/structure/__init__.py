"""Structure among features: shared neurons, reuse, families, and features across layers."""
