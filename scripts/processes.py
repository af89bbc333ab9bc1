"""Programs that the scripts start on this host: masters, workers, PostgreSQL. All are ended by their ids."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lake"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
BIN = TARGET / "debug"


def run(command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


def build():
    run(["cargo", "build", "--locked", "--workspace", "--bins"], cwd=ROOT,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    sys.exit(f"waited {seconds} s in vain for {what}")


class Daemon:
    """A process that says where it listens; ended by its id."""

    def __init__(self, command, log):
        self.log = open(log, "a")
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ports = {}

    def listening(self, *names):
        while not all(name in self.ports for name in names):
            line = self.process.stdout.readline()
            if not line:
                sys.exit(f"{self.process.args[0]} ended before it listened; see {self.log.name}")
            word, _, rest = line.partition(" ")
            if word == "listening":
                kind, address = rest.split()
                self.ports[kind] = address
        return self.ports

    def resident_mb(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Cluster:
    """One master, or a group of them, and workers that share a work directory."""

    def __init__(self, folder, workers=2, cores=1, memory="6g", masters=1, master_options=(), worker_options=()):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.master_options, self.worker_options = master_options, worker_options
        self.cores, self.memory = cores, memory
        self.ports = [(free_port(), free_port()) for _ in range(masters)]
        self.peers = ",".join(f"{at + 1}@127.0.0.1:{port}" for at, (port, _) in enumerate(self.ports))
        self.url = "lake://" + ",".join(f"127.0.0.1:{port}" for port, _ in self.ports)
        self.http = f"127.0.0.1:{self.ports[0][1]}"
        self.masters = [None] * masters
        self.workers = []
        for at in range(masters):
            self.start_master(at)
        for _ in range(workers):
            self.start_worker()
        for worker in self.workers:
            worker.listening("grpc", "flight", "http")
        self.wait_for_workers(workers)

    @property
    def daemons(self):
        return [daemon for daemon in [*self.masters, *self.workers] if daemon]

    def start_master(self, at):
        port, http = self.ports[at]
        group = ["--id", at + 1, "--peers", self.peers] if len(self.ports) > 1 else []
        self.masters[at] = Daemon([BIN / "lake-master", "-h", "127.0.0.1", "-p", port, "--webui-port", http, *group,
                                   "--data-dir", self.folder / f"master-{at}", *self.master_options],
                                  self.folder / f"master-{at}.log")

    def start_worker(self):
        number = len(self.workers)
        self.workers.append(Daemon([BIN / "lake-worker", "-h", "127.0.0.1", "-p", 0, "--flight-port", 0, "--webui-port", 0,
                                    "-c", self.cores, "-m", self.memory, "-d", self.folder / "work", *self.worker_options,
                                    self.url], self.folder / f"worker-{number}.log"))

    def role(self, at):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[at][1]}/readyz", timeout=1) as answer:
                return answer.read().decode().strip()
        except OSError:
            return "silent"

    def leader(self, other_than=None):
        at = wait_for("a leader", lambda: [at for at in range(len(self.ports))
                                           if at != other_than and self.masters[at] and self.role(at) == "leader"])
        return at[0]

    def wait_for_workers(self, count):
        def registered():
            listed = subprocess.run([BIN / "lake-submit", "--master", self.url, "--list", "--output", "json"],
                                    capture_output=True, text=True)
            return listed.returncode == 0 and listed.stdout.count('"ALIVE"') >= count
        wait_for(f"{count} workers", registered)

    def command(self, job, *options):
        return [str(part) for part in [BIN / "lake-submit", "--master", self.url, *options, job]]

    def submit(self, job, *options):
        started = time.monotonic()
        done = subprocess.run(self.command(job, *options), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{job}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return time.monotonic() - started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.stop()


class Postgres:
    """A server of its own: free port, own data directory, ended by its id. PostgreSQL refuses to run as root."""

    def __init__(self, folder):
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        folder.mkdir(parents=True, exist_ok=True)
        self.prefix = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            for parent in [folder, *folder.parents]:
                if parent.stat().st_mode & 0o001 == 0:
                    parent.chmod(parent.stat().st_mode | 0o011)
            self.prefix = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        run([*self.prefix, self.bin / "initdb", "-D", folder / "data", "-U", "lake", "-A", "trust", "-E", "UTF8"],
            stdout=subprocess.DEVNULL)
        self.port = free_port()
        self.url = f"postgres://lake@127.0.0.1:{self.port}/postgres"
        self.log = open(folder.parent / "postgres.log", "w")
        self.process = subprocess.Popen(
            [str(part) for part in [*self.prefix, self.bin / "postgres", "-D", folder / "data", "-p", self.port, "-h", "127.0.0.1",
                                    "-k", folder, "-c", "shared_buffers=256MB", "-c", "fsync=off"]],
            stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while subprocess.run([self.bin / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)],
                             stdout=subprocess.DEVNULL).returncode != 0:
            if time.monotonic() > deadline:
                sys.exit(f"PostgreSQL did not start; see {self.log.name}")
            time.sleep(0.1)

    def sql(self, text):
        run(["psql", "-q", "-d", self.url, "-v", "ON_ERROR_STOP=1", "-c", text], stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
