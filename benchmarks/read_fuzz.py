"""Read and draft from broken tables: the bytes of `tests/cases` are cut, repeated, swapped and mixed.

    python benchmarks/read_fuzz.py --files 100000 --minutes 5

Each file is read in a process with a limit of memory and of time. Printed: how many were read, refused with a sentence, or ended in a traceback
or a hang, with the seeds of the last two.
"""
import argparse
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]/"tests"))
SECONDS, MEMORY = 10, 4*2**30
PIECES = [b"", b",", b";", b"\t", b'"', b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"sep=|\n", b"1e999", b"-", b"9"*5000, b"=1+1",
          "é".encode(), b"NA", b" "]


class TooSlow(BaseException):
    "A file took too long"


@cache
def cases():
    "The tables that are broken"
    from cases.build import build
    return list(build())


def limit():
    "Limits of a worker"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    def stop(*_): raise TooSlow
    signal.signal(signal.SIGALRM, stop)


def broken(seed):
    "A case with a few mistakes in it: its bytes, target and ending"
    draw = random.Random(seed)
    case = draw.choice(cases())
    data = bytearray(case.data)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        start = draw.randrange(len(data) + 1)
        end = min(len(data), start + draw.choice([0, 1, 2, 8, 200]))
        how = draw.randrange(4)
        if how == 0: data[start:end] = draw.choice(PIECES)*draw.choice([1, 1, 2, 50])
        elif how == 1: data[start:end] = data[start:end]*draw.choice([2, 3, 100])
        elif how == 2: data[start:end] = draw.randbytes(end - start)
        else: data = data[:start] + data[end:] if draw.random() < 0.8 else data[:max(start, 20)]
    return bytes(data), case.target, draw.choice([".csv"]*9 + [".xlsx", ".zip", ".gz"])


def try_file(seed):
    "What became of one file, and of which error a traceback is"
    from gradeclass.config import GradeclassError
    from gradeclass.drafting.infer import infer_schema
    from gradeclass.data.sources import read_table
    data, target, kind = broken(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/f"table{kind}"
        path.write_bytes(data)
        signal.alarm(SECONDS)
        try: infer_schema(read_table(path)[0], target)
        except GradeclassError as error: return "refused" if "\n" not in str(error) and str(error) else "no sentence", seed, str(error)[:80]
        except TooSlow: return "hang", seed, ""
        except Exception as error: return "traceback", seed, f"{type(error).__name__}: {error}"[:120]
        finally: signal.alarm(0)
    return "read", seed, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--first", type=int, default=0, help="seed of the first file")
    options = parser.parse_args()
    found, shown, end = Counter(), Counter(), time.monotonic() + 60*options.minutes
    with ProcessPoolExecutor(2, initializer=limit) as pool:
        for start in range(options.first, options.first + options.files, 500):
            for what, seed, said in pool.map(try_file, range(start, min(start + 500, options.first + options.files)), chunksize=25):
                found[what] += 1
                shown[what, said[:40]] += 1
                if what in ("hang", "traceback", "no sentence") and shown[what, said[:40]] == 1: print(f"{what}, seed {seed}: {said}", flush=True)
            if time.monotonic() > end: break
    print(f"{found.total()} files: " + ", ".join(f"{number} {what}" for what, number in found.most_common()))
    return bool(found["hang"] + found["traceback"] + found["no sentence"])


if __name__ == "__main__": sys.exit(main())
