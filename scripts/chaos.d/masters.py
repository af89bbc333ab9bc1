"""Masters that die, freeze, are cut off, or cannot write."""
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import time
import uuid

from drivers import TABLE, options
from figures import Figures, digest, fired, numbers
from processes import ENDED, ROOT, TARGET, Cluster, Network, Point, run, wait_for

import workers

# No worker has that much: such a submission is accepted and waits.
WAITING = ["--no-wait", "--driver-memory", "900g"]


def all_ended(cluster):
    return all(job["state"] in ENDED for job in cluster.listed())


def restart(cluster, at):
    cluster.start_master(at)
    wait_for("the master to be back", lambda: cluster.role(at) in ["follower", "leader"])


def unfinished(cluster):
    wait_for("the end of every job", lambda: all_ended(cluster), 180)
    return sum(job["state"] != "FINISHED" for job in cluster.listed())


def leader_killed(arguments, scratch):
    """kill -9 of the leader; how long until the next one has accepted a submission (aims: p50 2 s, p99 5 s)"""
    figures, seconds = Figures(), []
    with Cluster(scratch / "cluster", masters=3) as cluster:
        cluster.submit(*options(scratch, 0))
        for number in range(1, arguments.runs + 1):
            leader = cluster.leader()
            cluster.masters[leader].kill()
            cluster.masters[leader] = None
            seconds.append(cluster.submit(*options(scratch, number, "--no-wait")))
            fired(cluster.leader() != leader, "the leader was not replaced")
            restart(cluster, leader)
        failed = unfinished(cluster)
    figures.seconds("accepted again", seconds)
    figures.count("jobs lost", failed, arguments.runs)
    figures.numbers(numbers(scratch / "warehouse" / TABLE), range(arguments.runs + 1))
    return figures


