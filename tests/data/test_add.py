"New students who may be known under another spelling of their number"
import pandas as pd

from gradeclass.data.add import add_file
from gradeclass.data.synthetic import sample_path


def test_numbers_known_but_for_leading_zeros_are_noted(tmp_path):
    table = pd.read_csv(sample_path("students"), dtype=str)
    table[:20].assign(StudentID=[f"{number:05}" for number in range(20, 40)]).to_csv(tmp_path/"autumn.csv", index=False)
    table[20:40].assign(StudentID=[str(number) for number in range(30, 50)]).to_csv(tmp_path/"spring.csv", index=False)
    first = add_file(tmp_path/"autumn.csv", "students", tmp_path/"store")
    assert not any("leading zeros" in note for note in first.notes)
    second = add_file(tmp_path/"spring.csv", "students", tmp_path/"store")
    noted = [note for note in second.notes if "leading zeros" in note]
    assert noted[0].startswith("10 new numbers known but for leading zeros, such as 30 and 00030")
