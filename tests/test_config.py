"Addresses that are shown never hold a password"
import pytest

from gradeclass.config import hide_password
from gradeclass.data.files import DataError
from gradeclass.data.sources import read_table
from gradeclass.settings import SettingsError, load_settings


@pytest.mark.parametrize(("address", "shown"), [
    ("postgresql://ada:s3cr3t@school/db#students", "postgresql://ada:***@school/db#students"),
    ("postgresql://ada:s3/cr/3t@school/db", "postgresql://ada:***@school/db"),
    ("postgresql://ada:s3:cr:3t@school:5432/db", "postgresql://ada:***@school:5432/db"),
    ("postgresql://ada:s3@cr@3t@school/db", "postgresql://ada:***@school/db"),
    ("postgresql://ada@school:s3cr3t@host/db", "postgresql://ada@school:***@host/db"),
    ("mysql+pymysql://:s3cr3t@school/db", "mysql+pymysql://:***@school/db"),
    ("https://s3cr3t@mlflow.school:5000/x", "https://***@mlflow.school:5000/x"),
    ("mysql://school/db?user=ada&password=s3cr3t#students", "mysql://school/db?user=ada&password=***#students"),
])
def test_password_is_three_stars(address, shown):
    assert hide_password(address) == shown

@pytest.mark.parametrize("plain", [
    "students.csv", "data/raw/ada@school.csv", "store:students@3", "sqlite:////home/ada@school/db.sqlite",
    "postgresql://school:5432/db#students", "postgresql://ada@school/db", "http://localhost:5000",
    "s3://bucket/a.parquet"])
def test_address_without_a_password_stays_as_it_is(plain):
    assert hide_password(plain) == plain

@pytest.mark.parametrize("address", ["postgresqk://ada:s3/cr3t@school/db#students", "oracel://ada:s3@cr3t@school/db"])
def test_no_message_about_a_database_shows_the_password(address):
    with pytest.raises(DataError) as caught: read_table(address)
    assert "cr3t" not in str(caught.value) and "ada:***@school" in str(caught.value)

@pytest.mark.parametrize("address", ["ada:s3cr3t@school", "ada:s3/cr3t@school"])
def test_no_message_about_a_setting_shows_the_password(address):
    with pytest.raises(SettingsError) as caught: load_settings(mlflow_tracking_uri=address)
    assert "cr3t" not in str(caught.value) and "ada:***@school" in str(caught.value)
