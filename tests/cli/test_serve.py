"The command that serves predictions: what it says before it answers"
import json
import socket
from pathlib import Path

import pytest


@pytest.mark.parametrize("taken", [False, True])
def test_address_is_named_only_where_it_will_answer(ask, place, monkeypatch, taken):
    "With its database down, or its port taken, the service ends with one sentence; a script can tell the two apart"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        if not taken:
            other.close()  # Now nothing answers there
            monkeypatch.setenv("GRADECLASS_SERVE_LOG_URL", f"postgresql+psycopg2://ann:secret@127.0.0.1:{port}/log")
        code, printed, said = ask("serve", "--port", port)
    assert code == (1 if taken else 5) and printed == "" and said.count("\n") == 1 and "secret" not in said
    if taken: assert not [*place.rglob("*")]
    assert (f"gradeclass: 127.0.0.1 port {port} cannot be listened on (address already in use): choose another" in said if taken
            else "gradeclass: the prediction log cannot be opened: connection to server at" in said)


@pytest.mark.parametrize("words", [["--model", "nowhere"], ["--host", "0.0.0.0"]])
def test_refused_start_names_no_address(ask, words):
    code, printed, said = ask("serve", *words)
    assert (code, printed) == (1, "") and said.count("\n") == 1 and "http" not in said


@pytest.mark.parametrize("name,value,said", [("KEYS", "", "is not a file of keys"),
                                             ("LOG_URL", "sqlite:///:memory:", "address of the prediction log")])
def test_a_setting_that_would_protect_or_keep_nothing_is_refused(ask, tmp_path, monkeypatch, name, value, said):
    "A folder in the place of the keys, a log in memory"
    monkeypatch.setenv(f"GRADECLASS_SERVE_{name}", value or str(tmp_path))
    code, printed, told = ask("serve", "--port", 0)
    assert (code, printed, told.count("\n")) == (1, "", 1) and said in told


def test_empty_list_of_keys_says_how_to_make_one(ask):
    assert ask("key", "list") == (0, "", "there is no key: make one with `gradeclass key make NAME`\n")


def test_keys_that_may_not_be_read_are_not_called_damaged(ask, tmp_path, monkeypatch):
    def refuse(*_, **__): raise PermissionError(13, "Permission denied")
    (tmp_path/"keys.json").touch()
    monkeypatch.setattr(Path, "read_text", refuse)
    said = ask("key", "list", "--file", tmp_path/"keys.json")[2]
    assert said.endswith("keys.json cannot be read: Permission denied\n")


def test_a_key_for_one_model_is_listed_so_and_older_keys_stay_as_they_were(ask, tmp_path):
    file = tmp_path/"keys.json"
    code, printed, _ = ask("key", "make", "office", "--file", file)
    older = json.loads(file.read_text())
    del older["keys"][0]["models"]
    file.write_text(json.dumps(older))
    assert code == 0 and ask("key", "make", "timetable", "--model", "students", "--file", file)[0] == 0
    first, second = ask("key", "list", "--file", file)[1].splitlines()
    assert "all models" in first and "predict            students " in second
    code, printed, said = ask("key", "make", "ops", "--scope", "operate", "--model", "students", "--file", file)
    assert (code, printed, said.count("\n")) == (1, "", 1) and "only a key with the scope predict" in said
