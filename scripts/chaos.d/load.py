"""Work of awkward shapes: one key with nearly all rows, very many small files."""
import time

from figures import JOBS, Figures, digest, fired, numbers
from processes import Cluster

import workers


def skewed(arguments, scratch):
    """99 % of the rows have one key and do not fit a worker's memory: it spills and the rows are those of a large worker"""
    figures = Figures()
    clean_seconds, expected = workers.clean(arguments, scratch, 1, "skew.toml")
    with Cluster(scratch / "cluster", memory="768m") as cluster:
        seconds = cluster.submit(*workers.options(arguments, scratch / "skewed", 1, "skew.toml"), "--driver-memory", "128m")
        spilled = sum(worker.metric("lake_worker_spilled_bytes_total") for worker in cluster.workers)
        fired(spilled > 0, "everything fitted into memory")
    figures.say(f"{seconds:.1f} s, with enough memory {clean_seconds:.1f} s; {spilled / 2**20:.0f} MB spilled")
    figures.check("rows equal", digest(scratch / "skewed" / workers.LINES) == expected)
    return figures


def tiny_files(arguments, scratch):
    """10,000 files of one row: one commit with every row, bounded memory"""
    figures, files, source = Figures(), 10_000, scratch / "files"
    source.mkdir()
    for number in range(files):
        (source / f"{number}.csv").write_text(f"number\n{number}\n")
    with Cluster(scratch / "cluster") as cluster:
        started, peak = time.monotonic(), 0
        client = cluster.client(JOBS / "tiny.toml", "--param", f"from={source}", "--conf",
                                f"warehouse.root={scratch / 'warehouse'}")
        while client.poll() is None:
            peak = max(peak, *(worker.resident_mb() for worker in cluster.workers))
            time.sleep(0.05)
        seconds = time.monotonic() - started
    figures.say(f"{files / seconds:.0f} files/s, largest worker {peak:.0f} MB")
    figures.check("the job finishes", client.returncode == 0)
    table = scratch / "warehouse/bronze/tiny"
    logs = [log.read_text() for log in sorted((table / "_delta_log").glob("*.json"))]
    figures.check("one commit with data", sum('"add":' in log for log in logs) == 1)
    figures.numbers(numbers(table), range(files))
    return figures


ROWS = {"47": skewed, "48": tiny_files}
