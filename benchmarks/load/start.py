"Seconds from the start of a new process until the service is ready, and until its first answer, for each family"
import argparse
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from servers import free_port, sample_students, service, train_sample, wait_for


def ask(port, student):
    "One prediction"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", student.encode(),
                                     {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply: return reply.read()


def main():
    "Start it a few times"
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--family", nargs="+", default=["ordinal", "xgboost"])
    chosen = options.parse_args()
    student = sample_students(most=1)[0]
    with tempfile.TemporaryDirectory() as name:
        for family in chosen.family:
            bundle, found = str(train_sample(Path(name)/family, family)), []
            for turn in range(chosen.rounds):
                port, begin = free_port(), time.perf_counter()
                with service(bundle, port, Path(name)/f"outputs-{family}-{turn}", Path(name)/"service.log") as process:
                    wait_for(f"http://127.0.0.1:{port}/ready", process)
                    ready = time.perf_counter() - begin
                    ask(port, student)
                    found.append((ready, time.perf_counter() - begin))
            middle = [statistics.median(run[i] for run in found) for i in (0, 1)]
            print(f"{family}: ready after {middle[0]:.2f} s, first answer after {middle[1]:.2f} s (median of "
                  f"{chosen.rounds}; slowest {max(found)[0]:.2f} s)")


if __name__ == "__main__": main()
