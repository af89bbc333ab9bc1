"""What a row measured, and how tables are compared: read by programs that are not ours."""
import json
import os
import pathlib
import statistics
import sys

from processes import BIN, CACHE, ROOT, run

JOBS = ROOT / "scripts/chaos.d"
PYTHON = pathlib.Path(os.environ.get("LAKE_TEST_PYTHON", CACHE / "python/bin/python"))
READ = """
import hashlib, json, os, sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[2], storage_options=json.loads(sys.argv[3]))
answer = {"version": table.version()}
rows = table.to_pyarrow_table()
if sys.argv[1] == "numbers":
    answer["numbers"] = sorted(rows.column("number").to_pylist())
elif sys.argv[1] == "distinct":
    answer |= {"rows": rows.num_rows, "distinct": len(rows.column("id").unique())}
else:
    digest = hashlib.sha256()
    for batch in rows.sort_by([(name, "ascending") for name in rows.column_names]).to_batches(max_chunksize=65536):
        digest.update(repr(batch.to_pydict()).encode())
    answer = {"rows": rows.num_rows, "digest": digest.hexdigest()}
print(json.dumps(answer), flush=True)
os._exit(0)  # its threads may abort an orderly end
"""


def read(what, table, options=None):
    done = run([PYTHON, "-c", READ, what, table, json.dumps(options or {})], capture_output=True)
    return json.loads(done.stdout)


def numbers(table, options=None):
    return read("numbers", table, options)["numbers"]


def digest(table):
    """Equal for tables with equal rows, in whatever order."""
    return read("digest", table)


def rows_of_files(folder):
    script = "import sys, pyarrow.dataset as files; print(files.dataset(sys.argv[1]).count_rows())"
    return int(run([PYTHON, "-c", script, folder], capture_output=True).stdout)


def lineitem(arguments, scale):
    """The folder of a generated TPC-H table, made once."""
    folder = arguments.data / f"sf{scale:g}" / "parquet"
    if not (folder / "lineitem").exists():
        run([BIN / "tpch-tables", "--scale-factor", scale, "--format", "parquet", "--only", "lineitem", "--out", folder])
    return folder / "lineitem"


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]


def fired(happened, what):
    """A row whose fault did not happen has shown nothing."""
    if not happened:
        sys.exit(f"the fault did not happen: {what}")


class Figures:
    """The lines of a row, and how much of it went wrong."""

    def __init__(self):
        self.lines, self.failures = [], 0

    def say(self, text):
        self.lines.append(text)

    def count(self, what, failures, runs):
        """With the bound that no failure in so many runs gives."""
        self.failures += failures
        self.say(f"{what}: {failures} of {runs}" + (" FAILED" if failures else f" (95 % bound {3 / runs:.3g})"))

    def check(self, what, is_so):
        self.failures += not is_so
        self.say(f"{what}: {'yes' if is_so else 'NO, FAILED'}")

    def seconds(self, what, values, note=""):
        self.say(f"{what}: p50 {statistics.median(values):.2f} s, p99 {percentile(values, 0.99):.2f} s, "
                 f"max {max(values):.2f} s{note}")

    def numbers(self, found, expected):
        """Rows lost and doubled, where every run adds one."""
        expected = list(expected)
        self.count("rows lost", len(set(expected) - set(found)), len(expected))
        self.count("rows doubled or too many", len(found) - len(set(found) & set(expected)), len(expected))
