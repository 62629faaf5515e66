"Tables of many countries and programs: what is drafted is right, or a person is asked"
import pytest
from cases.build import build

from gradeclass.drafting.cells import read_cells
from gradeclass.drafting.infer import infer_schema
from gradeclass.data.files import left_rows
from gradeclass.data.sources import read_table
from gradeclass.schema import LATE

CASES = {case.name: case for case in build()}


@pytest.mark.parametrize("name", CASES)
def test_draft_is_right_or_asks(tmp_path, name):
    case = CASES[name]
    (tmp_path/f"table{case.kind}").write_bytes(case.data)
    frame, notes = read_table(tmp_path/f"table{case.kind}")
    schema = infer_schema(frame, case.target)
    scale = schema.grades
    if not case.order: assert scale.ask
    else: assert (scale.labels, scale.ask) == (list(case.order), "")
    if case.risk: assert scale.at_risk == list(case.risk)
    for column, right in case.roles.items():
        found = schema.by_name[column]
        assert {found.role, found.kind} & set(right if isinstance(right, tuple) else (right,)), found
    assert all(LATE in schema.by_name[column].confirm for column in case.late)
    for column, words in case.said.items(): assert words in schema.by_name[column].confirm, schema.by_name[column].confirm
    for column, number in case.reads.items(): assert read_cells(frame[column]).numbers[0] == pytest.approx(number)
    assert len(frame) == case.rows and all(any(word in note for note in notes) for word in case.notes), notes
    assert tuple(left_rows(notes).row) == case.left
