"""The customers pipeline, and the shop's orders of the day, with the operator that Airflow has for Spark, unchanged.

It calls `spark-submit`, which is another name of lake-submit, in cluster mode: reads the driver's id, polls its state, and
kills it when the task is killed. A try that follows a crash of Airflow's worker goes on with the driver that there is; for
that the operator asks the masters' REST port, 6066. The connection `spark_default` has the masters: spark://master:7077.
"""
import datetime
import os

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG

from lake_retries import BY_EXIT_CODE

JOBS = os.environ.get("LAKE_JOBS", "/jobs")


def job(task, application, **options):
    return SparkSubmitOperator(
        task_id=task, application=f"{JOBS}/{application}", name=task, deploy_mode="cluster", **options
    )


with DAG(
    "spark_submit",
    schedule="@daily",
    start_date=datetime.datetime(2026, 9, 1),
    catchup=False,
    max_active_runs=1,
    default_args=BY_EXIT_CODE,
    doc_md=__doc__,
):
    # Arguments of the application are parameters of the job.
    job("customers", "customers/job.toml") >> job("shop", "shop/job.toml", application_args=["ds={{ ds }}"])
