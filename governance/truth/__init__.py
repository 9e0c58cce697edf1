"""What is true of an installation and how it is written: documents, registry, ledger, snapshots.

`redo` changes them together.
"""
