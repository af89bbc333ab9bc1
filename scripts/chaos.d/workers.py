"""Workers that die, are cut off, fill their disk or their memory, are drained or told to stop."""
import threading
import time

from figures import JOBS, Figures, digest, fired, lineitem, numbers, read, rows_of_files
from processes import ENDED, Cluster, Point, Proxy, wait_for

LINES = "silver/lines"


def stages(cluster, done):
    """Whether a query runs of which `done` stages are over and the next one has begun."""
    for job in cluster.get("/api/v1/applications?status=RUNNING&limit=1000") or []:
        for query in (cluster.get(f"/api/v1/applications/{job['app_id']}") or {"queries": []})["queries"]:
            over = [stage for stage in query["stages"] if stage["tasks_done"] == stage["tasks_total"]]
            begun = [stage for stage in query["stages"] if stage["tasks_running"]]
            if len(query["stages"]) > 1 and len(over) == done and begun:
                return True
    return False


def alive(cluster):
    """How many workers the leader believes to live."""
    return sum(worker["state"] == "ALIVE" for worker in cluster.get("/api/v1/workers?limit=1000") or [])


def options(arguments, warehouse, scale=0.3, job="lines.toml"):
    return [JOBS / job, "--param", f"from={lineitem(arguments, scale)}", "--conf", f"warehouse.root={warehouse}"]


def clean(arguments, scratch, scale=0.3, job="lines.toml", table=LINES):
    """Seconds and rows of a run without a fault."""
    with Cluster(scratch / "cluster-clean") as cluster:
        seconds = cluster.submit(*options(arguments, scratch / "clean", scale, job))
    return seconds, digest(scratch / "clean" / table)


def worker_killed(arguments, scratch):
    """kill -9 of a worker in map, in shuffle and in write: the rows of the run without a fault, 1.3 times its time + 10 s"""
    figures, scale = Figures(), 1
    clean_seconds, expected = clean(arguments, scratch, scale)
    moments = {"map": lambda cluster: stages(cluster, 0), "shuffle": lambda cluster: stages(cluster, 1),
               "write": lambda cluster: any((scratch / "write" / LINES).glob("*.parquet"))}
    for name, moment in moments.items():
        with Cluster(scratch / f"cluster-{name}") as cluster:
            has_fired, stop = threading.Event(), threading.Event()

            def kill():
                while not stop.is_set():
                    if moment(cluster):
                        cluster.workers[1].kill()
                        has_fired.set()
                        return
                    time.sleep(0.02)
            thread = threading.Thread(target=kill)
            thread.start()
            seconds = cluster.submit(*options(arguments, scratch / name, scale))
            stop.set()
            thread.join()
        fired(has_fired.is_set(), name)
        allowed = 1.3 * clean_seconds + 10
        figures.check(f"killed in {name}: {seconds:.1f} s, clean {clean_seconds:.1f} s, allowed {allowed:.1f} s; in time",
                      seconds <= allowed)
        figures.check(f"killed in {name}: rows equal", digest(scratch / name / LINES) == expected)
    return figures


def worker_dies_at_point(arguments, scratch):
    """a worker that dies after its shuffle files before it tells, and before it closes its data files: rows equal"""
    figures = Figures()
    _, expected = clean(arguments, scratch)
    for point in ["task-after-shuffle", "task-before-close"]:
        fault = Point(scratch / f"points-{point}", point, "kill")
        with Cluster(scratch / f"cluster-{point}", workers=3, environment=fault.environment) as cluster:
            seconds = cluster.submit(*options(arguments, scratch / point))
            fired(sum(not worker.runs() for worker in cluster.workers) == 1, point)
        figures.check(f"died at {point}: {seconds:.1f} s; rows equal", digest(scratch / point / LINES) == expected)
    return figures


