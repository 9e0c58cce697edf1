"""A small world to try things in: a sample ComfyUI, sample nodes, tiny wheels and their index.

It is what `gov demo` shows and what the tests stand on; nothing of the product imports it.
"""
