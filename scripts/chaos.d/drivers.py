"""Drivers that die, freeze and race, and clients that go away or come twice."""
import os
import random
import signal
import threading
import time
import uuid

from figures import JOBS, Figures, fired, numbers
from processes import Cluster, Network, Point, wait_for

JOB = JOBS / "one-row.toml"
TABLE = "bronze/numbers"


def options(scratch, number, *more):
    return [JOB, "--param", f"number={number}", "--conf", f"warehouse.root={scratch / 'warehouse'}", *more]


def at_point(arguments, scratch, name):
    """Every run's driver dies at the point once; its successor brings the one row."""
    figures, runs, seconds, failed = Figures(), max(1, arguments.runs // 5), [], 0
    point = Point(scratch / "points", name, "kill", runs, is_armed=False)
    with Cluster(scratch / "cluster", environment=point.environment) as cluster:
        for number in range(runs):
            point.arm()
            started = time.monotonic()
            status = cluster.ended(cluster.detached(*options(scratch, number)))
            seconds.append(time.monotonic() - started)
            fired(len(point.fired()) == number + 1, name)
            failed += (status["state"], status["attempt"]) != ("FINISHED", 2)
    figures.seconds("submission to the end", seconds)
    figures.count("jobs that did not finish at the second launch", failed, runs)
    figures.numbers(numbers(scratch / "warehouse" / TABLE), range(runs))
    return figures


def before_commit(arguments, scratch):
    """the driver dies before its commit: the successor commits once"""
    return at_point(arguments, scratch, "commit-before-put")


def after_commit(arguments, scratch):
    """the driver dies after its commit, before checkpoint and record: the successor skips the step"""
    return at_point(arguments, scratch, "driver-after-commit")


def five_deaths(arguments, scratch):
    """a driver that dies every time: as many launches as the job allows, then FAILED with the last error"""
    figures, point = Figures(), Point(scratch / "points", "driver-before-commit", "kill", 5)
    with Cluster(scratch / "cluster", environment=point.environment) as cluster:
        status = cluster.ended(cluster.detached(*options(scratch, 1)))
    deaths, failure = len(point.fired()), status["failure"]
    fired(deaths > 1, "the driver did not die again")
    figures.say(f"{deaths} deaths, attempt {status['attempt']}, {status['state']}: {failure}")
    figures.check("three launches, then FAILED with the last error",
                  (deaths, status["attempt"], status["state"]) == (3, 3, "FAILED") and bool(failure))
    return figures


def cut_off(arguments, scratch):
    """a driver is cut off from the master before its commit, not from the table, and its job killed: no commit lands"""
    figures, runs, late = Figures(), max(1, arguments.runs // 10), 0
    table = scratch / "warehouse" / TABLE
    point = Point(scratch / "points", "driver-before-commit", "sleep-8000", runs, is_armed=False)
    with Network(3) as network, Cluster(scratch / "cluster", network=network, environment=point.environment) as cluster:
        for number in range(runs):
            cluster.wait_for_workers(2)
            point.arm()
            driver = cluster.detached(*options(scratch, number))
            process = wait_for("the driver before its commit", lambda: point.fired()[number:])[0]
            parent = parent_of(process)
            host = next(at for at, worker in enumerate(cluster.workers) if worker.process.pid == parent) + 1
            network.cut(host, 0)
            cluster.cancel(driver)
            state = cluster.ended(driver)["state"]
            fired(state == "KILLED" and exists(process), f"the job ended as {state}")
            # Until it has given up, or for longer than any patience of it.
            deadline = time.monotonic() + 60
            while exists(process) and time.monotonic() < deadline:
                time.sleep(0.1)
            late += number in (numbers(table) if (table / "_delta_log").exists() else [])
            network.heal(host, 0)
    figures.count("commits that landed after KILLED", late, runs)
    return figures


def frozen_in_commit(arguments, scratch):
    """a driver frozen inside its commit and woken: the row is there once, by it or by its successor"""
    figures, runs, failed = Figures(), max(1, arguments.runs // 10), 0
    point = Point(scratch / "points", "commit-before-put", "stop", runs, is_armed=False)
    with Cluster(scratch / "cluster", environment=point.environment) as cluster:
        for number in range(runs):
            point.arm()
            driver = cluster.detached(*options(scratch, number))
            process = wait_for("the driver to freeze", lambda: point.fired()[number:])[0]
            time.sleep(arguments.freeze)
            # One that was given up meanwhile may have been ended by its worker.
            if exists(process):
                os.kill(process, signal.SIGCONT)
            failed += cluster.ended(driver)["state"] != "FINISHED"
    figures.count(f"jobs failed after {arguments.freeze:.0f} s", failed, runs)
    figures.numbers(numbers(scratch / "warehouse" / TABLE), range(runs))
    return figures


def exists(process):
    return os.path.exists(f"/proc/{process}")


def parent_of(process):
    with open(f"/proc/{process}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])


def concurrent_writers(arguments, scratch):
    """eight jobs append to one table at once: every row there once"""
    figures, rounds, writers, seconds, failed = Figures(), max(1, arguments.runs // 10), 8, [], 0
    with Cluster(scratch / "cluster") as cluster:
        for turn in range(rounds):
            started = time.monotonic()
            # Runs of one job go one after the other: these are eight jobs.
            clients = [cluster.client(*options(scratch, turn * writers + at, "--driver-memory", "128m", "--conf",
                                               f"job.name=writer-{at}")) for at in range(writers)]
            for client in clients:
                client.communicate()
                failed += client.returncode != 0
            seconds.append(time.monotonic() - started)
    figures.seconds(f"{writers} writers", seconds)
    figures.count("jobs failed", failed, rounds * writers)
    figures.numbers(numbers(scratch / "warehouse" / TABLE), range(rounds * writers))
    return figures


def submitted_twice(arguments, scratch):
    """a submission sent by a client that dies, and by two more at once: one job"""
    figures, runs, doubled, unfinished, chance = Figures(), arguments.runs, 0, 0, random.Random(arguments.seed)
    with Cluster(scratch / "cluster") as cluster:
        drivers = []
        for number in range(runs):
            again = ["--no-wait", "--submission-id", str(uuid.uuid4())]
            # It dies before, while or after the master has the submission.
            first = cluster.client(*options(scratch, number, *again))
            time.sleep(chance.uniform(0, 0.05))
            first.kill()
            first.communicate()
            pair = [cluster.client(*options(scratch, number, *again)) for _ in range(2)]
            answers = {client.communicate()[0].strip() for client in pair}
            doubled += len(answers) != 1
            drivers.extend(answers)
        for driver in drivers:
            unfinished += cluster.ended(driver)["state"] != "FINISHED"
        doubled += max(0, len(cluster.listed()) - runs)
    figures.count("jobs doubled", doubled, runs)
    figures.count("jobs that did not finish", unfinished, runs)
    figures.numbers(numbers(scratch / "warehouse" / TABLE), range(runs))
    return figures


def client_lost(arguments, scratch):
    """kill -9 of the client that waits: the job goes on"""
    figures, runs = Figures(), max(1, arguments.runs // 5)
    point = Point(scratch / "points", "driver-before-commit", "sleep-1000", runs)
    with Cluster(scratch / "cluster", environment=point.environment) as cluster:
        for number in range(runs):
            client = cluster.client(*options(scratch, number))
            wait_for("the driver", lambda: point.fired()[number:])
            fired(client.poll() is None, "the client was over before")
            client.kill()
            client.communicate()
        failed = sum(cluster.ended(job["driver_id"])["state"] != "FINISHED" for job in cluster.listed())
    figures.count("jobs failed", failed, runs)
    figures.numbers(numbers(scratch / "warehouse" / TABLE), range(runs))
    return figures


def cancel_races_commit(arguments, scratch):
    """a cancel at any moment around the commit: FINISHED has its row; KILLED has none, or tells of its commit"""
    figures, runs, chance = Figures(), arguments.runs, random.Random(arguments.seed)
    point = Point(scratch / "points", "commit-before-put", "sleep-100", runs)
    finished, told, killed = set(), set(), set()
    with Cluster(scratch / "cluster", environment=point.environment) as cluster:
        for number in range(runs):
            driver = cluster.detached(*options(scratch, number))
            wait_for("the commit", lambda: point.fired()[number:])
            timer = threading.Timer(chance.uniform(0, 0.2), cluster.cancel, [driver])
            timer.start()
            status = cluster.ended(driver)
            timer.join()
            (finished if status["state"] == "FINISHED" else killed).add(number)
            if any(step["outcome"] == "COMMITTED" for step in status["steps"]):
                told.add(number)
    found = set(numbers(scratch / "warehouse" / TABLE))
    figures.say(f"{len(finished)} finished, {len(killed)} killed, of these {len(killed & told)} with their commit told")
    fired(finished and killed, "one side always won")
    figures.count("FINISHED without its row", len(finished - found), runs)
    figures.count("KILLED with a row that nobody tells of", len((killed & found) - told), runs)
    return figures


ROWS = {"5": before_commit, "6": after_commit, "7": five_deaths, "16": cut_off, "17": frozen_in_commit,
        "41": concurrent_writers, "44": submitted_twice, "45": client_lost, "46": cancel_races_commit}