def all_workers_killed(arguments, scratch):
    """kill -9 of all workers: a new one within the grace brings success; without one the job fails and says why"""
    figures = Figures()
    _, expected = clean(arguments, scratch)
    with Cluster(scratch / "cluster-new") as cluster:
        driver = cluster.detached(*options(arguments, scratch / "new"))
        wait_for("tasks", lambda: stages(cluster, 0))
        for worker in cluster.workers:
            worker.kill()
        wait_for("the loss of all workers", lambda: not alive(cluster))
        for _ in range(2):
            cluster.start_worker()
        figures.check("with new workers the job finishes", cluster.ended(driver)["state"] == "FINISHED")
    figures.check("rows equal", digest(scratch / "new" / LINES) == expected)
    with Cluster(scratch / "cluster-none") as cluster:
        # The driver is the client, which outlives the workers: the query's own grace is what is measured.
        client = cluster.client(*options(arguments, scratch / "none"), "--deploy-mode", "client")
        wait_for("tasks", lambda: stages(cluster, 0))
        for worker in cluster.workers:
            worker.kill()
        started = time.monotonic()
        _, errors = client.communicate()
        figures.say(f"without a worker: verdict after {time.monotonic() - started:.0f} s")
        named = [line for line in errors.splitlines() if "error[unavailable/" in line]
        figures.check(f"it is unavailable with a named cause ({(named or ['none'])[0][:120]})",
                      client.returncode == 6 and bool(named))
    return figures


def worker_cut_off(arguments, scratch):
    """a worker is cut off from the master for 8 s and heals: its tasks run elsewhere, its late results are refused"""
    figures, runs = Figures(), max(1, arguments.runs // 10)
    _, expected = clean(arguments, scratch)
    wrong, rejoined = 0, 0
    for turn in range(runs):
        with Cluster(scratch / f"cluster-{turn}", workers=1) as cluster, \
                Proxy(cluster.addresses[0], scratch / "proxy.log") as proxy:
            behind = cluster.start_worker(f"lake://{proxy.address}")
            behind.listening("grpc", "flight", "http")
            cluster.wait_for_workers(2)
            driver = cluster.detached(*options(arguments, scratch / f"cut-{turn}"))
            wait_for("tasks", lambda: stages(cluster, turn % 2))
            proxy.tell("hold")
            wait_for("the loss of the worker", lambda: alive(cluster) == 1)
            time.sleep(4)
            fired(proxy.tell("pass")["held"] > 0, "nothing was held")
            wrong += cluster.ended(driver)["state"] != "FINISHED"
            cluster.wait_for_workers(2)
            rejoined += 1
        wrong += digest(scratch / f"cut-{turn}" / LINES) != expected
    figures.count("jobs failed or rows different", wrong, runs)
    figures.say(f"came back under a fresh id: {rejoined} of {runs}")
    return figures


def shuffle_disk_full(arguments, scratch):
    """the work directory of one worker is full: its tasks run elsewhere, the job finishes, the worker lives"""
    figures = Figures()
    _, expected = clean(arguments, scratch)

    def small_disk(number, command):
        own = scratch / f"work-{number}"
        own.mkdir(exist_ok=True)
        command = [*command[:-1], "-d", own, command[-1]]
        if number != 0:
            return command
        mount = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"'
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, own, *command]
    with Cluster(scratch / "cluster", wrap=small_disk) as cluster:
        driver = cluster.detached(*options(arguments, scratch / "full"))
        figures.check("the job finishes", cluster.ended(driver)["state"] == "FINISHED")
        retries = cluster.retries(driver)
        fired(retries > 0, "no task failed for want of space")
        figures.say(f"tasks tried again: {retries}")
        figures.check("the worker with the full disk lives", cluster.workers[0].runs())
    figures.check("rows equal", digest(scratch / "full" / LINES) == expected)
    return figures


def slow_disk(arguments, scratch):
    """the shuffle files of one worker take 5 s longer: its tasks are overtaken elsewhere, it is not taken for dead"""
    figures = Figures()
    clean_seconds, expected = clean(arguments, scratch)
    point = Point(scratch / "points", "task-after-shuffle", "sleep-5000", 20)
    settings = [f"{name}={value}" for name, value in point.environment.items()]

    def slow_first(number, command):
        return ["env", *settings, *command] if number == 0 else command
    with Cluster(scratch / "cluster", wrap=slow_first) as cluster:
        seconds = cluster.submit(*options(arguments, scratch / "slow"), "--conf", "job.speculation=true")
        fired(point.fired(), "no task was slow")
        states = [worker["state"] for worker in cluster.get("/api/v1/workers") or []]
        overtaken = (scratch / "cluster/master-0.log").read_text().count("a slow task gets a second attempt")
    figures.say(f"{seconds:.1f} s, {seconds / clean_seconds:.1f} times the clean run; {overtaken} second attempts")
    figures.check("slow tasks are seen", overtaken > 0)
    figures.check("no worker is given up", states == ["ALIVE"] * 2)
    figures.check("rows equal", digest(scratch / "slow" / LINES) == expected)
    return figures


