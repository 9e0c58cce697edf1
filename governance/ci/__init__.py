"""`gov ci`: the node of a folder, tried with named versions of ComfyUI and beside other nodes.

Each try takes the road that users take (init, node add, tx run), in a workspace that is thrown
away afterwards.
"""
