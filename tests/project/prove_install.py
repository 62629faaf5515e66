"""Install the wheel and the source archive into empty environments, and use them as somebody who may write nowhere else.

    sudo .venv/bin/python tests/project/prove_install.py                        # with this Python
    sudo .venv/bin/python tests/project/prove_install.py python3.11 python3.13  # with these

Needs git, uv and a package registry. As root the commands run as `nobody`; otherwise as whoever starts this. Ends with 1 where something
does not hold.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(Path(sys.executable).parent/"uv")
# NVIDIA's library for training on many GPUs, which no CPU uses: as in pyproject.toml
LEFT_OUT = "".join(f"nvidia-nccl-cu{number} ; sys_platform == 'never'\n" for number in (12, 13))
SMALL = ["-p", "resamples=50", "-p", "params={members: [linear]}"]
SOMEBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []} if hasattr(os, "getuid") and not os.getuid() else {}
FAILED = []


def check(holds, words):
    "Say what was looked at, and remember what does not hold"
    print(f"{'ok  ' if holds else 'FAIL'}  {words}", flush=True)
    if not holds: FAILED.append(words)


def call(*command, **options):
    "Run a command; end here where it fails"
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    said = (done.stdout + done.stderr)[-3000:]
    if done.returncode: raise SystemExit(f"{command[0]} {command[1]} ended with {done.returncode}:\n{said}")
    return done.stdout


def build(work):
    "The wheel and the source archive of what is committed, made as they are published, and what they hold"
    (work/"source").mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "x"], input=archive, cwd=work/"source", check=True)
    call(UV, "build", work/"source", "--out-dir", work/"dist")
    wheel, source = next((work/"dist").glob("*.whl")), next((work/"dist").glob("*.tar.gz"))
    checked = call(UV, "tool", "run", "twine", "check", "--strict", wheel, source)
    check(checked.count("PASSED") == 2, "twine check --strict: both files describe themselves well")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"gradeclass/py.typed", "gradeclass/notebooks/pipeline/30_train.ipynb", "gradeclass/sample/students_sample.csv"}
    check(wanted <= held, "the wheel holds the notebooks, the sample and the mark of a typed package")
    check(all(name.startswith("gradeclass") and "/tests/" not in name for name in held), "it holds no test, and nothing else")
    return {"wheel": wheel, "source archive": source}


def reachable(python, work):
    "The Python that is meant, in a folder that everybody may read"
    base = Path(call(python, "-c", "import sys; print(sys.base_prefix)").strip())
    if not SOMEBODY or all(folder.stat().st_mode & 0o1 for folder in (base, *base.parents)): return python
    name = call(python, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])").strip()
    if not (work/name).exists(): shutil.copytree(base, work/name, symlinks=True)
    return work/name/"bin"/name


def install(kind, file, python, work):
    "An environment with the package in it, at a path with blanks and umlauts"
    place = work/f"Umgebung für {kind} {Path(python).name}"
    call(UV, "venv", "--python", python, place)
    (work/"left-out.txt").write_text(LEFT_OUT)
    call(UV, "pip", "install", "--python", place/"bin"/"python", "--overrides", work/"left-out.txt",
         f"gradeclass[pipeline] @ {file.as_uri()}")
    return place


def use(place, work):
    "The commands of somebody's first day, in a folder of their own, without a language and without colours"
    desk = place.with_name(f"{place.name}, Schülerdaten")
    for folder in (desk, desk/"tmp"):
        folder.mkdir()
        if SOMEBODY: shutil.chown(folder, SOMEBODY["user"], SOMEBODY["group"])
    env = {"PATH": f"{place/'bin'}:/usr/bin:/bin", "HOME": str(desk), "TMPDIR": str(desk/"tmp"), "LANG": "C", "LC_ALL": "C",
           "NO_COLOR": "1", "DO_NOT_TRACK": "1",
           "LD_LIBRARY_PATH": str((place/"bin"/"python").resolve().parents[1]/"lib")}  # A copied Python finds its own here
    def ask(*words, cwd=desk, **more):
        done = subprocess.run(["gradeclass", *words], cwd=cwd, env=env | more, capture_output=True, text=True, encoding="utf-8",
                              errors="replace", **SOMEBODY)
        said = done.stdout + done.stderr
        check(not done.returncode and "\x1b" not in said and "Traceback" not in said,
              f"{place.name}: gradeclass {' '.join(words)[:60]}" + (f"\n{said[-1500:]}" if done.returncode else ""))
        return done.stdout
    version = re.search(r'__version__ = "(.*)"', (ROOT/"gradeclass"/"__init__.py").read_text())[1]
    check(ask("--version").strip() == version, f"{place.name}: it is version {version}")
    ask("run", *SMALL)
    check(len(list(desk.glob("outputs/runs/*/report.html"))) == 1, f"{place.name}: the run has a report")
    sample = next(place.glob("lib/python3*/site-packages/gradeclass/sample/students_sample.csv"))
    (desk/"Schüler.csv").write_text("".join(sample.open().readlines()[:60]), encoding="utf-8")
    ask("predict", "Schüler.csv", "-o", "Noten ä.csv")
    check(len((desk/"Noten ä.csv").read_text(encoding="utf-8").splitlines()) == 60, f"{place.name}: 59 students are graded")
    ask("schema", "infer", "Schüler.csv", "--target", "GradeClass", "-o", "Entwurf ä.yaml")
    check((desk/"Entwurf ä.yaml").is_file(), f"{place.name}: a schema is drafted")
    ask("run", *SMALL, cwd=work/"source", GRADECLASS_OUTPUTS=str(desk/"elsewhere"))
    check(not list((work/"source"/"outputs").glob("[!.]*")),
          f"{place.name}: it leaves alone a checkout that it may not write to")
    left = sorted(path.name for path in (desk/"tmp").iterdir())
    check(not left, f"{place.name}: it leaves no temporary file {left or ''}")


def main():
    "Build, install, use"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", nargs="*", default=[sys.executable], help="Pythons to install into")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="gradeclass-install-")).resolve()
    work.chmod(0o755)
    try:
        files = build(work)
        for python in options.python:
            for kind, file in files.items(): use(install(kind, file, reachable(python, work), work), work)
    finally: shutil.rmtree(work, ignore_errors=True)
    if FAILED: raise SystemExit(f"{len(FAILED)} of the above do not hold")


if __name__ == "__main__": main()