def task_over_memory(arguments, scratch):
    """a sort of more than the workers' memory: it spills or names what was exhausted; the workers live"""
    figures = Figures()
    _, expected = clean(arguments, scratch, scale=1)
    with Cluster(scratch / "cluster", memory="512m") as cluster:
        client = cluster.client(*options(arguments, scratch / "small", 1), "--driver-memory", "128m")
        peak = 0
        while client.poll() is None:
            peak = max(peak, *(worker.resident_mb() for worker in cluster.workers))
            time.sleep(0.1)
        _, errors = client.communicate()
        spilled = sum(worker.metric("lake_worker_spilled_bytes_total") for worker in cluster.workers)
        figures.check("workers live", all(worker.runs() for worker in cluster.workers))
    figures.say(f"peak {peak:.0f} MB of 512 MB, {spilled / 2**20:.0f} MB spilled")
    if client.returncode == 0:
        fired(spilled > 0, "everything fitted into memory")
        figures.check("rows equal", digest(scratch / "small" / LINES) == expected)
    else:
        figures.check("it is an error of class resource", client.returncode == 5 and "error[resource/" in errors)
    return figures


def query_kills_workers(arguments, scratch):
    """a query that kills every worker it runs on: the job fails after at most 3 of them, and later jobs run"""
    figures = Figures()
    fault = Point(scratch / "points", "task-before-close", "kill", 20)
    with Cluster(scratch / "cluster", workers=3, environment=fault.environment) as cluster:
        # The driver is the client: a worker that dies with a driver would be another matter.
        client = cluster.client(*options(arguments, scratch / "bad"), "--deploy-mode", "client")
        while client.poll() is None:
            for worker in [worker for worker in cluster.workers if not worker.runs()]:
                cluster.workers.remove(worker)
                cluster.start_worker()
            time.sleep(0.1)
        client.communicate()
        killed = len(fault.fired())
        fired(killed > 0, "no worker died")
        fault.disarm()
        figures.say(f"the job ended with code {client.returncode} after {killed} workers")
        figures.check("the job failed after at most 3 workers", client.returncode == 5 and killed <= 3)
        cluster.submit(JOBS / "one-row.toml", "--param", "number=1", "--conf", f"warehouse.root={scratch / 'later'}")
        figures.say("a later job has finished")
    return figures


