"""The medallion job of this folder on Sail: starts its server in cluster mode with two one-slot workers, runs the same
statements over Spark Connect, prints the seconds of each run as JSON. Runs in an environment that has pysail.

    python sail.py JOB.toml CSV_FOLDER OUT_FOLDER RUNS local-cluster|local
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import tomllib

from pyspark.sql import SparkSession


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, server):
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("the server does not listen after 60 s")


def medallion(spark, job, csv, out):
    started = time.monotonic()
    sources = {source["name"]: source for source in job["source"]}
    for table in job["table"]:
        schema, name = table["name"].split(".")
        if "from" in table:
            source = sources[table["from"]]
            columns = ", ".join(f"{field['name']} string" for field in source["schema"])
            rows = spark.read.schema(columns).option("header", True).csv(source["path"].replace("${csv}", csv))
        else:
            text = table["sql"]
            for other in job["table"]:
                text = text.replace(other["name"], other["name"].replace(".", "_"))
            rows = spark.sql(text)
        path = f"{out}/{schema}/{name}"
        rows.write.format("delta").mode("overwrite").save(path)
        spark.read.format("delta").load(path).createOrReplaceTempView(f"{schema}_{name}")
    return time.monotonic() - started


def main():
    job, csv, out, runs, mode = sys.argv[1:]
    job = tomllib.loads(pathlib.Path(job).read_text())
    port = free_port()
    environment = os.environ | {
        "SAIL_MODE": mode, "SAIL_CLUSTER__WORKER_INITIAL_COUNT": "2", "SAIL_CLUSTER__WORKER_MAX_COUNT": "2",
        "SAIL_CLUSTER__WORKER_TASK_SLOTS": "1", "RUST_LOG": "error",
    }
    sail = pathlib.Path(sys.executable).with_name("sail")
    server = subprocess.Popen([sail, "spark", "server", "--port", str(port)], env=environment)
    try:
        wait_for(port, server)
        spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
        spark.sql("SELECT 1").collect()
        seconds = []
        for number in range(int(runs)):
            seconds.append(medallion(spark, job, csv, f"{out}/{number}"))
            rows = {name: spark.read.format("delta").load(f"{out}/{number}/{name}").count()
                    for name in ["silver/orders", "silver/lineitem"]}
            shutil.rmtree(f"{out}/{number}")
        print(json.dumps({"seconds": seconds, "rows": rows}), flush=True)
    finally:
        server.kill()
        server.wait()
    os._exit(0)  # the client's threads wait for the server for minutes


if __name__ == "__main__":
    main()
