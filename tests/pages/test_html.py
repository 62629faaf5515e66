"What the pages show as text: words of visitors stay words"
import re

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.pages.html import details, download, headline, note, table
from gradeclass.pages.predict_model import StudentModel, answer_student
from gradeclass.scoring.answer import open_bundle


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_words_of_a_visitor_stay_words(text):
    shown = note(text) + table(pd.DataFrame({text: [text]}), text) + download(pd.DataFrame({"a": [text]}), text, text)
    found = re.findall(r"<(?!/?(?:p|div|table|caption|thead|tbody|tr|th|td|a|wbr)[ >])[^>]*", shown)
    assert not found


def test_headline_says_in_one_look_what_matters(trained):
    answer = answer_student(open_bundle(trained),
                            pd.DataFrame([StudentModel(open_bundle(trained)).student | {"Absences": 30.0}]))
    shown = headline(answer) + details(answer)
    for words in ("F is most likely", "Likely to need support", "a person who knows the student decides", "Absences"):
        assert words in shown
    assert "will fail" not in shown
