"""The customers pipeline, and the shop's orders of the day, with lake-submit in a BashOperator.

A try of a task that was cut off, because the host of Airflow's worker went away, goes on with the run that it had
submitted: its id is made of the task's run, and the same id is never run twice. A run that has failed is submitted anew;
so is one of a task that was cleared, because its rows are wanted again.
"""
import datetime
import os
import uuid

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from lake_retries import BY_EXIT_CODE

JOBS = os.environ.get("LAKE_JOBS", "/jobs")

# A task that is killed in Airflow ends its run. `wait` returns with the job's exit code, which the retries follow.
COMMAND = """
for id in {{ submissions(ti, dag_run) }}; do
    lake-submit --output json --status "$id" 2>/dev/null | grep -qE '"state": "(FAILED|KILLED|ERROR)"' || break
done
trap 'lake-submit --kill "$id"; exit 7' TERM
lake-submit --submission-id "$id" %s &
wait $!
"""


def submissions(ti, dag_run):
    """The ids of a task's runs, the first for its first try."""
    # Clearing a task raises its `max_tries` to as many as were used and its retries on top of them.
    used_before_clearing = ti.max_tries - ti.task.retries
    # A run of Airflow that is deleted and made again has the same name, and another start.
    name = f"{ti.dag_id}/{ti.run_id}/{dag_run.start_date}/{ti.task_id}/{ti.map_index}/{used_before_clearing}"
    return " ".join(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name}/{number}")) for number in range(1, 10))


def job(task, arguments):
    return BashOperator(task_id=task, bash_command=COMMAND % arguments)


with DAG(
    "lake_submit",
    schedule="@daily",
    start_date=datetime.datetime(2026, 9, 1),
    catchup=False,
    max_active_runs=1,
    default_args=BY_EXIT_CODE,
    user_defined_macros={"submissions": submissions},
    doc_md=__doc__,
):
    job("customers", f"{JOBS}/customers/job.toml") >> job("shop", f"--param ds={{{{ ds }}}} {JOBS}/shop/job.toml")
