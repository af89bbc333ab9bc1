"""Reads Delta tables with deltalake and pyarrow for the integration tests; prints one JSON value."""
import json
import math
import os
import sys
from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs
from deltalake import DeltaTable


def options(url):
    if not url.startswith("s3://"):
        return None
    return {k.lower(): v for k, v in os.environ.items() if k.startswith("AWS_")}


def local(url):
    return url.removeprefix("file://")


def filesystem(url):
    if url.startswith("s3://"):
        endpoint = os.environ["AWS_ENDPOINT"]
        store = fs.S3FileSystem(
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=endpoint.removeprefix("http://"),
            scheme="http",
            region=os.environ["AWS_REGION"],
        )
        return store, url.removeprefix("s3://")
    return fs.LocalFileSystem(), local(url)


def delta(url):
    table = DeltaTable(url if url.startswith("s3://") else local(url), storage_options=options(url))
    return table.to_pyarrow_table()


def load(what):
    kind, _, url = what.partition(":")
    return delta(url) if kind == "delta" else ds.dataset(local(url), format="parquet").to_table()


def visible(table):
    return table.select([name for name in table.column_names if not name.startswith("_")])


def text(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=str, sort_keys=True)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return str(value)


def rows(table):
    table = visible(table)
    columns = [column.to_pylist() for column in table.columns]
    return list(zip(*columns)) if columns else []


def order(row):
    return [(value is not None, value or "") for value in row]


def exact(value):
    """What two rows must share to be one another's match; numbers are compared later."""
    return None if isinstance(value, (float, Decimal)) else text(value)


def number_order(row):
    return [(value is not None, float(value) if isinstance(value, (float, Decimal)) else 0.0) for value in row]


def close(a, b):
    if isinstance(a, (float, Decimal)) and isinstance(b, (float, Decimal, int)):
        a, b = float(a), float(b)
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
    return text(a) == text(b)


def same(left, right):
    left, right = visible(load(left)), visible(load(right))
    if sorted(left.column_names) != sorted(right.column_names):
        return f"columns {left.column_names} and {right.column_names}"
    right = right.select(left.column_names)
    one, two = rows(left), rows(right)
    if len(one) != len(two):
        extra = Counter(map(str, one)) - Counter(map(str, two))
        return f"{len(one)} and {len(two)} rows, for example {list(extra)[:3]}"
    key = lambda row: (order([exact(value) for value in row]), number_order(row))
    for a, b in zip(sorted(one, key=key), sorted(two, key=key)):
        if not all(close(x, y) for x, y in zip(a, b)):
            return f"row {a} and {b}"
    return None


def log(url):
    store, path = filesystem(url)
    selector = fs.FileSelector(path + "/_delta_log", recursive=False)
    names = sorted(info.path for info in store.get_file_info(selector) if info.path.endswith(".json"))
    commits = []
    for name in names:
        base = name.rsplit("/", 1)[-1]
        if not base[:20].isdigit() or base != base[:20] + ".json":
            continue
        with store.open_input_stream(name) as stream:
            actions = [json.loads(line) for line in stream.read().decode().splitlines() if line.strip()]
        commits.append({
            "version": int(base[:20]),
            "transactions": [[a["txn"]["appId"], a["txn"]["version"]] for a in actions if "txn" in a],
            "added": [a["add"]["path"] for a in actions if "add" in a],
            "removed": [a["remove"]["path"] for a in actions if "remove" in a],
        })
    return commits


def main():
    verb, *arguments = sys.argv[1:]
    if verb == "rows":
        table = [[text(value) for value in row] for row in rows(delta(arguments[0]))]
        answer = sorted(table, key=order)
    elif verb == "count":
        answer = delta(arguments[0]).num_rows
    elif verb == "log":
        answer = log(arguments[0])
    elif verb == "same":
        answer = same(*arguments)
    else:
        raise SystemExit(f"no verb {verb}")
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    # Threads that the libraries leave behind abort an ordinary exit now and then, after the answer is out.
    os._exit(0)


main()
