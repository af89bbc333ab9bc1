"""Airflow, a cluster, PostgreSQL and an S3 server as processes of this host, in a folder of their own."""
import contextlib
import http.server
import json
import os
import pathlib
import signal
import subprocess
import threading

import processes
from api import Airflow, wait_for
from locked import locked
from processes import ROOT, Cluster, Daemon, Postgres, free_port

BUCKETS = ["bronze", "silver", "gold", "lakehouse"]


class Alerts:
    """Takes what DAGs tell operators."""

    def __init__(self):
        texts = self.texts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Platform:
    def __init__(self, scratch, python):
        self.scratch, self.python = scratch, python
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self):
        scratch = self.scratch
        self.postgres = self.stack.enter_context(Postgres(scratch / "postgres"))
        for example in "customers", "shop":
            self.psql("-f", ROOT / "examples" / example / "setup.sql")
        self.postgres.sql("CREATE DATABASE airflow")
        self.start_store()
        os.environ["CRM_URL"] = self.postgres.url
        self.cluster = self.stack.enter_context(Cluster(scratch / "cluster", workers=2, cores=1, memory="1g"))
        self.alerts = Alerts()
        self.start_airflow()

    def start_store(self):
        folder = self.scratch / "s3"
        for bucket in BUCKETS:
            (folder / bucket).mkdir(parents=True)
        store = Daemon([processes.BIN / "s3-server", "--access-key", "lake-local", "--secret-key", "lake-local-secret",
                        folder], self.scratch / "s3.log")
        self.stack.callback(store.stop)
        os.environ.update({"AWS_ENDPOINT": f"http://{store.listening('s3')['s3']}", "AWS_REGION": "us-east-1",
                           "AWS_ACCESS_KEY_ID": "lake-local", "AWS_SECRET_ACCESS_KEY": "lake-local-secret",
                           "AWS_ALLOW_HTTP": "true"})

    def start_airflow(self):
        """Airflow with the DAGs as they are shipped, and those of the proofs."""
        home, port = self.scratch / "airflow", free_port()
        dags, programs = home / "dags", self.scratch / "bin"
        dags.mkdir(parents=True)
        for file in [*(ROOT / "docker/airflow/dags").glob("*.py"), ROOT / "scripts/airflow.d/dags/ends.py"]:
            (dags / file.name).symlink_to(file)
        (dags / ".airflowignore").symlink_to(ROOT / "docker/airflow/dags/.airflowignore")
        programs.mkdir()
        (programs / "lake-submit").symlink_to(processes.BIN / "lake-submit")
        (programs / "spark-submit").symlink_to("lake-submit")
        master, rest = self.cluster.addresses[0].split(":"), self.cluster.ports[0][2]
        spark = {"conn_type": "spark", "host": f"spark://{master[0]}", "port": int(master[1]),
                 "extra": {"deploy-mode": "cluster", "rest-port": rest}}
        settings = self.image_settings() | {
            "AIRFLOW_HOME": home, "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(spark),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN":
                f"postgresql+psycopg2://lake@127.0.0.1:{self.postgres.port}/airflow",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True", "AIRFLOW__CORE__PARALLELISM": 4,
            "AIRFLOW__API__WORKERS": 1, "AIRFLOW__API__PORT": port, "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": 1,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
            # A worker that crashes is found out sooner than in five minutes; not so soon that a busy host looks like one.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 40,
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 2,
            "PATH": f"{self.python.parent}:{programs}:{os.environ['PATH']}", "LAKE_JOBS": ROOT / "examples",
            "LAKE_PROOF_JOBS": ROOT / "scripts/airflow.d/jobs", "LAKE_CONF": "warehouse.root=s3://lakehouse",
            "LAKE_MASTER": self.cluster.url, "LAKE_CONNECT_TIMEOUT": "3s", "LAKE_ALERT_WEBHOOK": self.alerts.url,
        }
        log = open(self.scratch / "airflow.log", "w")
        self.server = subprocess.Popen([self.python.parent / "airflow", "standalone"], stdout=log, stderr=log,
                                       env=os.environ | {name: str(value) for name, value in settings.items()},
                                       start_new_session=True)
        self.stack.callback(self.stop_airflow)
        self.airflow = Airflow(f"127.0.0.1:{port}")
        wait_for("Airflow", lambda: self.server.poll() is not None or self.airflow.is_up(), 300)
        if self.server.poll() is not None:
            raise SystemExit(f"Airflow has ended:\n{pathlib.Path(log.name).read_text()[-3000:]}")
        wait_for("the DAGs", lambda: {"lake_submit", "spark_submit", "ends", "no_master"} <= self.airflow.dags())

    @staticmethod
    def image_settings():
        """What docker/airflow/Dockerfile sets of Airflow, other than the connection."""
        lines = (ROOT / "docker/airflow/Dockerfile").read_text().splitlines()
        words = [line.strip().removeprefix("ENV ").removesuffix("\\").strip() for line in lines]
        return dict(word.split("=", 1) for word in words if word.startswith("AIRFLOW__"))

    def stop_airflow(self):
        """Its processes are a session of their own, from which tasks leave: those end when their supervisor is gone."""
        self.server.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.server.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    # ------------------------------------------------------------ what proofs ask of a platform

    def psql(self, *arguments):
        answer = subprocess.run(["psql", "-q", "-At", "-F", "|", "-v", "ON_ERROR_STOP=1", "-d", self.postgres.url,
                                 *map(str, arguments)], check=True, text=True, capture_output=True)
        return answer.stdout

    def sql(self, query):
        """The values of the one row of an answer."""
        return self.psql("-c", query).strip().split("|")

    def hold(self, table):
        return locked(["psql", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.postgres.url], table)

    def drivers(self, job):
        return [app["driver_id"] for app in self.cluster.listed() if app["name"] == job]

    def state(self, driver):
        return self.cluster.status(driver)["state"]

    def table(self, path):
        from deltalake import DeltaTable

        table = DeltaTable(path, storage_options={"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT"]})
        return table.to_pyarrow_table(), table.version()

    def crash(self, tasks):
        """Kills the processes that run tasks, and those that watch over them, all at once."""
        pids = []
        for task in tasks:
            parent = pathlib.Path(f"/proc/{task['pid']}/stat").read_text().rpartition(")")[2].split()[1]
            pids += [int(parent), task["pid"]]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
