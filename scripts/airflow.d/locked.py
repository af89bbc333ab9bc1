"""A table of PostgreSQL that nobody reads for a while: what does waits, in the middle of its job."""
import contextlib
import subprocess


@contextlib.contextmanager
def locked(psql, table):
    """`psql` is the command of a session that takes SQL on its standard input and prints bare values."""
    with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        session.stdin.write(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
        session.stdin.flush()
        if session.stdout.readline().strip() != "locked":
            raise SystemExit(f"{table} could not be locked")
        try:
            yield
        finally:
            session.stdin.close()
