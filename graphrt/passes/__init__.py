"""Graph passes: each takes a Graph and returns a Graph of the same outputs and updates. `pipeline.py` orders them."""
