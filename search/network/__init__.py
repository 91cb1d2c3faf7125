"""Search spaces, the supernet, and how a network is found in it."""
