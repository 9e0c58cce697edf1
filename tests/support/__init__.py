"""What the tests of several folders share: the command line, worlds to govern, fingerprints."""
