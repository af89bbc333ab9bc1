"""Tasks that end in each of the ways that retries tell apart, with both operators. What a try does follows the number of
the try, and the ids come with the run."""
import datetime
import os

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from lake_retries import BY_EXIT_CODE

JOBS = os.environ["LAKE_PROOF_JOBS"]
# The first try takes a submission id that another job has.
TAKEN_AT_FIRST = "{{ dag_run.conf['taken'] if ti.try_number == 1 else dag_run.conf['%s'] }}"


def bash(job, *options):
    return BashOperator(task_id=f"bash_{job}", bash_command=f"lake-submit {' '.join(options)} {JOBS}/{job}.toml")


def spark(job, *options):
    return SparkSubmitOperator(task_id=f"spark_{job}", application=f"{JOBS}/{job}.toml", deploy_mode="cluster",
                               application_args=list(options))


def dag(name):
    return DAG(name, schedule=None, start_date=datetime.datetime(2026, 9, 1), default_args=BY_EXIT_CODE)


with dag("ends"):
    for operator in bash, spark:
        for job in "invalid", "no_such_column", "quality", "too_slow":
            operator(job)
    bash("conflict", "--submission-id", TAKEN_AT_FIRST % "bash")
    spark("conflict", "--submission-id", TAKEN_AT_FIRST % "spark")

# Run while no master answers.
with dag("no_master"):
    bash("fine")
    spark("fine")
