"nginx with a configuration that the documents show"
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gradeclass.processes import free_port
from kernel_helpers import wait_until

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
needs_nginx = pytest.mark.skipif(not NGINX, reason="needs nginx")


@contextmanager
def behind_nginx(name, address, behind, folder):
    "Run nginx with a file of docs/, on a free port and with folders of its own; its address"
    recipe, port = (Path(__file__).parents[1]/"docs"/name).read_text(encoding="utf-8"), free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    for old, new in {"access_log off;": f"access_log off; {folders}", "listen 80;": f"listen 127.0.0.1:{port};",
                     address: behind, "/run/nginx.pid": f"{folder}/nginx.pid"}.items():
        assert old in recipe
        recipe = recipe.replace(old, new)
    (folder/"nginx.conf").write_text(recipe)
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder/"nginx.conf"), "-g", "daemon off; user root;",
                                "-e", str(folder/"error.log")])
    def answers():
        assert process.poll() is None, (folder/"error.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)): return True
        return False
    try:
        wait_until(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
