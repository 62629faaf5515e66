"A million rows through /predict/file, beside XGBoost's own inplace_predict on the prepared matrix; peak memory of the service"
import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))
from servers import free_port, service, train_sample


def peak_memory(process):
    "Most memory that a process has had, in MB, as the kernel counts it"
    line = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if line.startswith("VmHWM"))
    return int(line.split()[1])/1024


def send(url, path, out):
    "Post a file and keep what comes back; rows in the answer"
    kind = "text/csv" if path.suffix == ".csv" else "application/vnd.apache.parquet"
    def pieces():
        with open(path, "rb") as file:
            while piece := file.read(2**20): yield piece
    with httpx.stream("POST", url, content=pieces(), headers={"content-type": kind}, timeout=3600) as reply, open(out,
                                                                                                                  "wb") as file:
        if reply.status_code != 200: raise SystemExit(reply.read().decode())
        for piece in reply.iter_raw(): file.write(piece)


def count_rows(path):
    "Rows of a table on disk"
    import pyarrow.csv as csv
    import pyarrow.parquet as parquet
    if path.suffix == ".parquet": return parquet.read_metadata(path).num_rows
    return sum(len(batch) for batch in csv.open_csv(path))


def make_rows(rows, folder, kind):
    "A table of synthetic students, and the matrix that XGBoost takes"
    from gradeclass.models.features import encode_frame
    from gradeclass.data.synthetic import synthesise
    from gradeclass.schema import load_schema
    schema = load_schema("students")
    frame = synthesise(schema, rows, seed=1)
    names = [schema.id, *(column.name for column in schema.inputs(audit=True))]
    table = frame[names]
    if kind == "csv": table.to_csv(folder/"students.csv", index=False)
    else: table.to_parquet(folder/"students.parquet")
    return folder/f"students.{kind}", encode_frame(frame, schema.inputs()).astype(np.float32)


def main():
    "Measure both in turns"
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--kind", choices=("csv", "parquet"), default="csv")
    options.add_argument("--family", default="xgboost")
    options.add_argument("--bundle", help="bundle to serve; trained on the sample unless given")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        bundle = chosen.bundle or train_sample(folder/"bundle", chosen.family)
        path, matrix = make_rows(chosen.rows, folder, chosen.kind)
        import xgboost as xgb
        trees = Path(bundle, "model.ubj")
        booster = xgb.Booster({"nthread": len(psutil.Process().cpu_affinity())},
                              model_file=trees) if trees.exists() else None
        ratios = []
        with service(str(bundle), port, folder/"outputs", folder/"service.log") as process:
            found = psutil.Process(process.pid)
            for _ in range(chosen.rounds):
                start, before = time.perf_counter(), sum(found.cpu_times()[:2])
                send(f"http://127.0.0.1:{port}/predict/file", path, folder/f"answer{path.suffix}")
                ours, used = time.perf_counter() - start, sum(found.cpu_times()[:2]) - before
                start, before = time.perf_counter(), time.process_time()
                if booster: booster.inplace_predict(matrix)
                alone, alone_used = time.perf_counter() - start, time.process_time() - before
                ratios.append((alone/ours, alone_used/used))
                print(f"{chosen.rows:,} rows: service {ours:.1f} s (CPU {used:.1f} s), XGBoost alone {alone:.1f} s "
                      f"(CPU {alone_used:.1f} s)", flush=True)
            print(f"speed {statistics.median(r[0] for r in ratios):.2f} x XGBoost's own, "
                  f"{statistics.median(r[1] for r in ratios):.2f} x by processor time; "
                  f"peak memory of the service {peak_memory(process):.0f} MB; rows back "
                  f"{count_rows(folder/f'answer{path.suffix}'):,}")


if __name__ == "__main__": main()
