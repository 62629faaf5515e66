"Thirty users of the Locust file on the service, started here"
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from servers import free_port, service, train_sample

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--users", type=int, default=30)
options.add_argument("--seconds", type=int, default=30)
chosen = options.parse_args()
with tempfile.TemporaryDirectory() as name:
    folder, port = Path(name), free_port()
    with service(str(train_sample(folder/"bundle")), port, folder/"outputs", folder/"service.log"):
        command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).parent/"locustfile.py"), "--headless",
                   "-u", str(chosen.users), "-r", "10",
                   "-t", f"{chosen.seconds}s", "--host", f"http://127.0.0.1:{port}", "--only-summary"]
        sys.exit(subprocess.run(command).returncode)
