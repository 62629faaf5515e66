"What Linux alone has stands in few places, and each of them goes on without it"
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Word -> the modules that may use it. Forked kernels, guarded by `can_fork` of kernels/client, exist on Linux alone.
LINUX = {
    r"\bos\.fork\b|pidfd_open|SO_PEERCRED|SOCK_SEQPACKET|\bprctl\b|\bkillpg\b": {"kernels/client.py", "kernels/server.py"},
    r"/proc\b": {"kernels/server.py", "pages/upload.py", "pipeline/mlflow.py"},
    r"sched_getaffinity": {"disk.py", "kernels/server.py"},
    r"posix_fallocate|\bfcntl\b": {"disk.py"},
    r"memfd_create": {"pages/upload.py"},
    r"\bimport resource\b": {"service/app.py", "processes.py"},
    r"malloc_trim": {"pages/host.py"},
    r"\bos\.geteuid\b": {"pipeline/report.py"},
    r"\bos\.getuid\b": {"registry/versions.py", "kernels/client.py", "kernels/server.py"},
    r"SO_REUSEPORT|O_TMPFILE|SIGRT|forkserver'|\bos\.sched_set|inotify|\bos\.nice\(|\bimport (pwd|grp|termios|tty|pty)\b": set(),
}

# Done before any module of ours is imported, in every process that a command starts
HIDE = """
import os, sys
import psutil  # It has its own way for each system
for name in ("pidfd_open", "sched_getaffinity", "posix_fallocate", "memfd_create"):
    if hasattr(os, name): delattr(os, name)
for name in ("fcntl", "resource", "pwd"): sys.modules[name] = None
"""


@pytest.mark.parametrize("words, places", LINUX.items())
def test_what_linux_alone_has_stands_where_it_is_known_to(words, places):
    using = {path.relative_to(ROOT/"gradeclass").as_posix() for path in (ROOT/"gradeclass").rglob("*.py")
             if re.search(words, path.read_text(encoding="utf-8")) and path.name != "_modidx.py"}
    assert using == places


@pytest.fixture
def elsewhere(tmp_path):
    "An environment whose Python has none of it"
    (tmp_path/"site").mkdir()
    (tmp_path/"site"/"sitecustomize.py").write_text(HIDE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRADECLASS_")}
    return {"cwd": tmp_path, "capture_output": True, "text": True,
            "env": kept | {"PYTHONPATH": str(tmp_path/"site"), "GRADECLASS_HOME": str(tmp_path)}}


FALLBACKS = """
import os
import sys
from importlib import import_module
from pathlib import Path
import gradeclass
assert not hasattr(os, "sched_getaffinity") and sys.modules["fcntl"] is None
root = Path(gradeclass.__file__).parent
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
    if name != "gradeclass.kernels.server" and not path.stem.startswith("_"): import_module(name)
from gradeclass.disk import Journal, is_locked, usable_cores
from gradeclass.kernels.client import can_fork
from gradeclass.pages.host import free_memory
from gradeclass.pages.upload import Memory
from gradeclass.registry.versions import user_name
from gradeclass.processes import allow_files
from gradeclass.service.app import most_files
assert usable_cores() == os.cpu_count() and not can_fork() and most_files() == 65_536 and user_name()
allow_files(), free_memory()
journal = Journal(Path("journal"), 4096)
journal.append(b"kept\\n")
assert Path("journal").read_bytes() == b"kept\\n" and not is_locked(journal.file)
with Memory() as memory: assert not str(memory/"class.csv").startswith("/proc")
print("all well")
"""


@pytest.mark.process
@pytest.mark.slow
def test_modules_are_imported_and_go_another_way_without_it(elsewhere):
    done = subprocess.run([sys.executable, "-c", FALLBACKS], **elsewhere)
    assert done.stdout == "all well\n", done.stderr[-2000:]


@pytest.mark.process
@pytest.mark.slow
def test_a_run_and_a_prediction_end_well_without_it(elsewhere):
    def ask(*words):
        done = subprocess.run([sys.executable, "-c", "from gradeclass.cli.main import main; main()", *words], **elsewhere)
        assert done.returncode == 0, done.stderr[-2000:]
        return done
    ask("run", "-p", "resamples=50", "-p", "params={members: [linear]}")
    sample = str(ROOT/"data/sample/students_sample.csv")
    assert "students graded in out.csv" in ask("predict", sample, "-o", "out.csv").stdout
