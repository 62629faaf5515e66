"Send whatever the OpenAPI document allows, and much that it does not: no 5xx, no status that is not documented"
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

def check_contract(url, cases, folder, seed=1, key=""):
    "Run Schemathesis over the whole document of a running service; `cases` for each operation and phase"
    # /suspend would end the rest of the run, and /api/retrain trains for minutes
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url.rstrip('/')}/openapi.json", "--checks", CHECKS,
               "--max-examples", str(cases),
               "--exclude-path", "/suspend", "--exclude-path", "/api/retrain", "--continue-on-failure",
               "--seed", str(seed), "--no-color",
               "--generation-database", "none", *(["--header", f"X-API-Key: {key}"] if key else [])]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=7200)

def main():
    "Start the service on the sample's model and check it"
    from servers import free_port, running_key, service, train_sample
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=500,
                         help="for each operation and phase; 500 make more than 10,000 in all")
    options.add_argument("--bundle", help="bundle to serve; trained on the sample unless given")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        bundle = chosen.bundle or train_sample(folder/"bundle")
        key = running_key(folder/"outputs")
        with service(str(bundle), port, folder/"outputs", folder/"service.log", settings={"compat": True}):
            done = check_contract(f"http://127.0.0.1:{port}", chosen.cases, folder, key=key)
    print(done.stdout, done.stderr, sep="\n")
    sys.exit(done.returncode)

if __name__ == "__main__": main()
