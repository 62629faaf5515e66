"Tables as schools in many countries export them, each with what is right"
import codecs
import random
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    "A table and what is right about it"
    name: str
    data: bytes                                # Of the file
    target: str = "Grade"
    kind: str = ".csv"
    order: tuple[str, ...] = ()                # Grades from best to worst; empty where a person has to say
    risk: tuple[str, ...] = ()                 # Those that call for help
    roles: dict = field(default_factory=dict)  # Column -> role or kind
    reads: dict = field(default_factory=dict)  # Column -> number in its first row
    notes: tuple[str, ...] = ()                # Words that a note has to hold
    rows: int = 60
    late: tuple[str, ...] = ()                 # Inputs that may be known only after the grade
    said: dict = field(default_factory=dict)   # Column -> words that the draft has to say of it
    left: tuple[int, ...] = ()                 # Rows of the file, below the header, that are no student


def table(grades, extra=None, target="Grade", separator=",", rows=60, first="StudentNo"):
    "Text of a table: a number, hours, absences and more columns, none of which follows from the grade"
    draw = random.Random(len(grades) + rows)
    columns = {first: [str(number) for number in range(1001, 1001 + rows)],
               "Hours": [str(draw.randint(0, 40)) for _ in range(rows)], "Absences": [str(draw.randint(0, 30)) for _ in range(rows)]}
    columns |= {name: [cells[row % len(cells)] for row in range(rows)] for name, cells in (extra or {}).items()}
    columns[target] = [list(grades)[row*7 % len(grades)] if len(grades) % 7 else grades[row % len(grades)] for row in range(rows)]
    quoted = lambda cell: f'"{cell}"' if separator in cell else cell
    return "\n".join(separator.join(map(quoted, row)) for row in [list(columns), *zip(*columns.values(), strict=True)]) + "\n"


SCALES = {  # Name -> best to worst > how many of the last need help; with a name of the column where it matters
    "denmark": "12 > 10 > 7 > 4 > 2 > 0 > -3 : 2", "norway_letters": "A > B > C > D > E > F : 1",
    "portugal_words": "muito bom > bom > suficiente > insuficiente : 1", "spain": "sobresaliente > notable > aprobado > suspenso : 1",
    "russia_words": "отлично > хорошо > удовлетворительно > неудовлетворительно : 1",
    "poland_words": "celujący > bardzo dobry > dobry > dostateczny > dopuszczający > niedostateczny : 1",
    "czech_words": "výborný > chvalitebný > dobrý > dostatečný > nedostatečný : 1",
    "honours": "First > 2:1 > 2:2 > Third > Fail : 1", "btec": "D* > D > M > P > U : 1", "us_status": "A > B > C > D > F > I > W : 3",
    "us_pass": "P > NP : 1", "us_credit": "CR > NC : 1", "satisfactory": "S > U : 1", "plus_minus": "A+ > A > A- > B+ > B > B- > C > D > F : 1",
    "china": "优 > 良 > 中 > 差 : 1", "china_words": "优秀 > 良好 > 中等 > 及格 > 不及格 : 1", "japan_letters": "S > A > B > C > D : 1",
    "japan_words": "秀 > 優 > 良 > 可 > 不可 : 1", "korea": "A+ > A0 > B+ > B0 > C+ > C0 > D+ > D0 > F : 1",
    "korea_words": "수 > 우 > 미 > 양 > 가 : 1", "france": "très bien > bien > assez bien > passable > insuffisant : 1",
    "italy_words": "ottimo > distinto > buono > sufficiente > insufficiente : 1",
    "turkey": "AA > BA > BB > CB > CC > DC > DD > FD > FF : 2", "sweden": "MVG > VG > G > IG : 1",
    "exceeds": "Exceeds > Meets > Approaching > Below Expectations : 1", "quality": "Excellent > Good > Satisfactory > Poor : 1",
    "pass_fail": "Pass > Fail : 1", "dutch_words": "uitmuntend > goed > voldoende > onvoldoende : 1",
    "arabic": "ممتاز > جيد جدا > جيد > مقبول > راسب : 1", "ireland": "H1 > H2 > H3 > H4 > H5 > H6 > H7 > H8 : 1",
    "Risk level": "Low > Medium > High : 1", "Dropout": "no > yes : 1", "Attrition": "0 > 1 : 1", "Withdrawn": "No > Yes : 1",
    "Passed": "yes > no : 1", "Performance": "High > Medium > Low : 1", "sri_lanka": "A > B > C > S > W : 1",
    "CEFR level": "C1 > B2 > B1 > A2 > A1 : 1", "honors": "H > HP > P > F : 1", "honors_words": "Honors > High Pass > Pass > Fail : 1",
    "brazil_letters": "MB > B > R > I : 1", "germany_signs": "1 > 1- > 2+ > 2 > 2- > 3+ > 3 > 4 > 5 : 1",
    "Risk score": "1 > 2 > 3 > 4 > 5 > 6 > 7 > 8 > 9 > 10 : 3", "Class rank": "1 > 2 > 3 > 4 > 5 > 6 > 7 > 8 > 9 > 10 > 11 : 3"}
