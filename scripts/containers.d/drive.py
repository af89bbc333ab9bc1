"""Airflow and Prometheus beside the stack, in containers."""
import json
import sys
import urllib.request

import both
from api import Airflow
from locked import locked
from stack import MASTERS, ROOT, expect, run, wait_for


class Platform:
    """The stack as the proofs of Airflow see it (scripts/airflow.d/both.py)."""

    def __init__(self, stack):
        self.stack, self.airflow = stack, Airflow(stack.address("airflow", 8080))

    def wait_until_up(self):
        self.airflow.address = f"http://{self.stack.address('airflow', 8080)}"
        wait_for("Airflow", self.airflow.is_up, 300)

    def hold(self, table):
        return locked(["docker", "exec", "-i", self.stack.container("postgres"), "psql", "-U", "lake", "-d", "crm", "-qAt",
                       "-v", "ON_ERROR_STOP=1"], table)

    def drivers(self, job):
        with urllib.request.urlopen(f"http://{self.stack.address('master-1', 8080)}/api/v1/applications?limit=1000") as answer:
            return [app["driver_id"] for app in json.load(answer) if app["name"] == job]

    def state(self, driver):
        return self.stack.status(driver)["state"]

    def sql(self, query):
        row, = self.stack.psql(query)
        return row

    def table(self, path):
        return self.stack.table(path)

    def crash(self, _):
        """All of Airflow at once, as when its host goes away, and it comes back."""
        container = self.stack.container("airflow")
        run("docker", "kill", container)
        run("docker", "start", container)
        self.wait_until_up()


def drive_from_airflow(stack):
    """Airflow drives the stack with both DAGs: runs, reruns, kills, and a crash of all of Airflow"""
    run(ROOT / "docker/base/build", "airflow", env=stack.environment)
    stack.script("up", "--workers", "2", "--with", "airflow")
    platform = Platform(stack)
    platform.wait_until_up()
    wait_for("the DAGs", lambda: {"lake_submit", "spark_submit"} <= platform.airflow.dags(), 180)
    for proof in both.ANYWHERE:
        print(f"   {proof.__doc__}", flush=True)
        yield from proof(platform) or []


def watch(stack):
    """Prometheus finds every master and worker, and has the alert rules"""
    run(ROOT / "docker/base/build", "prometheus", env=stack.environment)
    stack.script("up", "--workers", "2", "--with", "monitoring")
    address = stack.address("prometheus", 9090)

    def ask(path):
        with urllib.request.urlopen(f"http://{address}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def all_are_up():
        try:
            states = [(target["labels"]["job"], target["health"]) for target in ask("targets")["activeTargets"]]
        except OSError:
            return None
        return sorted(states) == [("lake-master", "up")] * len(MASTERS) + [("lake-worker", "up")] * 2

    wait_for("all targets to be up", all_are_up, 90)
    if not any(group["rules"] for group in ask("rules")["groups"]):
        sys.exit("Prometheus has no alert rules")
    samples = ask("query?query=sum(lake_master_is_leader)")["result"]
    expect("leaders that Prometheus counts", [sample["value"][1] for sample in samples], ["1"])
