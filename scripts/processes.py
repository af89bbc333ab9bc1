"""Programs that the scripts start on this host: masters, workers, PostgreSQL. All are ended by their ids."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from waiting import waiter

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lake"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
BIN = TARGET / "debug"
ENDED = ["FINISHED", "FAILED", "KILLED", "ERROR"]

wait_for = waiter(30, 0.01)


def run(command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


def build():
    run(["cargo", "build", "--locked", "--workspace", "--bins"], cwd=ROOT,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def memory_mb(pid):
    """What a process has in memory, and its part of it where what it shares is divided among those that share it."""
    sizes = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) / 1024
    return {"resident": sizes["Rss"], "proportional": sizes["Pss"]}


def cpu_seconds(pid):
    """What a process, or `self`, has used, with its children that have ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Daemon:
    """A process that says where it listens; ended by its id."""

    def __init__(self, command, log, environment=None, **options):
        self.log = open(log, "a")
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**os.environ, **(environment or {})}, **options)
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

    def metric(self, name):
        """The sum of a figure on its page over all labels."""
        with urllib.request.urlopen(f"http://{self.listening('http')['http']}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def resident_mb(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def runs(self):
        return self.process.poll() is None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)

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
    """One master, or a group of them, and workers that share a work directory.

    With a `network` its first hosts are the masters', the next ones the workers'. `wrap(number, command)` gives the
    command with which worker `number` is started.
    """

    def __init__(self, folder, workers=2, cores=1, memory="6g", masters=1, master_options=(), worker_options=(),
                 environment=None, network=None, wrap=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.master_options, self.worker_options = master_options, worker_options
        self.cores, self.memory = cores, memory
        self.environment, self.network, self.wrap = environment, network, wrap
        self.ports = [(free_port(), free_port(), free_port()) for _ in range(masters)]
        self.addresses = [f"{self.host(at)}:{port}" for at, (port, _, _) in enumerate(self.ports)]
        self.peers = ",".join(f"{at + 1}@{address}" for at, address in enumerate(self.addresses))
        self.url = "lake://" + ",".join(self.addresses)
        self.http = f"{self.host(0)}:{self.ports[0][1]}"
        self.masters = [None] * masters
        self.workers = []
        for at in range(masters):
            self.start_master(at)
        for _ in range(workers):
            self.start_worker()
        for worker in self.workers:
            worker.listening("grpc", "flight", "http")
        self.wait_for_workers(workers)

    def host(self, at):
        return self.network.host(at) if self.network else "127.0.0.1"

    def on_host(self, at, command):
        return self.network.command(at, command) if self.network else command

    @property
    def daemons(self):
        return [daemon for daemon in [*self.masters, *self.workers] if daemon]

    def start_master(self, at):
        port, http, rest = self.ports[at]
        group = ["--id", at + 1, "--peers", self.peers] if len(self.ports) > 1 else []
        command = [BIN / "lake-master", "-h", self.host(at), "-p", port, "--webui-port", http, "--rest-port", rest, *group,
                   "--data-dir", self.folder / f"master-{at}", *self.master_options]
        self.masters[at] = Daemon(self.on_host(at, command), self.folder / f"master-{at}.log", self.environment)

    def start_worker(self, url=None):
        """One more worker, which looks for the masters at `url`, for example that of a proxy."""
        number = len(self.workers)
        at = len(self.ports) + number
        command = [BIN / "lake-worker", "-h", self.host(at), "-p", 0, "--flight-port", 0, "--webui-port", 0,
                   "-c", self.cores, "-m", self.memory, "-d", self.folder / "work", *self.worker_options, url or self.url]
        if self.wrap:
            command = self.wrap(number, command)
        self.workers.append(Daemon(self.on_host(at, command), self.folder / f"worker-{number}.log", self.environment))
        return self.workers[-1]

    def role(self, at):
        """What a master says it is: leader, follower, no quorum; silent when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.host(at)}:{self.ports[at][1]}/readyz", timeout=1) as answer:
                return answer.read().decode().strip()
        except urllib.error.HTTPError as refusal:
            # 503: it is not ready, and its answer says why.
            return refusal.read().decode().strip()
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

    def detached(self, job, *options):
        """Submits without waiting; gives the driver's id."""
        return run(self.command(job, "--no-wait", *[option for option in options if option != "--no-wait"]), capture_output=True).stdout.strip()

    def client(self, job, *options):
        """A client that waits, to be waited for with `communicate`."""
        return subprocess.Popen(self.command(job, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def answer(self, *options):
        done = run([BIN / "lake-submit", "--master", self.url, *options, "--output", "json"], capture_output=True)
        return json.loads(done.stdout)

    def cancel(self, driver):
        """What the masters answered, whether they knew the job as running or not."""
        return subprocess.run([BIN / "lake-submit", "--master", self.url, "--kill", driver], capture_output=True, text=True)

    def status(self, driver):
        return self.answer("--status", driver)

    def listed(self):
        """Every application that the masters keep."""
        listed = []
        while True:
            def part():
                found = self.get(f"/api/v1/applications?limit=1000&offset={len(listed)}", self.leader())
                return None if found is None else (found,)
            more, = wait_for("the list of applications", part)
            listed += more
            if len(more) < 1000:
                return listed

    def ended(self, driver, seconds=180):
        """The status with which a submission has ended."""
        def over():
            status = self.status(driver)
            return status if status["state"] in ENDED else None
        return wait_for(f"the end of {driver}", over, seconds)

    def get(self, path, at=0):
        """A page of a master as JSON; `None` when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.host(at)}:{self.ports[at][1]}{path}", timeout=1) as answer:
                return json.load(answer)
        except OSError:
            return None

    def retries(self, driver):
        """Attempts of tasks that failed or were lost, and had to be tried again."""
        stages = self.get(f"/api/v1/applications/{driver}/stages?limit=1000", self.leader())
        return sum(stage["numFailedTasks"] for stage in stages)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.stop()


class Point:
    """A named point at which processes stop, die, sleep or fail so many times (proto/src/point.rs), and whether they did.
    One that is not armed does nothing until it is."""

    def __init__(self, folder, name, action, times=1, is_armed=True):
        folder.mkdir(parents=True)
        self.files = [folder / f"{name}.{number}" for number in range(1, times + 1)]
        self.environment = {"LAKE_FAULT_POINTS": f"{name}={action}*{times}", "LAKE_FAULT_DIR": str(folder)}
        if not is_armed:
            self.disarm()

    def arm(self, times=1):
        idle = (file for file in self.files if file.exists() and not file.read_text())
        for _ in range(times):
            next(idle).unlink()

    def disarm(self):
        for file in self.files:
            file.touch()

    def fired(self):
        """The ids of the processes that it hit."""
        return [int(text) for text in (file.read_text() for file in self.files if file.exists()) if text]


class Proxy:
    """A TCP proxy that holds, delays, cuts and refuses (tests/src/bin/tcp_proxy.rs), and counts."""

    def __init__(self, target, log, seed=1):
        self.daemon = Daemon([BIN / "tcp-proxy", "--seed", seed, target], log, stdin=subprocess.PIPE)
        self.address = self.daemon.listening("tcp")["tcp"]

    def tell(self, *words):
        """Gives the counts after the command."""
        self.daemon.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.daemon.process.stdin.flush()
        return json.loads(self.daemon.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.daemon.stop()


class Network:
    """Hosts of their own behind one switch, as network namespaces, whose ways to each other can be cut. Needs root. The
    switch is a namespace too, so that no rule of this host's firewall counts for it."""

    def __init__(self, hosts):
        if os.geteuid() != 0:
            sys.exit("network namespaces need root")
        self.name, self.hosts = f"lk{os.getpid() % 10**7}", hosts
        self.prefix = f"10.{64 + os.getpid() % 128}.77"
        self.switch = f"{self.name}s"
        self.ip("netns", "add", self.switch)
        self.ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        self.ip("-n", self.switch, "link", "set", "bridge", "up")
        # This host: where the clients are.
        self.ip("link", "add", self.name, "type", "veth", "peer", "name", "clients", "netns", self.switch)
        self.ip("-n", self.switch, "link", "set", "clients", "master", "bridge", "up")
        self.ip("addr", "add", f"{self.prefix}.1/24", "dev", self.name)
        self.ip("link", "set", self.name, "up")
        for at in range(hosts):
            space = self.space(at)
            self.ip("netns", "add", space)
            self.ip("-n", self.switch, "link", "add", f"host{at}", "type", "veth", "peer", "name", "eth0", "netns", space)
            self.ip("-n", self.switch, "link", "set", f"host{at}", "master", "bridge", "up")
            self.ip("-n", space, "addr", "add", f"{self.host(at)}/24", "dev", "eth0")
            self.ip("-n", space, "link", "set", "eth0", "up")
            self.ip("-n", space, "link", "set", "lo", "up")

    @staticmethod
    def ip(*words):
        run(["ip", *words])

    def space(self, at):
        return f"{self.name}n{at}"

    def host(self, at):
        return f"{self.prefix}.{10 + at}"

    def command(self, at, command):
        return ["ip", "netns", "exec", self.space(at), *command]

    def cut(self, at, *others):
        """Nothing gets from a host to the others any more."""
        for other in others:
            self.ip("-n", self.space(at), "route", "add", "blackhole", f"{self.host(other)}/32")

    def heal(self, at, *others):
        for other in others:
            self.ip("-n", self.space(at), "route", "del", "blackhole", f"{self.host(other)}/32")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for at in range(self.hosts):
            self.ip("netns", "del", self.space(at))
        # The link to this host goes with its other end.
        self.ip("netns", "del", self.switch)


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