ASKED = {"one_to_five": "1 2 3 4 5", "one_to_six": "1 2 3 4 5 6", "russia": "2 3 4 5", "zero_to_seven": "0 1 2 3 4 5 6 7", "ib": "1 2 3 4 5 6 7",
         "half_marks": "1.0 1.5 2.0 2.5 3.0 4.0 5.0", "species": "setosa versicolor virginica", "levels": "High Medium Low", "yes_no": "yes no",
         "zero_one": "0 1", "unknown_word": "A B C Zonk", "poland": "1 2 3- 3+ 4 5 6", "half_steps": "1 1.5 2 2.5 3 3.5 4 5", "ten": "1 2 3 4 5 6 7 8 9 10",
         "from_zero": "0 1 2 3 4 5 6 7 8 9 10 11", "O_alone": "A B C D E O F", "merit_or_credit": "Distinction Merit Credit Pass Fail",
         "roman": "I II III IV", "pass_among_letters": "A B C D F P", "X_among_letters": "A B C D X", "S_and_F": "S A B C F",
         "letters_or_NA": "E M A NA", "dash": "A B C D -"}
NUMBERS = {  # How 60 numbers are written, and the first of them
    "arabic": (["٨٥٫٥", "٧٠٫٢٥", "٩"], 85.5), "persian": (["۸۵", "۷۰", "۹"], 85),
    "apostrophe": (["1'020", "950", "2'310.5", "12"], 1020), "thin_space": (["1\u202f020", "950", "2\u202f310", "12"], 1020),
    "lakh": (["1,02,000", "2,000", "1,950", "300"], 102000), "comma": (["12,5", "7,25", "8", "30,1"], 12.5),
    "german": (["1.020,5", "950,25", "12"], 1020.5), "thousands": (["1,020", "910", "870", "79"], 1020),
    "percent": (["85 %", "85.5%", "91 %", "7 %"], 85), "fraction": (["12.3/20", "19.5/20", "8/20", "11/20"], 12.3),
    "unit": (["12 h", "7.5 h", "30 h", "9 h"], 12), "currency": (["$1,200.50", "$300.00", "$12.75", "$99.10"], 1200.5),
    "euro": (["12,50 €", "7,25 €", "8,00 €"], 12.5), "minus": (["−3.5", "7.25", "8.5"], -3.5), "fullwidth": (["１２", "３４", "７"], 12)}
BESIDE = {  # Numbers with something beside them; the first of them, and what the draft has to say
    "star": (["52*", "48", "61"], 52, "'*' beside a number left out (20 cells)"), "dagger": (["52†", "48", "61", "70"], 52, "(15 cells)"),
    "remark": (["52 (late)", "48", "61"], 52, "'(late)' beside"), "star in front": (["*52", "48", "61"], 52, "(20 cells)"),
    "about": (["~52", "48", "61"], 52, "'~'"), "in doubt": (["52?", "48", "61"], 52, "'?'"), "raised digit": (["52¹", "48", "61"], 52, "'¹'"),
    "letter": (["52 L", "48", "61"], 52, "'L' beside"), "two letters": (["52 L", "48", "61", "44E", "50"], 52, "(24 cells)"),
    "percent and star": (["85 %*", "90 %", "7 %"], 85, "unit %"), "spans": (["1:30", "2h 30m", "90 min", "45 min"], 90, "unit min"),
    "spans of two units": (["1.5 h", "90 min", "20 min"], 90, "unit min"), "French hours": (["1h30", "2h", "0h45"], 90, "unit min"),
    "French hours with blanks": (["1 h 30", "2h 05", "3 h"], 90, "unit min"),
    "minutes and seconds": (["12 mins 30 secs", "9 mins 6 secs"], 12.5, "unit min"), "days and hours": (["1 day 2 hours", "3 days 4 hours"], 1560, "unit min")}
