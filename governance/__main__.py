"""`python -m governance`."""

from governance.cli.main import run

if __name__ == "__main__":
    run()
