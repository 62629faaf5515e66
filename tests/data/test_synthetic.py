"Synthetic students, the built-in samples, and fetching the published tables"
import csv
import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.disk import digest_text
from gradeclass.data.fetch import FetchError, fetch, table_in_zip, values_digest
from gradeclass.data.synthetic import SAMPLES, sample_path, synthesise, synthesise_file, to_codes, write_samples
from gradeclass.schema import Column, GradeScale, Schema, SchemaError, Source, Synthesis, load_schema, schema_names


class QuietHandler(SimpleHTTPRequestHandler):
    "Serves a folder without a log, and counts what was asked"
    asked: list = []

    def log_message(self, *args): self.asked.append(self.path)


class ShortHandler(QuietHandler):
    "Promises more bytes than it sends"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"PK half a file")


@pytest.fixture
def serve(tmp_path):
    "Start a server for a folder; it stops when the test ends"
    servers = []

    def start(folder, handler=QuietHandler):
        handler.asked = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


TABLE = "ID,Hours,Grade\nS1,3,1\nS2,4.5,0\n"


def small_schema(url="https://example.org/files/table.zip", table=TABLE):
    "A schema whose published table has two rows"
    rows = list(csv.reader(io.StringIO(table)))[1:]
    schema = Schema(
        name="small",
        columns=[Column(name="ID", role="id"), Column(name="Hours", kind="numeric"),
                 Column(name="Grade", role="target")],
        grades=GradeScale(codes={0: "pass", 1: "fail"}, at_risk=["fail"]))
    source = Source(title="Small", doi="10.1/small", files=["small table.csv", "small.csv"], sha256=digest_text(table),
                    url=url,
                    values_sha256=values_digest(rows, schema))
    return schema.model_copy(update={"source": source})


def zip_of(path, **members):
    "Write a zip file; '__' in a name is a dot"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return path


@pytest.fixture
def published(tmp_path):
    "A folder to serve and a folder to fetch into"
    (tmp_path/"served").mkdir()
    return tmp_path/"served", tmp_path/"raw"


@pytest.mark.parametrize("name", SAMPLES)
def test_committed_sample_is_what_synthesise_makes_today(name, tmp_path):
    made = next(path for path in write_samples(tmp_path) if path.name == sample_path(name).name)
    assert made.read_text() == sample_path(name).read_text()
    assert len(pd.read_csv(made)) == SAMPLES[name]


@pytest.mark.parametrize("name", schema_names())
def test_synthetic_frame_is_canonical(name):
    schema, frame = load_schema(name), synthesise(name, 50)
    assert list(frame.columns) == [column.name for column in schema.columns]
    assert frame.index.name == "row" and list(frame.index[:2]) == [2, 3]
    assert list(frame[schema.target].cat.categories) == schema.grades.labels and frame[schema.target].cat.ordered
    assert frame[schema.id].tolist()[:2] == ["1001", "1002"] and frame[schema.id].is_unique
    for column in schema.columns:
        if column.kind == "numeric":
            assert frame[column.name].dtype == float and frame[column.name].between(column.min, column.max).all()
            assert not column.whole or (frame[column.name] % 1 == 0).all()
        elif column.codes:
            assert list(frame[column.name].cat.categories) == column.labels
            assert frame[column.name].cat.ordered == (column.kind == "ordinal")
    assert not frame.isna().any().any()


def test_seed_decides_the_students():
    assert synthesise("students", 100, seed=1).equals(synthesise("students", 100, seed=1))
    assert not synthesise("students", 100, seed=1).equals(synthesise("students", 100, seed=2))


def test_shares_of_codes_hold():
    frame = synthesise("students", 50_000)
    for name in ("ParentalEducation", "Volunteering"):
        wanted = load_schema("students").synthesis.columns[name].shares
        found = frame[name].value_counts(normalize=True, sort=False)
        assert np.allclose(found, np.array(wanted)/sum(wanted), atol=0.01)


def test_effects_move_the_score_as_the_schema_says():
    schema = load_schema("students")
    frame = synthesise(schema, 20_000)
    inside = frame["GPA"].between(0.01, 3.99) & frame["Absences"].between(5, 15)
    columns = {name: frame[name].cat.codes if frame[name].dtype == "category" else frame[name]
               for name in schema.synthesis.columns}
    inputs = np.column_stack([np.ones(inside.sum()), *[np.asarray(values)[inside] for values in columns.values()]])
    found = dict(zip(columns, np.linalg.lstsq(inputs, frame["GPA"][inside], rcond=None)[0][1:], strict=True))
    assert found["Tutoring"] == pytest.approx(0.25, abs=0.02)
    assert found["ParentalSupport"] == pytest.approx(0.151, abs=0.02)
    assert found["Gender"] == pytest.approx(0, abs=0.02)