AUDIT = ["Gender", "Género", "Geschlecht", "Sexe", "Genere", "Kjønn", "Kön", "Płeć", "Pohlaví", "Пол", "性别", "性別", "성별", "Cinsiyet", "Nacionalidad",
         "Staatsangehörigkeit", "Estado civil", "État civil", "MaritalStatus", "Behinderung", "is_female", "White",
                    "Minority student", "Native language", "age", "Gndr", "Jns Kelamin", "SPED", "504 plan", "SEND",
         "Chronic illness", "LEP", "DaZ", "Country of origin", "Tribe", "Naturalidade", "Quota", "FRL", "Econ disadv", "IMD_band", "Looked after", "Zip"]
PEOPLE = {"P1": "M F", "P2": "Mr Ms", "P3": "Herr Frau", "P4": "he/him she/her they/them", "P5": "SC ST OBC GEN", "P6": "Male Female", "P7": "Mme M."}
PLAIN = ["Mid", "Paid", "Covid", "Grid", "Hybrid", "Avoid", "Bid", "Rapid", "Solid", "Black board", "Language", "Average hours", "Stage", "Message"]
IDS = {"Matrikelnummer": "30{}7", "Matrícula": "A{}", "N° étudiant": "7{}1", "学号": "2024{}", "학번": "2023{}", "Student Number": "2025{}", "Roll No": "{}",
       "SIS User ID": "u{}", "student_id": "{}.0", "UPN": "H{}X", "Öğrenci numarası": "{}", "Номер студента": "{}"}
DATES = {"iso": "2024-03-{:02}", "day_first": "{}/09/2024", "month_first": "9/{}/24", "points": "{}.9.2024",
         "words": "{} Sep 2024", "time": "2024-03-{:02}T10:00:00Z",
         "weekday": "Mon, {} Mar 2024", "weekday before iso": "Fri 2024-03-{:02}", "compact": "202403{:02}",
         "serial": "455{:02}", "unix": "17000000{:02}"}
LETTERS = {"latin": ("cp1252", "Förderung"), "mac": ("mac_roman", "Förderung é à ü"), "polish": ("cp1250", "Wyróżnienie żółć łąka"),
           "utf16": ("utf-16", "Förderung"), "sjis": ("cp932", "学生の成績を表にしたもの"), "gbk": ("gb18030", "学生的学习成绩和出勤"),
           "russian": ("cp1251", "Количество пропусков занятий"), "russian dos": ("cp866", "Пропуски"), "russian koi8": ("koi8_r", "Пропуски"),
           "hebrew": ("cp1255", "היעדרויות"), "arabic": ("cp1256", "الغياب"), "greek": ("cp1253", "Απουσίες"), "thai": ("cp874", "ขาดเรียน"),
           "vietnamese": ("cp1258", "Sô\u0301 buô\u0309i vă\u0301ng"), "big5": ("big5", "缺席次數"), "korean": ("cp949", "결석 일수"),
           "czech dos": ("cp852", "Známky z češtiny"), "turkish": ("cp1254", "Devamsızlık günü"), "lithuanian": ("cp1257", "Praleista pamokų, žymė")}


def graded(name, letters="ABCDF", more=None, first="StudentNo", **right):
    "A case of sixty students with letters as grades, and more columns"
    return Case(name, table(letters, more, first=first).encode(), order=tuple(letters), **right)