def task_panics(arguments, scratch):
    """a task panics: its job fails as internal, the worker goes on and runs the next job"""
    figures, runs, wrong = Figures(), max(1, arguments.runs // 5), 0
    point = Point(scratch / "points", "task-before-close", "panic", runs, is_armed=False)
    with Cluster(scratch / "cluster", environment=point.environment) as cluster:
        for number in range(runs):
            job = [JOBS / "one-row.toml", "--param", f"number={number}", "--conf", f"warehouse.root={scratch / 'warehouse'}"]
            point.arm()
            client = cluster.client(*job)
            client.communicate()
            fired(len(point.fired()) == number + 1, "no task panicked")
            wrong += client.returncode != 70
            cluster.submit(*job)
        restarts = sum(not worker.runs() for worker in cluster.workers)
    figures.count("jobs with another end than internal", wrong, runs)
    figures.count("workers lost", restarts, runs)
    figures.numbers(numbers(scratch / "warehouse/bronze/numbers"), range(runs))
    return figures


def cancelled(arguments, scratch):
    """a cancelled job: no task and no driver of it is left, and how long that takes"""
    figures, runs, seconds, wrong = Figures(), max(1, arguments.runs // 5), [], 0
    with Cluster(scratch / "cluster") as cluster:
        for turn in range(runs):
            driver = cluster.detached(*options(arguments, scratch / f"cancelled-{turn}"))
            wait_for("tasks", lambda: stages(cluster, turn % 2))
            started = time.monotonic()
            cluster.cancel(driver)
            wait_for("free cores", lambda: not any(worker.metric("lake_worker_tasks_running") for worker in cluster.workers))
            seconds.append(time.monotonic() - started)
            wrong += cluster.ended(driver)["state"] != "KILLED"
    figures.seconds("to free cores", seconds)
    figures.count("cancelled jobs that did not end as KILLED", wrong, runs)
    return figures


def replaced(arguments, scratch):
    """all workers are replaced with SIGTERM while a job runs: nothing is tried again, rows equal"""
    figures = Figures()
    _, expected = clean(arguments, scratch, scale=1)
    with Cluster(scratch / "cluster") as cluster:
        driver = cluster.detached(*options(arguments, scratch / "replaced", 1))
        wait_for("tasks", lambda: stages(cluster, 0))
        for old in list(cluster.workers):
            cluster.start_worker().listening("grpc", "flight", "http")
            cluster.wait_for_workers(2)
            old.process.terminate()
        status = cluster.ended(driver)
        figures.check("the job finishes at its first attempt", (status["state"], status["attempt"]) == ("FINISHED", 1))
        figures.count("tasks tried again", cluster.retries(driver), 1)
        for old in cluster.workers[:2]:
            fired(old.process.wait(60) == 0, "a drained worker did not leave")
    figures.check("rows equal", digest(scratch / "replaced" / LINES) == expected)
    return figures


def chance_lost(arguments, scratch):
    """a worker lost under rows placed by chance: every row there once, whatever is run again"""
    figures, runs, wrong = Figures(), max(1, arguments.runs // 10), 0
    source = rows_of_files(lineitem(arguments, 0.3))
    for turn in range(runs):
        with Cluster(scratch / f"cluster-{turn}") as cluster:
            driver = cluster.detached(*options(arguments, scratch / f"chance-{turn}", job="chance.toml"))
            wait_for("the second stage", lambda: stages(cluster, 1), 60)
            cluster.workers[turn % 2].kill()
            wrong += cluster.ended(driver)["state"] != "FINISHED"
        found = read("distinct", scratch / f"chance-{turn}/gold/chance")
        wrong += (found["rows"], found["distinct"]) != (source, source)
    figures.count("runs with a row lost or doubled", wrong, runs)
    return figures


def stream_broken(arguments, scratch):
    """the streams between workers and master break after random bytes, again and again: rows equal, no job stuck"""
    figures, runs, wrong, cut = Figures(), max(1, arguments.runs // 5), 0, 0
    _, expected = clean(arguments, scratch)
    with Cluster(scratch / "cluster", workers=0) as cluster, \
            Proxy(cluster.addresses[0], scratch / "proxy.log", arguments.seed) as proxy:
        for _ in range(2):
            cluster.start_worker(f"lake://{proxy.address}").listening("grpc", "flight", "http")
        cluster.wait_for_workers(2)
        for turn in range(runs):
            proxy.tell("break", 20_000, 200_000)
            proxy.tell("cut")
            driver = cluster.detached(*options(arguments, scratch / f"broken-{turn}"))
            while cluster.status(driver)["state"] not in ENDED:
                proxy.tell("cut")
                time.sleep(1)
            wrong += cluster.status(driver)["state"] != "FINISHED"
            cut = proxy.tell("last")["cut"]
            wrong += digest(scratch / f"broken-{turn}" / LINES) != expected
        fired(cut >= runs, "no stream broke")
    figures.say(f"{cut} streams broken in {runs} jobs")
    figures.count("jobs failed or rows different", wrong, runs)
    return figures


ROWS = {"1-3": worker_killed, "2-3": worker_dies_at_point, "4": all_workers_killed, "15": worker_cut_off,
        "23": shuffle_disk_full, "24": slow_disk, "25": task_over_memory, "26": query_kills_workers, "27": task_panics,
        "28": cancelled, "51": chance_lost, "53": replaced, "54": stream_broken}
