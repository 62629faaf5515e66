"The log of the registry: what it tells, and what becomes of it after a crash"
import pytest
from registry_helpers import consistent

from gradeclass.registry.promotions import ChampionError, history, registry_folder
from gradeclass.registry.versions import champion_of, promote, record_refusal, rollback


def test_history_says_who_was_champion_when_why_and_who_decided(served):
    promote(served, 3, "the gate", "better by 3 points", {"difference": 0.03})
    record_refusal(served, 2, "the gate", "not shown to be better")
    rollback(served, "Anna", "odd lists")
    told = [(e["event"], e["version"], e["from_version"], e["decided_by"], e["why"]) for e in history(served)[3:]]
    assert told == [("promote", 1, None, "Anna", "the first"), ("promote", 3, 1, "the gate", "better by 3 points"),
                    ("refuse", 2, 3, "the gate", "not shown to be better"), ("rollback", 1, 3, "Anna", "odd lists")]
    assert all(entry["time"].endswith("Z") and len(entry["digest"]) == 64 for entry in history(served))
    assert (history(served)[4]["gate"] == {"difference": 0.03}
            and history(served)[4]["from_digest"] == history(served)[3]["digest"])


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_torn_last_line_is_repaired_and_no_earlier_line_is_lost(served, share):
    log = registry_folder(served)/"log.jsonl"
    whole = log.read_bytes()
    last = whole.splitlines(keepends=True)[-1].replace(b'"version": 1', b'"version": 2')
    log.write_bytes(whole + last[:max(1, int(share*len(last)) - 1)])
    assert champion_of(served).number == 1
    consistent(served)
    assert log.read_bytes() == whole


def test_torn_line_of_zeros_is_repaired(served):
    log = registry_folder(served)/"log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b"\0"*4096)
    consistent(served)
    assert log.read_bytes() == whole


def test_last_line_without_its_end_is_kept(served):
    log = registry_folder(served)/"log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    assert champion_of(served).number == 1
    consistent(served)
    assert log.read_bytes() == whole


def test_damage_in_the_middle_of_the_log_is_refused_and_left_alone(served):
    log = registry_folder(served)/"log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"oops\n", *lines[2:]]))
    before = log.read_bytes()
    with pytest.raises(ChampionError, match="damaged in line 2"): promote(served, 2, "Anna", "why not")
    assert log.read_bytes() == before
