"Closed-loop load by wrk: the service and a constant FastAPI reply in turns, and their ratio"
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent/"load"))
from servers import constant, free_port, sample_students, service, train_sample

def press(port, connections, seconds, students):
    "One run of wrk"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s",
               str(Path(__file__).parent/"load"/"post.lua"), f"http://127.0.0.1:{port}"]
    out = subprocess.run(command, env=os.environ | {"STUDENTS": str(students)}, capture_output=True, text=True,
                         check=True).stdout
    found = json.loads(out.split("RESULT ", 1)[1])
    return found | {"rate": found["requests"]/found["seconds"]}

def cpu_seconds(process):
    "What a server has used of the processors so far, its children included"
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)

def compare(ports, processes, connections, seconds, rounds, students):
    "Both in turns; medians and the medians of the ratios. Processor time tells more than the clock where others use the machine"
    runs = {name: [] for name in ports}
    for turn in range(rounds):
        for name in sorted(ports, reverse=turn % 2):
            before = cpu_seconds(processes[name])
            run = press(ports[name], connections, seconds, students)
            runs[name].append(run | {"cpu": 1e6*(cpu_seconds(processes[name]) - before)/run["requests"]})
    middle = lambda values: statistics.median(values)
    ratios = [a["rate"]/b["rate"] for a, b in zip(runs["service"], runs["constant"], strict=True)]
    tails = [a["p99"]/b["p99"] for a, b in zip(runs["service"], runs["constant"], strict=True)]
    costs = [b["cpu"]/a["cpu"] for a, b in zip(runs["service"], runs["constant"], strict=True)]
    print(f"{connections} connections, {rounds} rounds of {seconds} s in turns")
    for name, found in runs.items():
        rate, p50, p99, cpu = (middle([run[key] for run in found]) for key in ("rate", "p50", "p99", "cpu"))
        requests = sum(run["requests"] for run in found)
        failed = sum(run["failed"] + run["broken"] for run in found)
        print(f"  {name:9} {rate:8.0f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  CPU {cpu:4.0f} µs each  requests "
              f"{requests:,}  failed {failed}")
    print(f"  by processor time {middle(costs):.2f} x the constant reply ({min(costs):.2f}-{max(costs):.2f})")
    print(f"  throughput {middle(ratios):.2f} x the constant reply ({min(ratios):.2f}-{max(ratios):.2f}), p99 "
          f"{middle(tails):.2f} x its p99")
    return runs

def main():
    "Train, start both, press both"
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bundle", help="bundle to serve; trained on the sample unless given")
    options.add_argument("--schema", default="students", help="schema of the bundle, for the students to send")
    options.add_argument("--connections", type=int, nargs="+", default=[1, 30])
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, ports = Path(name), {"service": free_port(), "constant": free_port()}
        bundle = chosen.bundle or train_sample(folder/"bundle", name=chosen.schema)
        students = folder/"students.jsonl"
        students.write_text("\n".join(sample_students(chosen.schema)) + "\n")
        with (service(str(bundle), ports["service"], folder/"outputs", folder/"service.log") as ours,
              constant(ports["constant"], folder/"constant.log") as theirs):
            processes = {"service": psutil.Process(ours.pid), "constant": psutil.Process(theirs.pid)}
            for port in ports.values(): press(port, 10, 1, students)
            for connections in chosen.connections:
                compare(ports, processes, connections, chosen.seconds, chosen.rounds, students)

if __name__ == "__main__": main()
