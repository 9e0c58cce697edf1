"""One change of the installation: its steps, its plan, its stages, its gates and its commit."""
