"""Models: the servers behind them, and the wrapper that journals and shows each call."""