def test_share_of_mislabelled_grades_holds_and_none_means_none():
    schema = load_schema("students")
    cuts = [4.01, *schema.grades.cuts, -1]

    def agreement(plan):
        frame = synthesise(schema.model_copy(update={"synthesis": plan}), 20_000)
        bands = pd.cut(frame["GPA"], cuts[::-1], right=False, labels=schema.grades.labels[::-1])
        return (bands.astype(str) == frame["GradeClass"].astype(str)).mean()

    assert agreement(schema.synthesis) == pytest.approx(0.93, abs=0.01)
    assert agreement(schema.synthesis.model_copy(update={"mislabelled": 0})) == 1


def test_grade_shares_hold_where_there_are_no_cuts():
    schema = load_schema("higher_ed")
    found = synthesise(schema, 10_000)["GRADE"].value_counts(normalize=True, sort=False)
    assert np.allclose(found, schema.synthesis.grade_shares, atol=0.002)


def test_better_inputs_bring_better_grades():
    frame = synthesise("higher_ed", 5_000)
    rank = frame["GRADE"].cat.codes.groupby(frame["CUML_GPA"], observed=True).mean()
    assert rank.iloc[0] > rank.iloc[-1]


def test_column_without_a_plan_is_drawn_evenly():
    schema = load_schema("students").model_copy(update={"synthesis": Synthesis()})
    frame = synthesise(schema, 20_000)
    assert np.allclose(frame["Ethnicity"].value_counts(normalize=True), 0.25, atol=0.02)


def test_ignored_column_without_a_kind_stays_empty():
    base = small_schema()
    schema = base.model_copy(update={
        "columns": [*base.columns[:1], Column(name="Hours", kind="numeric", min=0, max=9),
                    Column(name="Remarks", role="ignored"),
                    base.columns[2]], "synthesis": Synthesis()})
    frame = synthesise(Schema(**schema.model_dump()), 5)
    assert frame["Remarks"].isna().all() and frame["Hours"].notna().all()


@pytest.mark.parametrize("n", [0, -3])
def test_no_students_asked_for_is_refused(n):
    with pytest.raises(GradeclassError, match="ask for 1 or more"): synthesise("students", n)


def test_one_student_can_be_drawn():
    assert len(synthesise("students", 1)) == len(synthesise("higher_ed", 1)) == 1


def test_numeric_column_without_range_is_refused():
    schema = small_schema().model_copy(update={"synthesis": Synthesis()})
    with pytest.raises(SchemaError, match="column Hours needs min and max"): synthesise(schema, 5)


def test_codes_round_trip_and_missing_stays_missing():
    schema = load_schema("students")
    frame = synthesise(schema, 200)
    frame.loc[2, ["Gender", "Absences", "GradeClass"]] = None
    coded = to_codes(frame, schema)
    assert coded.loc[2, ["Gender", "Absences", "GradeClass"]].isna().all()
    for name in ("Gender", "ParentalSupport", "GradeClass"):
        codes = schema.grades.codes if name == "GradeClass" else schema.by_name[name].codes
        assert (coded[name].map(codes).astype(object).fillna("").tolist()
                == frame[name].astype(object).fillna("").tolist())


def test_file_holds_codes_and_is_written_whole(tmp_path):
    path = synthesise_file("students", 10, tmp_path/"new"/"made.csv", seed=3)
    assert path.read_text().splitlines()[1].startswith("1001,")
    assert [p.name for p in path.parent.iterdir()] == ["made.csv"]
    assert pd.read_csv(path)["GradeClass"].isin(range(5)).all()


def test_fetch_downloads_once_and_keeps_the_bytes(published, serve):
    served, raw = published
    zip_of(served/"table.zip", **{"small table__csv": TABLE, "notes__csv": "x"})
    path = fetch(small_schema(), raw, base_url=serve(served))
    assert path == raw/"small.csv" and path.read_text() == TABLE
    assert fetch(small_schema(), raw, base_url="http://127.0.0.1:9") == path
    assert len(QuietHandler.asked) == 1


def test_fetch_accepts_a_table_that_was_put_there_by_hand(published):
    _, raw = published
    raw.mkdir()
    (raw/"small table.csv").write_text(TABLE)
    assert fetch(small_schema(), raw, base_url="http://127.0.0.1:9") == raw/"small table.csv"


def test_fetch_gives_a_numbered_header_our_names(published, serve):
    served, raw = published
    zip_of(served/"table.zip", DATA__csv="STUDENT ID,1,GRADE\r\nSTUDENT1,3.0,1\r\nSTUDENT2,4.5,0\r\n")
    path = fetch(small_schema(), raw, base_url=serve(served))
    assert path.read_text().splitlines() == ["ID,Hours,Grade", "STUDENT1,3.0,1", "STUDENT2,4.5,0"]
    assert fetch(small_schema(), raw, base_url="http://127.0.0.1:9") == path


def test_fetch_uses_the_url_of_the_schema(published, serve):
    served, raw = published
    zip_of(served/"table.zip", DATA__csv=TABLE)
    assert fetch(small_schema(url=f"{serve(served)}/table.zip"), raw).is_file()


