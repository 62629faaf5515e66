"What tests of the registry share: another process, and what must hold at any time"
import subprocess
import sys

from gradeclass.models.bundle import bundle_digest
from gradeclass.registry.versions import changing, linked


def consistent(outputs):
    "What must hold at any time: each version has its whole copy, the link is the champion, nothing half-made is left"
    with changing(outputs) as state: pass
    for version in state.versions.values(): assert bundle_digest(version.folder) == version.digest
    assert linked(outputs) == (state.champion.digest[:16] if state.champion else "")
    if state.champion: assert bundle_digest(outputs/"champion") == state.champion.digest
    assert not [*outputs.rglob(".*.part")]
    assert list(state.versions) == list(range(1, len(state.versions) + 1))
    return state


def start(code, *words, **options):
    "Another Python process"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)
