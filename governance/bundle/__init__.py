"""`gov export` and `gov import`: an installation as one file, and back into one.

A bundle is a plain tar of reproducible bytes.  It holds the truth, the story of its snapshot, the
commit of every node and of ComfyUI, and on demand their code and the wheels, so that a machine
without network becomes what this one is.
"""
