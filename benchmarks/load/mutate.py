"Requests to all addresses, changed at random: no 5xx but 503, and no status that the document does not name"
import argparse
import json
import random
import socket
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from servers import free_port, running_key, sample_students, service, train_sample

HEADERS = ["content-type: text/csv", "content-encoding: gzip", "accept: text/html", "traceparent: 00-1-2-3",
           "x-request-id: \t", "host: evil", "origin: https://evil.example", "expect: 100-continue", "range: bytes=0-1",
           "if-none-match: *", "transfer-encoding: chunked", "connection: upgrade", "cookie: a=b",
           "x-forwarded-for: 1.2.3.4"]
WORDS = [b"null", b"NaN", b"1e999", b"-1", b'"', b"[", b"{}", b"\xff", b"\0", b'"\\ud800"', b"true", b"9"*400,
         b",,", b"\r\n", b"PAR1"]
VALUES = [None, True, -1, 0.5, 10**30, "", "A", "\0", "é"*50, [], [[1]], {}, {"a": 1}]
PARTING = {400, 404, 405, 408, 413, 415, 431, 503} # What any request may be told, also one that leads nowhere


def examples(document):
    "Method, path, content type, body and documented statuses of each operation"
    student = json.loads(sample_students(most=1)[0])
    bodies = {"infer": {"inputs": [{"name": "Absences", "shape": [1], "datatype": "INT64", "data": [3]}]},
              "invocations": {"dataframe_records": [student]}, "batch": [student], "custom": {"plot_type": "histogram"},
              "outcomes": {"prediction_id": 1, "grade": "C"}, "read": {"student": 1}, "erase": {"student": 1},
              "overrides": {"prediction_id": 1, "grade": "C", "decided_by": "head", "reason": "seen"},
              "resume": {}, "save_retrain": False}
    for path, verbs in document["paths"].items():
        for verb, about in verbs.items():
            if path in ("/suspend", "/api/retrain"): continue
            kinds = list(about.get("requestBody", {}).get("content", {}))
            kind = "text/csv" if path.endswith("/file") else kinds[0] if kinds else ""
            body = b"Absences,Sports\n3,1\n25,x\n" if kind == "text/csv" else b""
            if kind == "application/json": body = json.dumps(bodies.get(path.split("/")[-1], student)).encode()
            yield verb.upper(), path, kind, body, {int(status) for status in about["responses"]}


def mutate_json(chance, value):
    "Change one place of a JSON value"
    if chance.random() < 0.3 or not isinstance(value, (dict, list)) or not value: return chance.choice(VALUES)
    place = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    value = value.copy()
    value[place] = mutate_json(chance, value[place])
    return value


def mutate(chance, body):
    "Change a body: one of its values where it is JSON, else some of its bytes"
    if body[:1] in (b"{", b"[") and chance.random() < 0.6:
        return json.dumps(mutate_json(chance, json.loads(body))).encode()
    body = bytearray(body)
    for _ in range(chance.randint(0, 4)):
        place = chance.randint(0, len(body))
        word = chance.choice(WORDS) if chance.random() < 0.6 else chance.randbytes(3)
        body[place:place + chance.randint(0, 5)] = word
    return bytes(body)


def make_request(chance, operation, key):
    "A request as bytes"
    method, path, kind, body, _ = operation
    for name in ("name", "version", "student", "prediction_id"):
        known = name == "name" and chance.random() < 0.8
        said = "students" if known else chance.choice(["1", "7", "%00", "..", "x"*70, "%ff"])
        path = path.replace("{" + name + "}", said)
    if chance.random() < 0.2: path += chance.choice(["?reasons=true", "?format=parquet", "?x=1", "/", "?%zz", "//"])
    if chance.random() < 0.05: method = chance.choice(["PUT", "HEAD", "OPTIONS", "PATCH", "TRACE"])
    body = mutate(chance, body) if method in ("POST", "PUT") else b""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    if kind: lines.append(f"content-type: {kind}")
    if chance.random() < 0.95: lines.append(f"x-api-key: {key}")
    if chance.random() < 0.15: lines.append(chance.choice(HEADERS))
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask(port, sent):
    "The status of the last answer, and the answer; 0 where the connection was closed without one"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while more := connection.recv(65_536): received += more
        except ConnectionResetError: pass
    parts = [part for part in received.split(b"HTTP/1.1 ")[1:] if not part.startswith(b"100")]
    return (int(parts[-1][:3]), parts[-1]) if parts else (0, b"")


def press(port, key, operations, numbers, found, wrong):
    "Send the requests of these numbers, each made from its own seed"
    for number in numbers:
        chance = random.Random(number)
        operation = chance.choice(operations)
        sent = make_request(chance, operation, key)
        status, answer = ask(port, sent)
        found[status] += 1
        known = operation[-1] | PARTING | ({401} if b"x-api-key" not in sent else set())
        plain = sent.startswith(operation[0].encode() + b" ")
        if (status >= 500 and status != 503) or status == 0 or (plain and status not in known and status != 304):
            wrong.append((number, status, sent[:300], answer[-300:]))


def main():
    "Start the service with all its addresses, and press it"
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=50_000)
    options.add_argument("--first", type=int, default=0, help="seed of the first request")
    options.add_argument("--threads", type=int, default=4)
    options.add_argument("--bundle", help="bundle to serve; trained on the sample unless given")
    chosen = options.parse_args()
    found, wrong = Counter(), []
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        bundle = chosen.bundle or train_sample(folder/"bundle")
        key = running_key(folder/"outputs")
        with service(str(bundle), port, folder/"outputs", folder/"service.log", settings={"compat": True}) as process:
            import httpx
            document = httpx.get(f"http://127.0.0.1:{port}/openapi.json", timeout=60).json()
            operations = list(examples(document))
            shares = [range(chosen.first + start, chosen.first + chosen.requests, chosen.threads)
                      for start in range(chosen.threads)]
            threads = [threading.Thread(target=press, args=(port, key, operations, share, found, wrong))
                       for share in shares]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert process.poll() is None, "the service has ended"
        said = [line for line in (folder/"service.log").read_text().splitlines() if "Traceback" in line]
    print(f"{sum(found.values()):,} requests to {len(operations)} operations: "
          + ", ".join(f"{status}: {number:,}" for status, number in sorted(found.items())))
    for number, status, sent, answer in wrong[:20]: print(number, status, sent, answer, sep="\n  ")
    for line in said[:5]: print(line[-1_500:])
    print(f"{len(wrong)} wrong answers, {len(said)} tracebacks in the log")
    sys.exit(bool(wrong or said))


if __name__ == "__main__": main()