@pytest.mark.parametrize("member, message", [
    (TABLE.replace("4.5", "4.6"), "a table of 2 rows is not the published one"),
    (TABLE + "S3,1,1\n", "a table of 3 rows is not the published one"),
    ("", "a table of 0 rows is not the published one"),
    ("a"*200_000, "the table is not a CSV file"),
    (b"\xff\xfe\x00\x01", "is not the published one"),
    ("\0a" * 50, "is not the published one"),
])
def test_fetch_refuses_another_table_and_leaves_nothing(published, serve, member, message):
    served, raw = published
    zip_of(served/"table.zip", DATA__csv=member)
    with pytest.raises(FetchError, match=message): fetch(small_schema(), raw, base_url=serve(served))
    assert not raw.exists()


@pytest.mark.parametrize("damage",
                         [lambda whole: whole[:len(whole)//2], lambda whole: b"<html>sign in</html>", lambda whole: b"",
                                    lambda whole: whole.replace(b"PK\x03\x04", b"PK\x03\x05"),
                                    lambda whole: whole[:45] + bytes([whole[45] ^ 255]) + whole[46:]])
def test_fetch_refuses_a_damaged_zip_file(published, serve, damage):
    served, raw = published
    path = zip_of(served/"table.zip", DATA__csv=TABLE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FetchError,
                       match="not a whole zip file; get 'Small' by hand from https://doi.org/10.1/small and put "
                             "small.csv"):
        fetch(small_schema(), raw, base_url=serve(served))
    assert not raw.exists()


def test_fetch_says_what_the_server_answered(published, serve):
    served, raw = published
    with pytest.raises(FetchError, match=r"the server answered 404\): get 'Small' by hand"):
        fetch(small_schema(), raw, base_url=serve(served))
    assert not raw.exists()


def test_fetch_offline_says_what_to_do_by_hand(published):
    _, raw = published
    with pytest.raises(FetchError, match=r"\(no connection\): get 'Small' by hand .* and put small.csv into .*raw"):
        fetch(small_schema(), raw, base_url="http://127.0.0.1:9")
    assert not raw.exists()


def test_fetch_notices_a_download_that_breaks_off(published, serve):
    served, raw = published
    with pytest.raises(FetchError, match="the download broke off"):
        fetch(small_schema(), raw, base_url=serve(served, ShortHandler))
    assert not raw.exists()


def test_fetch_never_overwrites_another_table(published, serve):
    served, raw = published
    raw.mkdir()
    (raw/"small.csv").write_text("mine\n")
    zip_of(served/"table.zip", DATA__csv=TABLE)
    with pytest.raises(FetchError, match="move the file away and fetch again"):
        fetch(small_schema(), raw, base_url=serve(served))
    assert (raw/"small.csv").read_text() == "mine\n"


def test_fetch_refuses_a_download_that_is_too_large(published, serve, monkeypatch):
    served, raw = published
    monkeypatch.setattr("gradeclass.data.fetch.LIMIT", 100)
    zip_of(served/"table.zip", DATA__csv=TABLE)
    with pytest.raises(FetchError, match="the download is larger than"):
        fetch(small_schema(), raw, base_url=serve(served))
    assert not raw.exists()


def test_zip_with_a_huge_table_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = zip_of(tmp_path/"bomb.zip", DATA__csv="0"*100_000)
    monkeypatch.setattr("gradeclass.data.fetch.LIMIT", 10_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(FetchError, match="the table in the download is larger"): table_in_zip(path.read_bytes(), [])


def test_member_that_climbs_out_of_the_folder_lands_in_it(published, serve, tmp_path):
    served, raw = published
    zip_of(served/"table.zip", **{"../../outside__csv": TABLE})
    before = {path.name for path in tmp_path.iterdir()}
    assert fetch(small_schema(), raw, base_url=serve(served)) == raw/"small.csv"
    assert {path.name for path in tmp_path.iterdir()} == before | {"raw"} and [
        p.name for p in raw.iterdir()] == ["small.csv"]


def test_schema_without_a_source_cannot_be_fetched(tmp_path):
    schema = small_schema().model_copy(update={"source": Source()})
    with pytest.raises(SchemaError, match="schema small needs a source with url, sha256 and files"):
        fetch(schema, tmp_path)


@pytest.mark.parametrize("name", schema_names())
def test_known_digests_belong_to_the_published_table(name, real_data, tmp_path, serve):
    schema = load_schema(name)
    table = real_data(schema.source.files[-1])
    content = table.read_bytes()
    assert digest_text(content) == schema.source.sha256
    header, *rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    text = io.StringIO()
    csv.writer(text).writerows([["STUDENT ID", *range(1, len(header))], *rows])
    (tmp_path/"served").mkdir()
    zip_of(tmp_path/"served"/schema.source.url.rsplit("/", 1)[-1], DATA__csv=text.getvalue())
    path = fetch(name, tmp_path/"raw", base_url=serve(tmp_path/"served"))
    assert pd.read_csv(path).equals(pd.read_csv(table))
