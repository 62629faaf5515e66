"Send the report of a run by mail"
import argparse
import os
import smtplib
import sys
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

from gradeclass.config import GradeclassError
from gradeclass.pipeline.stages import Stage, StageError

STAGE = Stage("mail", str(Path(__file__).with_name("mail.ipynb")),
              ("prepare", "drift", "train", "evaluate", "register"), ("mail.eml",))
SECURITY = ("starttls", "ssl", "none")


def write_message(report, sentence=""):
    "The report as an attachment; what was decided in the text"
    message = EmailMessage()
    message["Subject"] = "Grade report"
    message["From"] = os.environ.get("MAIL_FROM", "gradeclass@localhost")
    message["To"] = os.environ.get("MAIL_TO", "nobody@localhost")
    message["Message-ID"] = make_msgid(domain="gradeclass.invalid")
    message.set_content(f"The newest grade report is attached. {sentence}".strip())
    message.add_attachment(Path(report).read_bytes(), maintype="text", subtype="html", filename="report.html")
    return message


def connect():
    "A connection to the mail server that the environment names"
    host, security = os.environ["MAIL_HOST"], os.environ.get("MAIL_SECURITY", "starttls")
    if security not in SECURITY: raise StageError(f"MAIL_SECURITY is {security}: write one of {', '.join(SECURITY)}")
    port = os.environ.get("MAIL_PORT", "587")
    if not port.isdecimal(): raise StageError(f"MAIL_PORT is {port}: write a number such as 587")
    server = (smtplib.SMTP_SSL if security == "ssl" else smtplib.SMTP)(host, int(port), timeout=30)
    if security == "starttls": server.starttls()
    if user := os.environ.get("MAIL_USER"): server.login(user, os.environ.get("MAIL_PASSWORD", ""))
    return server


def send_report(report, keep, sentence="", dry_run=False):
    "Write the message into a file and send it, unless no server is named or nothing is to be sent; says which"
    message = write_message(report, sentence)
    Path(keep).write_bytes(bytes(message))
    if dry_run: return "Nothing was sent: this was a dry run."
    if not os.environ.get("MAIL_HOST"): return "Nothing was sent: MAIL_HOST names no mail server."
    if not os.environ.get("MAIL_TO"): raise StageError("MAIL_TO is not set: write who gets the report")
    try:
        with connect() as server: server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise StageError(f"the mail server {os.environ['MAIL_HOST']} did not take the report: {error}") from None
    return f"The report was sent to {message['To']}."


def main():
    "Send one report by hand"
    parser = argparse.ArgumentParser(description="Send a report by mail; MAIL_HOST, MAIL_TO and others say where to.")
    parser.add_argument("report", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="only write the message")
    parser.add_argument("--out", type=Path, default=Path("mail.eml"), help="where the message is written")
    given = parser.parse_args()
    try: print(send_report(given.report, given.out, dry_run=given.dry_run))
    except (GradeclassError, OSError) as error: sys.exit(f"gradeclass-mail: {error}")
