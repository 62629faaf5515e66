"""Requests that come together."""
import asyncio

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
