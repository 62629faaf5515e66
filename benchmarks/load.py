"Closed-loop load by wrk: the service, a constant FastAPI reply, and the same trees behind other servers, in turns"
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent/"load"))
from servers import PEERS, constant, free_port, peer, sample_students, service, train_sample

def press(port, connections, seconds, students, name="service"):
    "One run of wrk; MLflow takes the same students in another form"
    asked = {"STUDENTS": str(students), "ASKED": "/predict"}
    if name == "mlflow": asked = {"STUDENTS": f"{students}.records", "ASKED": "/invocations"}
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s",
               str(Path(__file__).parent/"load"/"post.lua"), f"http://127.0.0.1:{port}"]
    out = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True,
                         check=True).stdout
    found = json.loads(out.split("RESULT ", 1)[1])
    return found | {"rate": found["requests"]/found["seconds"]}

def cpu_seconds(process):
    "What a server has used of the processors so far, its children included"
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)

def compare(ports, processes, connections, seconds, rounds, students):
    "All in turns; medians, and medians of the ratios: where others use the machine, processor time tells more"
    runs = {name: [] for name in ports}
    for turn in range(rounds):
        for name in sorted(ports, reverse=turn % 2):
            before = cpu_seconds(processes[name])
            run = press(ports[name], connections, seconds, students, name)
            runs[name].append(run | {"cpu": 1e6*(cpu_seconds(processes[name]) - before)/run["requests"]})
    middle = statistics.median
    load = os.getloadavg()[0]
    print(f"{connections} connections, {rounds} rounds of {seconds} s in turns; load of the computer {load:.1f}")
    for name, found in runs.items():
        rate, p50, p99, cpu = (middle([run[key] for run in found]) for key in ("rate", "p50", "p99", "cpu"))
        requests = sum(run["requests"] for run in found)
        failed = ", ".join(f"{sum(run[kind] for run in found)} {kind}" for kind in ("refused", "cut", "late"))
        print(f"  {name:9} {rate:8.0f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  CPU {cpu:4.0f} µs each  requests "
              f"{requests:,}  failed: {failed}")
    for name in runs:
        if name == "service": continue
        pairs = list(zip(runs["service"], runs[name], strict=True))
        ratios = {"throughput": [ours["rate"]/theirs["rate"] for ours, theirs in pairs],
                  "by processor time": [theirs["cpu"]/ours["cpu"] for ours, theirs in pairs],
                  "p99": [ours["p99"]/theirs["p99"] for ours, theirs in pairs]}
        words = [f"{word} {middle(found):.2f} x ({min(found):.2f}-{max(found):.2f})" for word, found in ratios.items()]
        print(f"  service to {name}: {', '.join(words)}")
    return runs

def crowd(port, seconds, rounds, students):
    "What 20 connections on /docs do to /predict, and 1,000 idle ones to /health"
    docs = ["wrk", "-t1", "-c20", f"-d{seconds + 1}s", f"http://127.0.0.1:{port}/docs"]
    ratios = []
    for _ in range(rounds):
        quiet = press(port, 1, seconds, students)["p50"]
        others = subprocess.Popen(docs, stdout=subprocess.DEVNULL)
        ratios.append(press(port, 1, seconds, students)["p50"]/quiet)
        others.wait()
    print(f"20 connections on /docs: p50 of /predict {statistics.median(ratios):.2f} x the quiet one "
          f"({min(ratios):.2f}-{max(ratios):.2f})")
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(1_000)]
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).read()
        times.append(1000*(time.perf_counter() - begun))
    for connection in idle: connection.close()
    print(f"1,000 idle connections: /health in {statistics.median(times):.1f} ms, at most {max(times):.1f} ms")

def main():
    "Train, start all, press all"
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bundle", help="bundle to serve; trained on the sample unless given")
    options.add_argument("--schema", default="students", help="schema of the bundle, for the students to send")
    options.add_argument("--family", default="ordinal", help="xgboost: beside other servers with the same trees")
    options.add_argument("--crowd", action="store_true", help="measure /docs and idle connections too")
    options.add_argument("--connections", type=int, nargs="+", default=[1, 30])
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        bundle = chosen.bundle or train_sample(folder/"bundle", chosen.family, chosen.schema)
        students = folder/"students.jsonl"
        people = sample_students(chosen.schema)
        students.write_text("\n".join(people) + "\n")
        Path(f"{students}.records").write_text("\n".join(f'{{"dataframe_records": [{one}]}}' for one in people) + "\n")
        ports = {"service": free_port(), "constant": free_port()}
        if Path(bundle, "model.ubj").exists(): ports |= {name: free_port() for name in PEERS if find_spec(PEERS[name])}
        start = {name: partial(peer, name, bundle, chosen.schema) for name in PEERS}
        start |= {"service": lambda port, log: service(str(bundle), port, folder/"outputs", log), "constant": constant}
        servers = {name: stack.enter_context(start[name](port, folder/f"{name}.log")) for name, port in ports.items()}
        processes = {name: psutil.Process(server.pid) for name, server in servers.items()}
        for name, port in ports.items(): press(port, 10, 1, students, name)
        for connections in chosen.connections:
            compare(ports, processes, connections, chosen.seconds, chosen.rounds, students)
        if chosen.crowd: crowd(ports["service"], chosen.seconds, chosen.rounds, students)

if __name__ == "__main__": main()
