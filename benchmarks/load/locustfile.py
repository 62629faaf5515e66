"Thirty people at a school: locust -f benchmarks/load/locustfile.py --headless -u 30 -r 10 -t 60s --host http://127.0.0.1:9696"
import json

from locust import FastHttpUser, between, task
from servers import sample_students

STUDENTS = [json.loads(line) for line in sample_students()]


class Counsellor(FastHttpUser):
    "Asks about one student after another, now and then about a class, and reports what became of them"
    wait_time = between(0.01, 0.1)

    def on_start(self): self.turn, self.known = 0, []

    def next_student(self):
        self.turn += 1
        return STUDENTS[(self.turn*31 + id(self)) % len(STUDENTS)]

    @task(20)
    def one(self):
        "One student"
        with self.client.post("/predict", json=self.next_student(), catch_response=True) as reply:
            if reply.status_code == 200: self.known = [*self.known[-20:], reply.json()["prediction_id"]]

    @task(2)
    def a_class(self): self.client.post("/predict/batch", json=[self.next_student() for _ in range(25)])

    @task(1)
    def why(self): self.client.post("/predict?reasons=true", json=self.next_student(), name="/predict?reasons")

    @task(1)
    def outcome(self):
        if self.known: self.client.post("/outcomes", json={"prediction_id": self.known.pop(), "grade": "C"})

    @task(1)
    def form(self): self.client.get("/features")
