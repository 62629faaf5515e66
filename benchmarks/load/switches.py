"A hundred champions in turn while wrk presses: no failure, and every row of the log has the answer of the model that it names"
import argparse
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from load import press  # noqa: E402
from servers import free_port, sample_students, service, train_sample  # noqa: E402


def put_champion(outputs, bundle, name):
    "As the registry does it: a relative link, replaced by one rename"
    kept = outputs/"registry"/"bundles"/name
    if not kept.exists(): shutil.copytree(bundle, kept)
    link = outputs/".champion.new"
    link.symlink_to(kept.relative_to(outputs))
    os.replace(link, outputs/"champion")


def check_log(outputs, bundles):
    "Rows and models of the log, and the largest difference from what the named model says"
    from gradeclass.models.bundle import bundle_digest, load_model
    models = {bundle_digest(bundle): load_model(bundle) for bundle in bundles}
    with sqlite3.connect(outputs/"predictions.db") as connection:
        rows = connection.execute("SELECT digest, inputs, outputs FROM predictions").fetchall()
    worst = 0.0
    for digest, model in models.items():
        mine = [(json.loads(inputs), json.loads(said)["probabilities"])
                for found, inputs, said in rows[::7] if found == digest]
        if not mine: raise SystemExit("a model never answered")
        want = model.predict_proba(pd.DataFrame([inputs for inputs, _ in mine]))
        worst = max(worst, float(np.abs(np.array([list(said.values()) for _, said in mine]) - want).max()))
    return len(rows), {row[0] for row in rows} - set(models), worst


def main():
    "Press and switch"
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--switches", type=int, default=100)
    options.add_argument("--pause", type=float, default=0.4, help="seconds between two switches")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        outputs, students = folder/"outputs", folder/"students.jsonl"
        outputs.mkdir()
        students.write_text("\n".join(sample_students()) + "\n")
        bundles = [train_sample(folder/family, family) for family in ("logistic", "ordinal")]
        put_champion(outputs, bundles[0], "0")
        found = {}
        with service("champion=" + str(outputs/"champion"), port, outputs, folder/"service.log"):
            pressing = threading.Thread(target=lambda: found.update(press(
                port, 30, int(chosen.switches*chosen.pause) + 2, students)))
            pressing.start()
            for turn in range(1, chosen.switches + 1):
                time.sleep(chosen.pause)
                put_champion(outputs, bundles[turn % 2], str(turn % 2))
            pressing.join()
            served = sum('"event":"model"' in line for line in (folder/"service.log").read_text().splitlines())
        rows, strange, worst = check_log(outputs, bundles)
        failed = found["refused"] + found["cut"] + found["late"]
        print(f"{chosen.switches} switches ({served} times a model was taken up) under {found['requests']:,} requests: "
              f"{failed} failed; "
              f"{rows:,} rows logged, {len(strange)} of unknown models, largest difference from the model named "
              f"{worst:.1e}")
        sys.exit(bool(failed or strange or worst > 1e-9 or rows < found["requests"]))


if __name__ == "__main__": main()
