"""Stores and sources that refuse, stall, break off, and lose their answers."""
import os
import threading
import time

from figures import JOBS, Figures, fired, numbers
from processes import BIN, Cluster, Daemon, Postgres, Proxy, wait_for

TABLES = {"bronze/appended": lambda jobs: range(jobs), "silver/replaced": lambda jobs: range(jobs),
          "gold/overwritten": lambda jobs: [jobs - 1]}


class Store:
    """An S3 endpoint over a folder, with faults (tests/src/bin/s3_server)."""

    def __init__(self, scratch, *faults, seed=1):
        self.folder, self.log, self.seed = scratch / "s3", scratch / "fired", seed
        (self.folder / "lake").mkdir(parents=True)
        self.daemon, self.address = None, "127.0.0.1:0"
        self.start(faults)

    def start(self, faults):
        options = [option for fault in faults for option in ["--fault", fault]]
        log = ["--fault-log", self.log] if faults else []
        self.daemon = Daemon([BIN / "s3-server", "--listen", self.address, "--access-key", "chaos", "--secret-key",
                              "chaos-secret", "--seed", self.seed, *log, *options, self.folder], f"{self.folder}.log")
        self.address = self.daemon.listening("s3")["s3"]
        endpoint = f"http://{self.address}"
        self.environment = {"AWS_ENDPOINT": endpoint, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1",
                            "AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos-secret", "AWS_ALLOW_HTTP": "true"}
        os.environ.update(self.environment)

    def heal(self):
        """The same store without faults, at the same address."""
        self.daemon.stop()
        self.start([])

    def fired(self):
        return len(self.log.read_text().splitlines())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.daemon.stop()


def commits(arguments, scratch, *faults, seconds=None):
    """Jobs of one append, one replacement and one overwrite over a store with faults, which end after some seconds."""
    figures, jobs, failed, codes = Figures(), max(1, arguments.runs // 5), 0, []
    with Store(scratch, *faults, seed=arguments.seed) as store:
        timer = threading.Timer(seconds, store.heal) if seconds else None
        with Cluster(scratch / "cluster") as cluster:
            started = time.monotonic()
            if timer:
                timer.start()
            for number in range(jobs):
                client = cluster.client(JOBS / "commits.toml", "--param", f"number={number}")
                client.communicate()
                codes.append(client.returncode)
                failed += client.returncode != 0
        if timer:
            timer.join()
        hits = store.fired()
        fired(hits > 0, " ".join(faults))
        figures.say(f"{hits} faults in {3 * jobs} commits, {time.monotonic() - started:.0f} s")
        # The reader gets a store without faults.
        store.heal()
        figures.count("false failures", failed, jobs)
        if failed == jobs:
            figures.say(f"no job succeeded: exit codes {codes}")
            return figures
        for table, expected in TABLES.items():
            found, expected = numbers(f"s3://lake/warehouse/{table}", store.environment), list(expected(jobs))
            figures.count(f"{table}: rows lost or doubled", 0 if found == expected else 1, jobs)
    return figures


def answers_lost(arguments, scratch):
    """the store has done a commit and its answer is lost, or says 500: one commit, and a success"""
    figures = Figures()
    for kind in ["lost", "lost-500"]:
        part = commits(arguments, scratch / kind, f"{kind}:PUT:/_delta_log/:0.3")
        figures.failures += part.failures
        figures.lines += [f"{kind}: {line}" for line in part.lines]
    return figures


def errors(arguments, scratch):
    """500 and 503 to a tenth of all calls: every job succeeds"""
    return commits(arguments, scratch, "error:*:/lake/:0.05", "slow-down:*:/lake/:0.05")


def slow_down(arguments, scratch):
    """the store refuses everything for a while from the start of a job: jobs wait and succeed"""
    return commits(arguments, scratch, "slow-down:*:/lake/:1", seconds=arguments.outage)


def conflicts(arguments, scratch):
    """409 to some conditional puts that were not done: tried again, nobody takes them for another's commit"""
    return commits(arguments, scratch, "conflict:PUT:/_delta_log/:0.3")


def truncated(arguments, scratch):
    """answers that end in their middle or stall: never short data"""
    return commits(arguments, scratch, "truncated:GET:/lake/:0.2", "delay-2000:GET:/lake/:0.02")


def expired(arguments, scratch):
    """credentials expire in the middle of a job: it ends as denied, at once, and nothing is committed"""
    figures, jobs, wrong, committed = Figures(), max(1, arguments.runs // 10), 0, 0
    for number in range(jobs):
        part = scratch / str(number)
        part.mkdir()
        with Store(part, "expired:PUT:.parquet:1") as store, Cluster(part / "cluster") as cluster:
            client = cluster.client(JOBS / "commits.toml", "--param", f"number={number}")
            _, told = client.communicate()
            fired(store.fired() > 0, "nothing was refused")
            wrong += client.returncode != 9 or "error[denied/" not in told
            logs = (store.folder / "lake").rglob("_delta_log/*.json")
            committed += any('"add":' in log.read_text() for log in logs)
    figures.count("jobs with another end than denied", wrong, jobs)
    figures.count("jobs with a commit", committed, jobs)
    return figures


def postgres_drops(arguments, scratch):
    """connections to PostgreSQL break after random bytes: tried again, every row once"""
    figures, runs, rows, failed, wrong = Figures(), max(1, arguments.runs // 10), 400_000, 0, 0
    with Postgres(scratch / "postgres") as server, \
            Proxy(f"127.0.0.1:{server.port}", scratch / "proxy.log", arguments.seed) as proxy:
        server.sql(f"CREATE TABLE numbers AS SELECT n AS number, md5(n::text) AS word FROM generate_series(1, {rows}) AS n")
        os.environ["CHAOS_URL"] = server.url.replace(str(server.port), proxy.address.rsplit(":", 1)[1])
        with Cluster(scratch / "cluster") as cluster:
            for turn in range(runs):
                warehouse = scratch / f"warehouse-{turn}"
                before = proxy.tell("counts")["cut"]
                driver = cluster.detached(JOBS / "postgres.toml", "--conf", f"warehouse.root={warehouse}")
                for _ in range(2):
                    wait_for("files", lambda: any((warehouse / "bronze/numbers").glob("*.parquet"))
                             or cluster.status(driver)["state"] == "FINISHED", 60)
                    proxy.tell("cut")
                    time.sleep(0.3)
                fired(proxy.tell("counts")["cut"] > before, "no connection was cut")
                failed += cluster.ended(driver)["state"] != "FINISHED"
                wrong += numbers(warehouse / "bronze/numbers") != list(range(1, rows + 1))
    figures.count("jobs failed", failed, runs)
    figures.count("jobs with rows lost or doubled", wrong, runs)
    return figures


ROWS = {"29": errors, "30": slow_down, "31": answers_lost, "32": conflicts, "33": truncated, "34": expired,
        "35": postgres_drops}