def build():
    "All cases"
    letters = "ABCDF"
    for name, text in SCALES.items():
        grades, risk = text.split(" : ")
        order = grades.split(" > ")
        target = name if name[0].isupper() else "Grade"
        yield Case(f"scale {name}", table(order, target=target).encode(), target, order=tuple(order), risk=tuple(order[-int(risk):]))
    for name, grades in ASKED.items(): yield Case(f"ask {name}", table(grades.split(), target="Category").encode(), "Category")
    for name, (cells, first) in NUMBERS.items():
        text = table(letters, {"Value": spread(cells)}, separator=";")
        yield Case(f"number {name}", text.encode(), order=tuple(letters), roles={"Value": "numeric"}, reads={"Value": first})
    for name, (cells, first, said) in BESIDE.items():
        more = [cell for _ in range(60) for cell in cells][:60]
        other = [re.sub(r"\d\d?(?=\D*$)", str(10 + row*7 % 50), cell) for row, cell in enumerate(more)]
        more[len(cells):] = other[len(cells):]
        yield graded(f"beside a number: {name}", more={"Quiz": more}, roles={"Quiz": "numeric"}, reads={"Quiz": first}, said={"Quiz": said})
    plain = [*map(str, range(40, 59))]
    for name, cells in {"below": ["<5", *plain], "above": [*plain, ">90"], "or more": [*plain, "90+"]}.items():
        yield graded(f"bound {name}", more={"Quiz": cells*3}, roles={"Quiz": "numeric"}, said={"Quiz": "a row with it is refused"})
    mixed = [f"{row % 20}/20" if row % 2 else f"{row % 20*5} %" for row in range(60)]
    yield graded("parts beside percent", more={"Quiz": mixed}, roles={"Quiz": "ignored"}, said={"Quiz": "of another size"})
    for sign in "dhm": yield graded(f"classes with {sign}", more={"Klasse": [f"{5 + row % 4}{sign}" for row in range(60)]}, roles={"Klasse": "category"})
    yield graded("few hours", more={"Help": [f"{1 + row % 4} h" for row in range(60)]}, roles={"Help": "numeric"}, said={"Help": "unit h"})
    for name, cells in {"colon": "{}:{:02}", "clock": "0{}:{:02}"}.items():
        more = [cells.format(row % 9, row*7 % 60) for row in range(60)]
        yield graded(f"open span {name}", more={"Time on task": more}, roles={"Time on task": "ignored"}, said={"Time on task": "minutes and seconds"})
    codes = ["1", "2", "2", "1", "2"]*3 + ["1"]
    marks = [str(number*13 % 97) for number in range(60)]
    for name in AUDIT: yield graded(f"audit {name}", more={name: codes}, roles={name: "audit"})
    for name, words in PEOPLE.items(): yield graded(f"people {words}", more={name: words.split()*3 + words.split()[:1]}, roles={name: "audit"})
    yield graded("no people", more={"Way": list("AFAAFBD"), "Prior": list("PFP")}, roles={"Way": "feature", "Prior": "feature"})
    for name in ("No.", "S.No", "Pos"):
        yield graded(f"counter {name}", more={name: [str(row % 30 + 1) for row in range(60)]}, roles={name: "ignored"})
        yield graded(f"counter once {name}", more={name: [str(row + 1) for row in range(60)]}, roles={name: "ignored"})
    for name in PLAIN: yield graded(f"plain {name}", more={name: marks}, roles={name: "feature"})
    for name, rooms in {"Room": "1E1 2E10 1e3 2E1", "Class": "7E1 7E2 10E1"}.items():
        yield graded(f"no power of ten {name}", more={name: [room for room in rooms.split() for _ in "ab"]}, roles={name: "category"})
    for name, text in {"Quiz": "{}-Mar", "Test mark": "2026-05-{:02} 00:00:00"}.items():
        yield graded(f"marks as dates {name}", more={name: [text.format(1 + row % 12) for row in range(60)]}, roles={name: "ignored"})
    for name, text in IDS.items():
        yield graded(f"id {name}", more={name: [text.format(1000 + 7*row) for row in range(60)]}, first="Quiz", roles={name: "id"})
        yield graded(f"id twice {name}", more={name: [text.format(1000 + 7*(row//2)) for row in range(60)]}, first="Quiz", roles={name: "id"})
    yield graded("id cut off", more={"StudentID": ["2.02301E+11"]}, first="Quiz", roles={"StudentID": "ignored"})
    for name, text in DATES.items():
        yield graded(f"date {name}", more={"Submitted on": [text.format(1 + row % 12) for row in range(60)]}, roles={"Submitted on": "ignored"})
    for name, text in {"School code": "{}", "Ward": "0{}"}.items():
        yield graded(f"many codes {name}", more={name: [text.format(1031 + 97*(row % 40)) for row in range(60)]}, roles={name: "ignored"})
    yield graded("words of absence", more={"Test": [["absent", "AB", "excused", "n/s"][row % 4] if row % 5 == 2 else mark for row, mark in enumerate(marks)]},
                 roles={"Test": "numeric"})
    yield graded("zip", more={"Postcode": ["01277", "99084", "04109"]}, roles={"Postcode": "audit"})
    yield from afterwards(letters)
    yield from layouts(letters)
    for name, (encoding, word) in LETTERS.items():
        yield Case(f"letters {name}", table(letters, {word: marks}).encode(encoding), order=tuple(letters),
                   roles={word: "numeric"}, notes=() if encoding == "utf-16" else ("not UTF-8",))


def spread(cells):
    "Sixty different cells of the same make: their last digit before the decimals changes"
    draw = random.Random(5)
    digits = [place for place, sign in enumerate(cells[1]) if sign.isdigit()]
    made = list(cells)
    while len(made) < 60:
        cell = list(cells[1])
        for place in digits[:2]: cell[place] = str(draw.randint(1, 9))
        made.append("".join(cell) if digits else cells[len(made) % len(cells)])
    return made


def afterwards(letters):
    "Columns that are known only once the grade is"
    outcomes = {"Decision": ["Promoted"]*3 + ["Resit"]*2, "Passed": ["yes"]*4 + ["no"],
               "Versetzt": ["ja"]*4 + ["nein"], "Outcome": ["Honours"] + ["Pass"]*3 + ["Fail"]}
    for name, values in outcomes.items():
        text = table([f"{letter},{value}" for letter, value in zip(letters, values, strict=True)])
        yield Case(f"afterwards {name}", with_names(text, name), order=tuple(letters), roles={name: "ignored"})
    scores = {"Course total (%)": "{} %", "GPA of the term": "{}.5", "Current Score": "{}", "Class rank": "-{}"}
    for name, text in scores.items():
        pairs = [f"{letter},{text.format(90 - 10*place - row)}" for row in range(8) for place, letter in enumerate(letters)]
        yield Case(f"afterwards {name}", with_names(table(pairs, rows=120), name), order=tuple(letters), roles={name: ("score", "ignored")}, rows=120)


    said = {"Forecast": "ABCDF", "Predicted level": "12356", "Tutor": ["very good", "good", "fair", "poor", "bad"]}
    grades = [letters[row*7 % 5] for row in range(60)]
    for name, words in said.items():
        cells = [words[letters.index(grade) if row % 9 else row % 5] for row, grade in enumerate(grades)]
        yield graded(f"nearly {name}", letters, more={name: cells}, roles={name: "ignored"}, late=(name,))
    ranks = sorted(range(60), key=lambda row: (letters.index(grades[row]) if row % 12 else row % 5, row))
    yield graded("nearly Place", letters, more={"Place": [str(ranks.index(row) + 1) for row in range(60)]}, late=("Place",))


def with_names(text, name):
    "A table whose grade cells hold a grade and a value: two columns of it"
    return text.replace('"', "").replace(",Grade", f",Grade,{name}").encode()


def layouts(letters):
    "Where the table is in the file"
    plain = table(letters)
    order = tuple(letters)
    lines = plain.splitlines()
    semicolons = table(letters, separator=";")
    yield Case("sep line", ("sep=;\r\n" + semicolons).encode(), order=order)
    yield Case("title", ("Class 7B\n\n" + plain).encode(), order=order, notes=("row 3 is the header",))
    yield Case("title and date", ("Gradebook export,,,\nTerm 2 2024,,,\n" + plain).encode(), order=order, notes=("row 3 is the header",))
    yield Case("two header rows", (",Behaviour,,Marks\n" + plain).encode(), order=order, notes=("row 2 is the header",))
    twice = ",Quiz one,Quiz two,End\n" + plain.replace("Hours,Absences", "Score,Score")
    yield Case("two header rows, names twice", twice.encode(), "End Grade", order=order,
               roles={"Quiz one Score": "numeric", "Quiz two Score": "numeric"}, notes=("both header",))
    for name, foot in {"average": "Class average,21.5,14.2,", "total": "Total,900,800,", "german": "Durchschnitt,12.5,3.1,", "count": "60 students,,,",
                       "made by": "\nExported by MySchool on 1 May,,,"}.items():
        yield Case(f"footer {name}", (plain + foot + "\n").encode(), order=order, notes=("no student",),
                   left=(63 if name == "made by" else 62,))
    signs = {"line break": ('"Hours\nworked"', "Hours worked"), "blanks of a page": ("Hours\u00a0\u202fworked ", "Hours worked"),
             "star": ("Hours *", "Hours"), "number of a note": ("Hours¹", "Hours"), "dagger": ("†Hours", "Hours"), "tab": ("Hours\tworked", "Hours worked")}
    for name, (written, right) in signs.items():
        yield Case(f"column name with {name}", plain.replace("Hours", written, 1).encode(), order=order, roles={right: "numeric"}, notes=("names of columns",))
    for word, cells in {"Pass rate": ",,80%", "Klassenschnitt": "12.5,3.1,", "Átlag": "12.5,3.1,", "Std. Dev.": "12,8,"}.items():
        yield Case(f"footer {word}", (plain + f"{word},{cells}\n").encode(), order=order, left=(62,))
    for word, cells in {"Weight": "20%,30%,50%", "Gewichtung": "20%,30%,50%", "Maximale Punktzahl": "40,30,", "Barème": "40,30,", "满分": "40,30,"}.items():
        yield Case(f"below the header {word}", "\n".join([lines[0], f"{word},{cells}", *lines[1:], ""]).encode(), order=order, left=(2,))
    for name, row in {"types": "int,int64,float,str", "the header again": lines[0]}.items():
        yield Case(f"below the header: {name}", "\n".join([lines[0], row, *lines[1:], ""]).encode(), order=order, left=(2,))
    counted = [f",{lines[0]}", *(f"{row},{line}" for row, line in enumerate(lines[1:]))]
    yield Case("index column", "\n".join(counted).encode(), order=order, notes=("counts the rows",))
    yield Case("old mac", plain.replace("\n", "\r").encode(), order=order)
    yield Case("tabs", table(letters, separator="\t").encode(), order=order)
    yield Case("pipes", table(letters, separator="|").encode(), order=order)
    yield Case("mark", codecs.BOM_UTF8 + semicolons.encode(), order=order)
    called = ("not what its name says",)
    cells = [line.split(",") for line in lines]
    page = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    book = "".join("<Row>" + "".join(f"<Cell><Data>{cell}</Data></Cell>" for cell in row) + "</Row>" for row in cells)
    for name, content in {"text": plain.encode(), "tabs in utf-16": table(letters, separator="\t").encode("utf-16"),
                          "web page": f"<html><body><table><tr><td>Class 7B</td></tr>{page}</table></body></html>".encode(),
                          "xml": f'<?xml version="1.0"?><Workbook><Worksheet ss:Name="7B"><Table>{book}</Table></Worksheet></Workbook>'.encode()}.items():
        yield Case(f"{name} called a workbook", content, kind=".xls", order=order, notes=called)
    yield Case("web page called a text", f"<table>{page}</table>".encode(), order=order, notes=called)
    canvas = {"Student": [f"Doe, Jane {chr(65 + row % 26)}" for row in range(60)], "ID": [str(9000 + row*3) for row in range(60)], "Section": ["7B", "7C"]}
    possible = table(letters, canvas, "Final Grade").splitlines()
    yield Case("canvas", "\n".join([possible[0], "    Points Possible,10,10,,,,(read only)", *possible[1:]]).encode(), "Final Grade", order=order,
               roles={"Student": "ignored"}, notes=("points that are possible",), left=(2,))
    posted = [possible[0], ",,,,Manual Posting,,", "    Points Possible,,10,10,,,(read only)", *possible[1:], '"Student, Test",,,,,7B,']
    yield Case("canvas with a test student", "\n".join(posted).encode(), "Final Grade", order=order, roles={"Hours": "numeric"},
               notes=("'Manual Posting'", "points that are possible", "'Student, Test'"), left=(2, 3, 64))
    names = [f"Doe{chr(97 + row % 26)}" for row in range(60)]
    given = table(letters, {"Essay 1": [str(mark) for mark in range(20, 35)]}, first="Last Name").splitlines()
    given[1:] = [line.replace(line.split(",")[0], name, 1) for line, name in zip(given[1:], names, strict=True)]
    above = ['Date,,,"May 3, 2026",', "Points,,,20,", "Class Average,14,9,12.1,71.3%"]
    yield Case("classroom", "\n".join([given[0], *above, *given[1:]]).encode(), order=order, roles={"Essay 1": "numeric"},
               notes=("'Date'", "points that are possible", "'Class Average'"), left=(2, 3, 4))
    yield Case("header again", "\n".join([*lines[:30], lines[0], *lines[30:], "Total,900,800,"]).encode(), order=order, left=(31, 63))
    moodle = {"First name": ["Ann", "Bo", "Cy"], "Email address": [f"a{row}@school.org" for row in range(60)],
              "Quiz: one (Real)": [f"{row % 17}.50" for row in range(60)], "Last downloaded from this course": ["1714550000"]}
    yield graded("moodle", more=moodle, roles={"First name": "ignored", "Email address": "ignored", "Quiz: one (Real)": "numeric"})
    roster = {"sourcedId": [f"f3{row:04}-ab" for row in range(60)], "givenName": ["Ann", "Bo"], "dateLastModified": ["2024-05-01T00:00:00.000Z"]}
    yield graded("oneroster", more=roster, first="Quiz", roles={"sourcedId": "id", "givenName": "ignored", "dateLastModified": "ignored"})
