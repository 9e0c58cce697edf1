"""The command line: parse, words, exit codes.  The only place that knows the terminal."""
