"The file of grade scales, and orders that schools use."
import pytest
import yaml

from gradeclass.config import PACKAGE
from gradeclass.drafting.scales import fold_grade, order_grades

KNOWN = ["I > II.i > II.ii > III > Fail", "First > 2:1 > 2:2 > Third > Fail", "30L > 30 > 29 > 18 > Respinto", "5** > 5* > 5 > 4 > 1 > U",
         "D*D* > D*D > DD > DM > MM > MP > PP > U", "D*D*D* > DDD > DDM > MMM > PPP", "O > S > N > U", "E > S > N > U",
         "First Class with Distinction > First Class > Second Class > Pass Class > Fail", "jeles > jó > közepes > elégséges > elégtelen",
         "FB > B > S > I", "Отличен > Много добър > Добър > Среден > Слаб", "odličan > vrlo dobar > dobar > dovoljan > nedovoljan",
         "Άριστα > Λίαν Καλώς > Καλώς > Απορρίπτεται", "Xuất sắc > Giỏi > Khá > Trung bình > Yếu > Kém",
         "Sangat Baik > Baik > Cukup > Kurang", "عالی > خیلی خوب > خوب > قابل قبول > نیاز به تلاش", "★★★★★ > ★★★★ > ★★★ > ★★ > ★"]


@pytest.mark.parametrize("order", KNOWN)
def test_scale_is_known_in_whatever_order_a_table_has_it(order):
    labels = order.split(" > ")
    for turned in (sorted(labels), sorted(labels, reverse=True)):
        found = order_grades(turned, {"grade"})
        assert (found.labels, found.question) == (labels, "")


def test_no_spelling_stands_at_two_places_of_a_scale():
    scales = yaml.safe_load((PACKAGE/"drafting"/"scales.yaml").read_text(encoding="utf-8"))
    for name, spec in scales.items():
        places = {}
        for place, grade in enumerate(str(spec["grades"]).split(" > ")):
            for text in grade.split(" / "):
                assert places.setdefault(fold_grade(text), place) == place, f"{text} of {name}"


@pytest.mark.parametrize("labels", [["Band 10", "Band 9", "Band 2"], ["90-100", "80-89", "0-59"], ["Q4", "Q3", "Q1"]])
def test_numbered_grades_are_asked_about_by_their_ends(labels):
    found = order_grades(sorted(labels), {"grade"})
    assert found.labels == labels and f"is {labels[0]} the best grade, or {labels[-1]}?" in found.question
