import os
import sqlite3

from comfy.cli_args import args


def get_db_path():
    if not args.database_url.startswith("sqlite:///"):
        raise ValueError(f"Unsupported database URL '{args.database_url}'.")
    return args.database_url.removeprefix("sqlite:///")


def init_db():
    path = get_db_path()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        if path != ":memory:":
            connection.execute("CREATE TABLE IF NOT EXISTS starts (pid INTEGER)")
            connection.execute("INSERT INTO starts VALUES (?)", (os.getpid(),))
    connection.close()
