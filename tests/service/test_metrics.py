"""Counts of several processes."""
import os
import time

import httpx
import pytest

from service_helpers import OLD_STUDENT, rows_of, running

pytestmark = pytest.mark.process


def test_two_workers_stop_and_count_together(bundles, tmp_path):
    with running(tmp_path/"outputs", "--model", bundles["students"], "--workers", 2,
                 settings={"poll": 0.05}) as (client, _):
        for _ in range(40):
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                assert fresh.post("/predict", json=OLD_STUDENT).status_code == 200
        client.post("/suspend", json={"reason": "odd grades", "by": "head"})
        time.sleep(1)
        for _ in range(10):
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                assert fresh.post("/predict", json=OLD_STUDENT).json()["error"] == "suspended"
        time.sleep(1.5)
        counted = client.get("/metrics").text
        assert ('gradeclass_requests_total{route="/predict",status="200"} 40.0' in counted
                and "gradeclass_suspended 1.0" in counted)
        client.post("/resume", json={})
    ids = rows_of(tmp_path/"outputs").id
    assert len(ids) == ids.nunique() == 40


def test_counts_of_other_processes_are_added(tmp_path):
    from gradeclass.service.metrics import Counts, add, prometheus_text
    other = Counts()
    for seconds in (0.0001, 0.3, 60.0): other.request("/predict", 200, seconds)
    other.share(str(tmp_path))
    (tmp_path/f"{os.getpid()}.counts").rename(tmp_path/"1.counts")
    mine = Counts()
    mine.request("/predict", 200, 0.002)
    mine.request("/health", 200, 0.002)
    add(mine.grades, ("students", "B"), 2)
    mine.share(str(tmp_path))
    text = prometheus_text(mine.total(str(tmp_path)), {}).decode()
    for line in ('gradeclass_requests_total{route="/predict",status="200"} 4.0',
                 'gradeclass_request_seconds_bucket{le="0.001",route="/predict"} 1.0',
                 'gradeclass_request_seconds_bucket{le="10.0",route="/predict"} 3.0',
                 'gradeclass_request_seconds_bucket{le="+Inf",route="/predict"} 4.0',
                 'gradeclass_request_seconds_count{route="/health"} 1.0',
                 'gradeclass_predictions_total{grade="B",model="students"} 2.0'):
        assert line in text.splitlines(), line
    assert mine.requests["/predict", 200] == 1
