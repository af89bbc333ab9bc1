"""What becomes of tasks that fail, by the class of the error. Only with local processes: the master is stopped for it."""
import subprocess
import sys
import uuid

import processes
from api import wait_for
from processes import ROOT
from both import expect

RUN = "ends"
# Another try would fail again, so there is none.
AT_ONCE = {"invalid": "invalid-job", "no_such_column": "invalid-job", "quality": "data-quality"}


def by_exit_code(platform):
    """Invalid jobs and bad data fail at once, conflicts are tried again, lack of resources is tried again and told"""
    airflow = platform.airflow
    airflow.unpause("ends")
    ids = {name: str(uuid.uuid4()) for name in ("taken", "bash", "spark")}
    subprocess.run([processes.BIN / "lake-submit", "--master", platform.cluster.url, "--submission-id", ids["taken"],
                    ROOT / "scripts/airflow.d/jobs/fine.toml"], check=True, capture_output=True)
    with platform.hold("usage"):
        airflow.trigger("ends", RUN, conf=ids)
        for operator in "bash", "spark":
            for job, name in AT_ONCE.items():
                task = airflow.wait_for_state("ends", RUN, f"{operator}_{job}", 1, "failed", seconds=300)
                expect(f"tries of {operator}_{job}", task["try_number"], 1)
                wait_for(f"the alert of {operator}_{job}", lambda task=f"{operator}_{job}", name=name: any(
                    f".{task} " in text and text.endswith(f": {name}") for text in platform.alerts.texts), 30)
            airflow.wait_for_state("ends", RUN, f"{operator}_too_slow", 1, "up_for_retry", seconds=300)
            wait_for("the alert for lack of resources", lambda operator=operator: any(
                f".{operator}_too_slow " in text and text.endswith(": resource") for text in platform.alerts.texts), 30)
    for operator in "bash", "spark":
        airflow.wait_for_state("ends", RUN, f"{operator}_conflict", 2, "success", seconds=300)
        log = airflow.log("ends", RUN, f"{operator}_conflict", 1)
        if "submission-differs" not in log:
            sys.exit(f"the first try of {operator}_conflict was no conflict:\n{log}")
    told = [text for text in platform.alerts.texts if "_conflict " in text]
    expect("alerts of conflicts, which pass by themselves", told, [])
    # It would be tried again in five minutes.
    for operator in "bash", "spark":
        airflow.fail("ends", RUN, f"{operator}_too_slow")


def without_master(platform):
    """While no master answers tasks wait for another try, and one that follows its return succeeds"""
    airflow, cluster = platform.airflow, platform.cluster
    airflow.unpause("no_master")
    cluster.masters[0].kill()
    airflow.trigger("no_master", RUN)
    for operator in "bash", "spark":
        airflow.wait_for_state("no_master", RUN, f"{operator}_fine", 1, "up_for_retry", seconds=300)
    cluster.start_master(0)
    cluster.wait_for_workers(2)
    for operator in "bash", "spark":
        airflow.wait_for_state("no_master", RUN, f"{operator}_fine", 2, "success", seconds=300)


LOCAL = [by_exit_code, without_master]
