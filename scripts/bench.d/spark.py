"""Spark Standalone's own daemons, from PyPI's pyspark: the memory that they take when idle, and how long it takes from their
start to the end of the first job. scripts/bench runs it in pyspark's environment; by itself:

    ~/.cache/lake/peers/spark/bin/python scripts/bench.d/spark.py idle|first-job FOLDER MASTERS

Several masters of Spark need ZooKeeper to elect one: as many servers of it as masters, so that one may
be lost, from the jar that Spark brings. Needs Java (Debian: openjdk-17-jre-headless) and an empty FOLDER. Prints JSON.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import pyspark  # noqa: E402 (found where this program runs)
from processes import Daemon, cpu_seconds, free_port, memory_mb, wait_for  # noqa: E402 (found by the line above)

HOME = pathlib.Path(pyspark.__file__).parent
IDLE_SECONDS = 5
# A host with too much to do takes its time to start JVMs.
START_SECONDS = 1200
JOB = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.read.option("header", True).csv(sys.argv[1]).write.parquet(sys.argv[2])
"""


class Standalone:
    """Masters and two one-core workers of Spark, on loopback; with several masters, ZooKeeper as well."""

    def __init__(self, folder, masters):
        folder.mkdir(parents=True)
        self.folder, self.daemons = folder, {}
        self.ports = [(free_port(), free_port()) for _ in range(masters)]
        self.url = "spark://" + ",".join(f"127.0.0.1:{port}" for port, _ in self.ports)
        try:
            recovery = self.start_zookeeper(masters) if masters > 1 else ""
            for at, (port, http) in enumerate(self.ports):
                self.start(f"master-{at + 1}", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", port,
                           "--webui-port", http, options=f"-Dspark.master.rest.port={free_port()} {recovery}")
            for number in (1, 2):
                self.start(f"worker-{number}", "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1",
                           "--webui-port", free_port(), "--cores", 1, "--memory", "1g", "--work-dir", folder / "work",
                           self.url)
            wait_for("the workers", self.has_workers, START_SECONDS)
        except BaseException:
            self.__exit__()
            raise

    def start(self, name, program, *arguments, options=""):
        command = [HOME / "bin/spark-class", program, *arguments]
        environment = {"SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOG_DIR": str(self.folder),
                       "SPARK_DAEMON_JAVA_OPTS": options}
        # spark-class ends as the JVM that it has put together: one process, one id.
        self.daemons[name] = Daemon(command, self.folder / f"{name}.log", environment)

    def start_zookeeper(self, servers):
        ports = [(free_port(), free_port(), free_port()) for _ in range(servers)]
        for at, (client, _, _) in enumerate(ports):
            data = self.folder / f"zookeeper-{at + 1}"
            data.mkdir()
            (data / "myid").write_text(f"{at + 1}")
            lines = [f"dataDir={data}", f"clientPort={client}", "clientPortAddress=127.0.0.1", "tickTime=2000", "initLimit=60",
                     "syncLimit=30", "admin.enableServer=false"]
            lines += [f"server.{other + 1}=127.0.0.1:{follow}:{vote}" for other, (_, follow, vote) in enumerate(ports)]
            file = data / "zoo.cfg"
            file.write_text("\n".join(lines))
            self.start(f"zookeeper-{at + 1}", "org.apache.zookeeper.server.quorum.QuorumPeerMain", file)
        where = ",".join(f"127.0.0.1:{client}" for client, _, _ in ports)
        return f"-Dspark.deploy.recoveryMode=ZOOKEEPER -Dspark.deploy.zookeeper.url={where}"

    def states(self):
        for _, http in self.ports:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{http}/json/", timeout=5) as answer:
                    yield json.load(answer)
            except (OSError, ValueError):
                continue

    def has_workers(self):
        if ended := [name for name, daemon in self.daemons.items() if not daemon.runs()]:
            sys.exit(f"{ended[0]} of Spark ended; its log ends with\n{(self.folder / f'{ended[0]}.log').read_text()[-2000:]}")
        return any(state["status"] == "ALIVE" and state["aliveworkers"] == 2 for state in self.states())

    def submit(self):
        """A job of one row, CSV to Parquet, as scripts/bench.d/one-row.toml; its application is FINISHED."""
        data, job = self.folder / "one.csv", self.folder / "job.py"
        data.write_text("id,name\n1,one\n")
        job.write_text(JOB)
        options = ["--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.ui.enabled=false"]
        command = [HOME / "bin/spark-submit", "--master", self.url, *options, job, data, self.folder / "one-row"]
        with open(self.folder / "submit.log", "w") as log:
            code = subprocess.run([str(part) for part in command], stdout=log, stderr=log,
                                  env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}).returncode
        if code != 0:
            sys.exit(f"Spark's job ended with {code}:\n{(self.folder / 'submit.log').read_text()[-3000:]}")
        wait_for("the application to be FINISHED", self.has_finished, START_SECONDS)

    def has_finished(self):
        return any(app["state"] == "FINISHED" for state in self.states() for app in state.get("completedapps", []))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The last ones first: masters that lose ZooKeeper would complain.
        for daemon in reversed(self.daemons.values()):
            daemon.stop()


def measure_idle(folder, masters):
    with Standalone(folder, masters) as spark:
        time.sleep(IDLE_SECONDS)
        pids = {name: daemon.process.pid for name, daemon in spark.daemons.items()}
        return {"memory_mb": {name: memory_mb(pid) for name, pid in pids.items()},
                "cpu_s": {name: cpu_seconds(pid) for name, pid in pids.items()}}


def measure_first_job(folder, masters):
    started = time.monotonic()
    with Standalone(folder, masters) as spark:
        registered = time.monotonic() - started
        spark.submit()
        first_job = time.monotonic() - started
    # All that was started here has ended, and so counts.
    return {"registered_s": registered, "first_job_s": first_job, "first_job_cpu_s": cpu_seconds("self")}


def main():
    what, folder, masters = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    if shutil.which("java") is None:
        sys.exit("Spark needs Java: apt-get install openjdk-17-jre-headless")
    figures = {"idle": measure_idle, "first-job": measure_first_job}[what](folder, masters)
    print(json.dumps({"version": pyspark.__version__, "masters": masters, **figures}))


if __name__ == "__main__":
    main()
