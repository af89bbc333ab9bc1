"""Work of awkward shapes and sizes: one key with nearly all rows, very many small files, queued jobs or workers."""
import json
import resource
import time

from figures import JOBS, Figures, digest, fired, numbers
from processes import BIN, ROOT, Cluster, run

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


def queued(arguments, scratch):
    """10,000 queued submissions: submit latency stays flat, and all of them are there after the master is killed"""
    return swarm(scratch, workers=10, submissions=10_000)


def thousand_workers(arguments, scratch):
    """1,000 workers that beat and 10,000 queued submissions on a master that has one core"""
    return swarm(scratch, workers=1_000, submissions=10_000, core=0)


def swarm(scratch, workers, submissions, core=None):
    # A connection of each worker at both ends, and a socket at its address.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    pinned = [] if core is None else ["--core", core]
    done = run([BIN / "lake-bench", "swarm", "--program", BIN / "lake-master", "--folder", scratch / "swarm", "--job",
                ROOT / "examples/retail/job.toml", "--workers", workers, "--submissions", submissions, *pinned],
               capture_output=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    first, last, restart, cpu = found["submit"]["first"], found["submit"]["last"], found["restart"], found["cpu"]
    allowed = 2 * first["p99_ms"] + 10
    figures = Figures()
    figures.say(f"{submissions} submissions of {found['pipeline_bytes']} bytes in {found['submit']['seconds']:.1f} s, "
                f"{workers} workers")
    figures.say(f"submit p99: first 1,000 {first['p99_ms']:.1f} ms, last 1,000 {last['p99_ms']:.1f} ms; longest "
                f"{found['submit']['all']['max_ms']:.0f} ms")
    figures.say(f"CPU seconds a second: workers alone {cpu['beating']:.3f}, while submitting {cpu['submitting']:.2f}, with "
                f"the queue {cpu['queued']:.3f}")
    figures.say(f"memory {found['rss_mb']:.0f} MB (at most {found['peak_rss_mb']:.0f}), data directory "
                f"{found['data_mb']:.0f} MB")
    figures.say(f"list p99 {found['shown']['list']['p99_ms']:.1f} ms, page p99 {found['shown']['page']['p99_ms']:.1f} ms")
    figures.say(f"after kill -9: leads {restart['leads_s']:.2f} s, last submission answers {restart['answers_s']:.2f} s, all "
                f"workers back {restart['workers_s']:.1f} s")
    figures.check(f"the last 1,000 take no longer than {allowed:.1f} ms", last["p99_ms"] <= allowed)
    figures.check("no submission is lost", restart["submissions_lost"] == 0)
    figures.check("no worker is given up", restart["workers_given_up"] == 0)
    return figures


ROWS = {"47": skewed, "48": tiny_files, "49": queued, "50": thousand_workers}