def leader_killed_with_jobs(arguments, scratch):
    """kill -9 of the leader while 20 jobs are under way: all finish"""
    figures, rounds, jobs, seconds = Figures(), max(1, arguments.runs // 10), 20, []
    with Cluster(scratch / "cluster", masters=3) as cluster:
        for turn in range(rounds):
            started = time.monotonic()
            for job in range(jobs):
                cluster.submit(*options(scratch, turn * jobs + job, "--no-wait", "--driver-memory", "128m"))
            leader = cluster.leader()
            fired(not all_ended(cluster), "the jobs were over before")
            cluster.masters[leader].kill()
            cluster.masters[leader] = None
            failed = unfinished(cluster)
            seconds.append(time.monotonic() - started)
            restart(cluster, leader)
    figures.say(f"{rounds} kills with {jobs} jobs each, all over after {statistics.median(seconds):.1f} s (median)")
    figures.count("jobs lost", failed, rounds * jobs)
    figures.numbers(numbers(scratch / "warehouse" / TABLE), range(rounds * jobs))
    return figures


def leader_dies_around_submission(arguments, scratch):
    """the leader dies before a submission is in the log, after, and before a launch: the client gets one job"""
    figures, runs = Figures(), max(1, arguments.runs // 5)
    for name in ["submit-before-propose", "submit-after-propose", "leader-before-launch"]:
        folder = scratch / name
        point = Point(scratch / f"points-{name}", name, "kill", runs, is_armed=False)
        with Cluster(folder / "cluster", masters=3, environment=point.environment) as cluster:
            for number in range(runs):
                cluster.leader()
                point.arm()
                cluster.submit(*options(folder, number, "--submission-id", uuid.uuid4()))
                fired(len(point.fired()) == number + 1, name)
                for at in [at for at, master in enumerate(cluster.masters) if not master.runs()]:
                    restart(cluster, at)
            figures.count(f"{name}: jobs doubled", len(cluster.listed()) - runs, runs)
        figures.numbers(numbers(folder / "warehouse" / TABLE), range(runs))
    return figures


def majority_lost(arguments, scratch):
    """two of three masters die under a job and come back after 5 s: nothing is accepted meanwhile, the job goes on"""
    figures, runs, seconds, wrong = Figures(), max(1, arguments.runs // 10), [], 0
    _, expected = workers.clean(arguments, scratch)
    with Cluster(scratch / "cluster", masters=3) as cluster:
        for turn in range(runs):
            driver = cluster.detached(*workers.options(arguments, scratch / f"majority-{turn}"))
            wait_for("tasks", lambda: cluster.status(driver)["started_at_ms"] > 0)
            leader = cluster.leader()
            lost = [at for at in range(3) if at != leader]
            for at in lost:
                cluster.masters[at].kill()
            refused = subprocess.run(cluster.command(*options(scratch, turn, *WAITING, "--connect-timeout", 2)),
                                     capture_output=True)
            fired(refused.returncode == 6, f"a submission without a majority ended with {refused.returncode}")
            time.sleep(3)
            for at in lost:
                cluster.start_master(at)
            started = time.monotonic()
            cluster.submit(*options(scratch, turn, *WAITING))
            seconds.append(time.monotonic() - started)
            wrong += cluster.ended(driver)["state"] != "FINISHED"
            wrong += digest(scratch / f"majority-{turn}" / workers.LINES) != expected
    figures.seconds("from the majority's return to an accepted submission", seconds)
    figures.count("jobs failed or rows different", wrong, runs)
    return figures


def all_restarted(arguments, scratch):
    """all masters die at once with waiting submissions: every accepted one is there after the restart"""
    figures, jobs = Figures(), max(10, arguments.runs)
    with Cluster(scratch / "cluster", workers=1, masters=3) as cluster:
        accepted = {cluster.detached(*options(scratch, number, *WAITING)) for number in range(jobs)}
        for master in cluster.masters:
            master.kill()
        started = time.monotonic()
        for at in range(3):
            cluster.start_master(at)
        cluster.leader()
        figures.say(f"a leader {time.monotonic() - started:.1f} s after the start with {jobs} submissions")
        found = {job["driver_id"] for job in cluster.listed()}
    figures.count("submissions lost", len(accepted - found), jobs)
    return figures


def submit_to(cluster, at, *more):
    """Asks one master alone; the driver's id, or nothing."""
    command = cluster.command(*more, *WAITING, "--connect-timeout", 2)
    command[command.index("--master") + 1] = f"lake://{cluster.addresses[at]}"
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def leader_cut_off(arguments, scratch):
    """the leader is cut off from the other masters and still reached by clients: what it accepts is there after it heals"""
    figures, runs, seconds = Figures(), max(1, arguments.runs // 5), []
    accepted, alone = set(), 0
    with Network(4) as network, Cluster(scratch / "cluster", workers=1, masters=3, network=network) as cluster:
        for turn in range(runs):
            leader = cluster.leader()
            others = [at for at in range(3) if at != leader]
            network.cut(leader, *others)
            started = time.monotonic()
            next_leader = None
            stepped_down = None
            while next_leader is None or stepped_down is None:
                if stepped_down is None:
                    answer = submit_to(cluster, leader, *options(scratch, turn))
                    alone += answer is not None
                    accepted |= {answer} - {None}
                    if cluster.role(leader) != "leader":
                        stepped_down = time.monotonic() - started
                if next_leader is None:
                    next_leader = next((at for at in others if cluster.role(at) == "leader"), None)
                fired(time.monotonic() - started < 60, "the others have no leader")
            seconds.append(stepped_down)
            accepted.add(submit_to(cluster, next_leader, *options(scratch, turn)))
            network.heal(leader, *others)
            wait_for("the old leader to follow", lambda: cluster.role(leader) == "follower")
        found = {job["driver_id"] for job in cluster.listed()}
    figures.seconds("the old leader has stepped down (looked at between submissions of 2 s)", seconds)
    figures.count("submissions that were accepted and are not there", len(accepted - found), len(accepted))
    figures.count("submissions accepted by a leader that was cut off", alone, runs)
    return figures


def one_way_lost(arguments, scratch):
    """nothing gets from the leader to one follower for 20 s, then nothing from it to the leader: no elections"""
    figures = Figures()

    def term(cluster):
        return cluster.masters[cluster.leader()].metric("lake_master_raft_term")
    with Network(4) as network, Cluster(scratch / "cluster", workers=1, masters=3, network=network) as cluster:
        for name in ["to the follower", "to the leader"]:
            leader = cluster.leader()
            follower = next(at for at in range(3) if at != leader)
            way = (leader, follower) if name == "to the follower" else (follower, leader)
            before = term(cluster)
            network.cut(*way)
            # What is sent the other way still arrives until its sender misses the answer: TCP needs both ways.
            wait_for(f"the follower to miss its leader, cut {name}", lambda: cluster.role(follower) == "no quorum")
            roles, deadline = [], time.monotonic() + 20
            while time.monotonic() < deadline:
                roles.append(cluster.role(follower))
                time.sleep(0.2)
            terms = term(cluster) - before
            network.heal(*way)
            wait_for("the follower to be back", lambda: cluster.role(follower) in ["follower", "leader"])
            after = term(cluster) - before
            missed = roles.count("no quorum")
            # One that was elected has missed its leader as well.
            fired(missed > 0.9 * len(roles) or after > 0, f"the follower had a leader, cut {name}: {set(roles)}")
            figures.say(f"cut {name}: {after:.0f} terms in 20 s and after healing, {3 * terms:.0f} elections a minute; "
                        f"without a leader at {missed} of {len(roles)} looks")
            figures.check(f"cut {name}: no election", after == 0)
    return figures


def leader_frozen(arguments, scratch):
    """the leader is frozen for 10 s: another one takes over; what either accepts is there once"""
    figures, runs, seconds, accepted = Figures(), max(1, arguments.runs // 10), [], set()
    with Cluster(scratch / "cluster", workers=1, masters=3) as cluster:
        for turn in range(runs):
            leader = cluster.leader()
            cluster.masters[leader].freeze()
            started = time.monotonic()
            next_leader = cluster.leader(other_than=leader)
            seconds.append(time.monotonic() - started)
            accepted.add(submit_to(cluster, next_leader, *options(scratch, turn)))
            time.sleep(max(0, 10 - (time.monotonic() - started)))
            cluster.masters[leader].wake()
            accepted.add(submit_to(cluster, leader, *options(scratch, turn)))
            wait_for("the old leader to follow", lambda: cluster.role(leader) == "follower")
        found = {job["driver_id"] for job in cluster.listed()}
    accepted -= {None}
    figures.seconds("the next leader", seconds)
    figures.count("submissions that were accepted and are not there", len(accepted - found), len(accepted))
    return figures


def slow_disk(arguments, scratch):
    """every write of the log takes 500 ms longer: submissions are slow, the leader stays"""
    figures, runs, seconds = Figures(), min(10, arguments.runs), []
    point = Point(scratch / "points", "raft-write", "sleep-500", 1_000, is_armed=False)
    with Cluster(scratch / "cluster", workers=1, masters=3, environment=point.environment) as cluster:
        before = cluster.masters[cluster.leader()].metric("lake_master_raft_term")
        point.arm(1_000)
        for number in range(runs):
            seconds.append(cluster.submit(*options(scratch, number, *WAITING)))
        fired(len(point.fired()) >= runs and min(seconds) >= 0.5, "a submission did not wait for a slow write")
        elections = cluster.masters[cluster.leader()].metric("lake_master_raft_term") - before
        point.disarm()
    figures.seconds("a submission", seconds)
    figures.count("elections", int(elections), runs)
    return figures


def write_fails(arguments, scratch):
    """a write of the log fails once: that master ends and rejoins, nothing accepted is lost"""
    figures, runs, accepted = Figures(), max(1, arguments.runs // 5), set()
    point = Point(scratch / "points", "raft-write", "fail", runs, is_armed=False)
    with Cluster(scratch / "cluster", workers=1, masters=3, environment=point.environment) as cluster:
        for number in range(runs):
            cluster.leader()
            point.arm()
            accepted.add(cluster.detached(*options(scratch, number, *WAITING)))
            dead = wait_for("a master to end", lambda: [
                at for at, master in enumerate(cluster.masters) if not master.runs()])
            fired(len(dead) == 1 and len(point.fired()) == number + 1, f"masters {dead} have ended")
            restart(cluster, dead[0])
        found = {job["driver_id"] for job in cluster.listed()}
    figures.count("submissions lost", len(accepted - found), runs)
    return figures


def disk_full(arguments, scratch):
    """the leader's disk fills up: it ends, the others accept; with room again it is back, nothing is lost"""
    figures, accepted, folder = Figures(), set(), scratch / "cluster/master-0"
    folder.mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder])
    try:
        with Cluster(scratch / "cluster", workers=1, masters=3) as cluster:
            number = 0
            while cluster.leader() != 0:
                # A leader that is stopped in order hands over.
                at = cluster.leader()
                cluster.masters[at].stop()
                restart(cluster, at)
            ballast = folder / "ballast"
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 4096):
                        pass
                except OSError:
                    pass  # it is full
            while cluster.masters[0].runs():
                fired(number < 2_000, "the disk did not fill up")
                accepted.add(cluster.detached(*options(scratch, number, *WAITING)))
                number += 1
            accepted.add(cluster.detached(*options(scratch, number, *WAITING)))
            figures.say(f"it ended after {number} submissions; the others go on")
            ballast.unlink()
            started = time.monotonic()
            restart(cluster, 0)
            figures.say(f"back {time.monotonic() - started:.1f} s after there was room")
            found = {job["driver_id"] for job in cluster.listed()}
    finally:
        run(["umount", "-l", folder])
    figures.count("submissions lost", len(accepted - found), len(accepted))
    return figures


def log_truncated(arguments, scratch):
    """the log's file is cut at any place: it is refused, or nothing is missing"""
    figures, jobs, silent, refused, chance = Figures(), 20, 0, 0, random.Random(arguments.seed)
    with Cluster(scratch / "cluster", workers=0) as cluster:
        accepted = {cluster.detached(*options(scratch, number, *WAITING)) for number in range(jobs)}
        cluster.masters[0].kill()
        file, whole = scratch / "cluster/master-0/raft.redb", scratch / "whole.redb"
        shutil.copy(file, whole)
        for _ in range(arguments.runs):
            shutil.copy(whole, file)
            os.truncate(file, chance.randrange(whole.stat().st_size))
            cluster.start_master(0)
            wait_for("an answer or an end", lambda: not cluster.masters[0].runs() or cluster.role(0) == "leader")
            if cluster.masters[0].runs():
                silent += accepted != {job["driver_id"] for job in cluster.listed()}
                cluster.masters[0].kill()
            else:
                refused += 1
        log = (scratch / "cluster/master-0.log").read_text()
        fired(refused > 0, "no cut was noticed")
        named = log.count("error[internal/raft-log]")
        figures.check(f"{refused} of {arguments.runs} were refused, each with its cause", named == refused)
    figures.count("silent losses", silent, arguments.runs)
    return figures


def simulated(arguments, scratch):
    """seeded schedules of crashes, losses, partitions and changes of members on the masters' own code"""
    figures = Figures()
    built = run(["cargo", "test", "--locked", "--workspace", "--lib", "--no-run", "--message-format", "json"], cwd=ROOT,
                env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)}, capture_output=True).stdout
    artifacts = (json.loads(line) for line in built.splitlines())
    program = next(artifact["executable"] for artifact in artifacts
                   if artifact.get("executable") and artifact["target"]["name"] == "lake_raft")
    started = time.monotonic()
    done = subprocess.run([program, "simulation", "--nocapture"], capture_output=True, text=True, cwd=ROOT / "master/raft",
                          env={**os.environ, "LAKE_SIMULATION_SEEDS": f"1..{arguments.seeds + 1}"})
    found = re.search(r"^\d+ seeds: .*$", done.stdout, re.M)
    figures.say(found.group(0) if found else (done.stderr.strip().splitlines() or ["no output"])[-1])
    figures.say(f"{time.monotonic() - started:.0f} s")
    figures.count("violations", int(done.returncode != 0), arguments.seeds)
    return figures


ROWS = {"8": leader_killed, "9": leader_dies_around_submission, "10": leader_killed_with_jobs, "11": majority_lost,
        "12": all_restarted, "13": leader_cut_off, "14": one_way_lost, "18": leader_frozen, "19": slow_disk,
        "20": write_fails, "21": disk_full, "22": log_truncated, "55": simulated}
