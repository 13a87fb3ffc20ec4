"""Causal language models that name items: prompts, token-level scores of titles, exact and beam decoders."""
