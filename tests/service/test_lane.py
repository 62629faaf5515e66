"""Requests that come together."""
import asyncio
from types import SimpleNamespace

import httpx
import pytest

from service_helpers import as_sent, read_sample

pytestmark = pytest.mark.process


def test_gathered_answers_equal_lone_ones(client):
    "Many at once are answered together; each gets its own answer"
    _, students = read_sample("students")
    sent = [as_sent(row)
            for row in students.head(40)[["Absences", "StudyTimeWeekly", "Sports"]].astype(object).to_dict("records")]
    alone = [client.post("/predict", json=one).json()["at_risk"] for one in sent]
    async def together():
        async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as many:
            return await asyncio.gather(*(many.post("/predict", json=one) for one in sent))
    assert [reply.json()["at_risk"] for reply in asyncio.run(together())] == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize(("flood", "most"), [(False, 1e9), (True, 0.05)])
def test_connections_that_come_are_let_in_before_answers_are_made_but_hold_none_up_for_ever(monkeypatch, flood, most):
    from gradeclass.service import lane as module
    monkeypatch.setattr(module, "COMING", most)
    connections = module.GuardedProtocol
    monkeypatch.setattr(connections, "came", True)
    async def ask():
        lane = module.Lane(SimpleNamespace(seconds=0, labels=[], answer=list), None, None)
        lane.deliver = lambda taken, outcome: [waiter.set_result(outcome) for _, waiter, _ in taken]
        answer = lane.ask("a student")
        await asyncio.sleep(0)
        first = answer.done()
        while not answer.done():
            connections.came = flood
            await asyncio.sleep(0)
        return first, answer.result()
    first, answer = asyncio.run(asyncio.wait_for(ask(), 60))
    assert answer == (["a student"], None)
    if not flood: assert not first
