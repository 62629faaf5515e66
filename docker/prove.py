"""Perform the Dockerfile's steps in root file systems made of Debian's packages, and start what compose.yaml starts.

    sudo .venv/bin/python docker/prove.py                 # the service: build, size, start, answer, end
    sudo .venv/bin/python docker/prove.py --tools         # the pages, MLflow and Prefect too; their image is larger

No container engine is needed: debootstrap, chroot and Linux namespaces take its place. Debian's own Python 3.11 stands in for that of the
image `python:3.11-slim-bookworm`; compose's database, an image of its own, is not started. Ends with 1 where something does not hold.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
LARGEST = 900  # MB of the service's image
MIRROR = "http://deb.debian.org/debian"
# What an engine lends each step from its machine, and takes away again
LENT = ["etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"]
PASSED = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "UV_INDEX_URL", "UV_DEFAULT_INDEX")


@dataclass
class Stage:
    "One FROM of a Dockerfile, and what it leaves"
    name: str
    steps: list
    root: Path = None
    env: dict = field(default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    args: dict = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"
    about: dict = field(default_factory=dict)  # ENTRYPOINT, CMD, HEALTHCHECK and others


def read_stages(text):
    "The stages of a Dockerfile with their instructions, continued lines joined"
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    stages = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        word, rest = line.split(maxsplit=1)
        if word == "FROM": stages.append(Stage(rest.partition(" AS ")[2], []))
        else: stages[-1].steps.append((word, rest.strip()))
    return stages


def call(*command, **options):
    "Run a command; say what it printed where it fails"
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    if done.returncode: raise SystemExit(f"{shlex.join(map(str, command))[:300]} ended with {done.returncode}:\n"
                                         f"{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def make_base(folder):
    "Debian bookworm with Python and pip, as `python`; made once"
    if (folder/"usr/local/bin/python").is_symlink(): return folder
    shutil.rmtree(folder, ignore_errors=True)
    call("debootstrap", "--variant=minbase", "--include=ca-certificates,python3,python3-pip,python3-venv", "bookworm",
         folder, MIRROR)
    for mark in folder.glob("usr/lib/python3*/EXTERNALLY-MANAGED"): mark.unlink()  # The image has none
    # Debian's slim images come with these two, and so without manuals and kept packages
    (folder/"etc/apt/apt.conf.d/docker-clean").write_text(
        'APT::Update::Post-Invoke { "rm -f /var/cache/apt/*.bin"; };\nDir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n')
    for name in ("doc", "man", "info", "locale"): shutil.rmtree(folder/"usr/share"/name, ignore_errors=True)
    call("chroot", folder, "apt-get", "clean")
    shutil.rmtree(folder/"var/lib/apt/lists", ignore_errors=True)
    (folder/"usr/local/bin/python").symlink_to("/usr/bin/python3")
    return folder


def in_chroot(stage, command, *, volume=None, read_only=False, own_network=False):
    "The command line that runs something in a stage's root, in namespaces of its own"
    root = shlex.quote(str(stage.root))
    mounts = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    if read_only:
        mounts = [mounts[0], f"mount -o remount,ro,bind {root}", *mounts[1:]]
        mounts += [f"mount -t tmpfs tmpfs {root}/tmp", f"mount -t tmpfs -o mode=1777 tmpfs {root}/home/gradeclass"]
    else:
        mounts += [f"mount --bind /{name} {root}/{name}" for name in LENT
                   if Path("/", name).is_file() and (stage.root/name).exists()]
    if volume: mounts.append(f"mount --bind {shlex.quote(str(volume))} {root}/data")
    if own_network: mounts.append("ip link set lo up")
    given = {**stage.env, **stage.args, "HOME": "/root" if stage.user == "root" else f"/home/{stage.user}"}
    if not read_only: given |= {name: os.environ[name] for name in PASSED if name in os.environ}
    enter = ["chroot", *([f"--userspec={stage.user}:{stage.user}"] if stage.user != "root" else []), str(stage.root),
             "env", "-i", *(f"{name}={value}" for name, value in given.items()),
             "sh", "-c", f'cd {shlex.quote(stage.folder)} && exec "$@"', "sh", *command]
    spaces = ["--mount", "--pid", "--fork", "--kill-child", *(["--net"] if own_network else [])]
    return ["unshare", *spaces, "sh", "-ec", "\n".join([*mounts, f"exec {shlex.join(enter)}"])]


def fill_in(text, values):
    "Replace $NAME by its value"
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], found[0]), text)


def copy(stage, rest, stages):
    "COPY, from the checkout or from an earlier stage"
    words = shlex.split(rest)
    source = ROOT
    if words[0].startswith("--from="): source = next(one.root for one in stages if one.name == words.pop(0)[7:])
    *names, target = words
    place = stage.root/os.path.join(stage.folder, target).lstrip("/")
    ignored = [line.removeprefix("**/") for line in (ROOT/".dockerignore").read_text().split() if "**/" in line]
    for name in names:
        path = source/name.lstrip("/")
        if path.is_dir(): shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True,
                                          ignore=shutil.ignore_patterns(*ignored) if source == ROOT else None)
        else:
            target_is_folder = target.endswith(("/", ".")) or place.is_dir()
            (place if target_is_folder else place.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def perform(stage, stages, args):
    "Every instruction of a stage, as written"
    for word, rest in stage.steps:
        print(f"  {word} {rest[:110]}", flush=True)
        if word == "RUN": call(*in_chroot(stage, ["sh", "-c", rest]))
        elif word == "COPY": copy(stage, rest, stages)
        elif word == "ENV": stage.env |= {name: fill_in(value, stage.env) for name, value in
                                          (pair.split("=", 1) for pair in shlex.split(rest))}
        elif word == "ARG":
            name, _, default = rest.partition("=")
            stage.args[name] = args.get(name, default)
        elif word == "USER": stage.user = rest
        elif word == "WORKDIR":
            stage.folder = rest
            (stage.root/rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word in ("ENTRYPOINT", "CMD"): stage.about[word] = json.loads(rest)
        elif word == "HEALTHCHECK": stage.about[word] = json.loads(rest[rest.index("["):])
        elif word in ("VOLUME", "EXPOSE", "STOPSIGNAL"): stage.about[word] = rest
        else: raise SystemExit(f"the Dockerfile has {word}, which this script does not know")


def build(work, name, args):
    "An image: its last stage, whose root holds what would be shipped"
    stages = read_stages((ROOT/"Dockerfile").read_text())
    base = make_base(work/"base")
    for number, stage in enumerate(stages):
        print(f"{name}: stage {number + 1} of {len(stages)}", flush=True)
        stage.root = work/f"{name}-{number}"
        shutil.rmtree(stage.root, ignore_errors=True)
        call("cp", "-a", "--reflink=auto", base, stage.root)
        perform(stage, stages, args)
    return stages[-1]


def size_of(stage): # MB
    "What the image holds, a file with several names once"
    return int(call("du", "-sx", "--block-size=1000", stage.root).split()[0])/1000


class Started:
    "A service of compose.yaml by its own command line: read-only root, its user, a network and a volume of its own"
    def __init__(self, stage, command, volume):
        self.stage = stage
        line = in_chroot(stage, [*stage.about["ENTRYPOINT"], *(command or stage.about["CMD"])], volume=volume,
                         read_only=True, own_network=True)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        self.process = subprocess.Popen(line, stdout=self.log, stderr=self.log, start_new_session=True)

    def inside(self): # Process id, as this machine counts
        "The process that the command line started"
        below = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return below[0] if below else ""

    def ask(self, address, key=""):
        "What an address inside answers: status and text; 0 where nothing answers"
        code = ("import sys, urllib.request as u, urllib.error as e\n"
                "try: got = u.urlopen(u.Request(sys.argv[1], headers={'X-API-Key': sys.argv[2]}), timeout=5)\n"
                "except e.HTTPError as error: got = error\n"
                "print(got.status, got.read(2000).decode(errors='replace'))")
        done = self.run_beside(["python", "-c", code, address, key])
        return (int(done.stdout.split()[0]), done.stdout.partition(" ")[2]) if not done.returncode else (0, done.stderr)

    def run_beside(self, command):
        "Run something in the same root and network, as an engine runs a health check"
        enter = in_chroot(self.stage, command)
        return subprocess.run(["nsenter", "-t", self.inside(), "-n", *enter], capture_output=True, text=True)

    def wait(self, address, seconds=180):
        "Until an address answers at all"
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            found = self.ask(address)
            if found[0]: return found
            time.sleep(0.5)
        return 0, self.words()

    def words(self):
        "What it has printed"
        self.log.seek(0)
        return self.log.read()[-2000:]

    def end(self, seconds=75):
        "Stop it as an engine does; how it ended, and whether in time"
        os.kill(int(self.inside()), signal.SIGTERM)
        try: return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "killed, as it did not end by itself"


FAILED = []

def check(holds, words):
    "Say what was looked at, and remember what does not hold"
    print(f"{'ok  ' if holds else 'FAIL'}  {words}", flush=True)
    if not holds: FAILED.append(words)


def make_volume(work, name):
    "A volume with a small trained model in it, which belongs to the image's user"
    volume = work/f"data-{name}"
    shutil.rmtree(volume, ignore_errors=True)
    volume.mkdir()
    call(sys.executable, "-c", "from gradeclass.cli.main import main; main()", "run", "--data", "sample", "-p",
         "params={members: [linear]}", "-p", "resamples=50", "--outputs", volume/"outputs", cwd=ROOT)
    call("chown", "-R", "10001:10001", volume)
    return volume


def prove_service(stage, volume):
    "Size, user, health, readiness, a refusal without a key, and a clean end"
    size = size_of(stage)
    check(size < LARGEST, f"the image holds {size:.0f} MB, Debian and Python with it (at most {LARGEST})")
    check(not list(stage.root.glob("opt/venv/lib/python3*/site-packages/papermill")), "no notebooks' tools in it")
    service = Started(stage, None, volume)
    try:
        at = "http://127.0.0.1:9696"
        check(service.wait(f"{at}/health")[0] == 200, "the service answers /health")
        if service.process.poll() is not None: return print(service.words())
        owner = Path(f"/proc/{service.inside()}/status").read_text().split("Uid:")[1].split()[0]
        check(owner == "10001", f"it runs as user {owner}, not as root")
        status, text = service.wait(f"{at}/readyz")
        check(status == 200, f"/readyz says {status} {text.strip()[:120]}")
        check(service.run_beside(stage.about["HEALTHCHECK"]).returncode == 0, "the image's own health check is content")
        check(service.ask(f"{at}/model")[0] in (401, 403), "without a key nothing is told")
        keys = re.findall(r"not shown again: (\S+)", service.words())
        check(bool(keys), "the first key was printed, once")
        status, text = service.ask(f"{at}/model", *keys[:1])
        check(status == 200, f"with the key /model says {status}")
    finally: ended = service.end()
    check(ended in (0, 143), f"it ends in time when it is stopped ({ended})")


def prove_tools(stage, volume):
    "Compose's other services by their own command lines"
    services = yaml.safe_load((ROOT/"compose.yaml").read_text())["services"]
    for name, at in {"pages": "8866/healthz", "experiments": "5000/health", "scheduler": "4200/api/health"}.items():
        started = Started(stage, services[name]["command"], volume)
        try:
            status, text = started.wait(f"http://127.0.0.1:{at}")
            check(status == 200, f"{name} ({services[name]['command'][0]}) answers {status or text[-800:]}")
        finally: ended = started.end() if started.process.poll() is None else started.process.returncode
        check(ended in (0, 143), f"{name} ends in time when it is stopped ({ended})")


def main():
    "Build, start, ask"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for the root file systems; kept. Without it: a new one")
    parser.add_argument("--tools", action="store_true", help="the pages, MLflow and Prefect too")
    options = parser.parse_args()
    missing = [name for name in ("debootstrap", "chroot", "unshare", "nsenter", "ip") if not shutil.which(name)]
    if os.getuid() or missing: raise SystemExit(f"needs root and {', '.join(missing) or 'nothing else'}: apt-get install "
                                                "debootstrap iproute2 util-linux, and run it with sudo")
    work = (options.work or Path(tempfile.mkdtemp(prefix="gradeclass-image-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    services = yaml.safe_load((ROOT/"compose.yaml").read_text())["services"]
    try:
        prove_service(build(work, "service", {"EXTRAS": "serve"}), make_volume(work, "service"))
        if options.tools: prove_tools(build(work, "tools", services["pages"]["build"]["args"]), make_volume(work, "tools"))
    finally:
        if not options.work: shutil.rmtree(work, ignore_errors=True)
    if FAILED: raise SystemExit(f"{len(FAILED)} of the above do not hold")


if __name__ == "__main__": main()
