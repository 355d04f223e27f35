"""The models: how fast and how right each engine is, and what the whole system makes of them."""
