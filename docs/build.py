"""Build the documentation: copy pages and notebooks, write the reference from the code, call Sphinx."""
import argparse
import ast
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tokenize
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
BUILD = DOCS/"_build"
SOURCE = BUILD/"source"
SITE = BUILD/"html"
FOLDERS = {"lessons": "nbs/lib", "stages": "nbs/pipeline", "studies": "nbs/studies"}  # Of the site: of the checkout


def table(head, rows):
    "A Markdown table; a bar in a cell is written so that it stays in it"
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"]*len(head), *cells]) + "\n"


def code(value):
    "A value as code; nothing where there is none"
    return f"`{value}`" if str(value) else ""


def comments(source):
    "Line -> comment of a piece of Python"
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string[1:].strip() for token in tokens if token.type == tokenize.COMMENT}


# The reference, page by page.

def fields_of(part):
    "Rows of a schema's part: field, type, default, meaning from the comment beside it"
    source = textwrap.dedent(inspect.getsource(part))
    said = comments(source)
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign) or node.target.id == "place": continue
        text = ast.unparse(node.value) if node.value else "required"
        factory = re.fullmatch(r"Field\(default_factory=(\w+)\)", text)
        default = {"dict": "{}", "list": "[]"}.get(factory[1], "") if factory else text
        meaning = said.get(node.lineno) or said[node.lineno - 1]
        yield [code(node.target.id), code(ast.unparse(node.annotation)), code(default.strip("'\"")), meaning]


def schema_page():
    "Every word that a schema file may hold"
    from gradeclass import schema
    parts = {"The file": schema.Schema, "A column": schema.Column, "The grades": schema.GradeScale,
             "The source": schema.Source, "A synthetic table": schema.Synthesis,
             "A column of a synthetic table": schema.Effect}
    text = ("# Schema file\n\nA YAML file that says what a table of students holds. Words that it does not know and "
            "contradictions are refused, each with one sentence. `gradeclass check TABLE -o mine.yaml` drafts one.\n")
    for title, part in parts.items():
        text += f"\n## {title}\n\n{part.__doc__}.\n\n" + table(["word", "type", "default", "meaning"], fields_of(part))
    example = (ROOT/"gradeclass"/"schemas"/"students.yaml").read_text(encoding="utf-8")
    return text + f"\n## An example\n\nThe schema `students`, as it is shipped:\n\n```yaml\n{example}```\n"


def parameters_page():
    "What every stage can be told with -p name=value"
    from gradeclass.pipeline.stages import STAGES, choices, is_folder, read_cells, read_parameters
    text = ("# Parameters of the stages\n\nGiven as `gradeclass run -p name=value`, or to papermill. A name that "
            "several stages have is given to all of them.\n")
    for stage in STAGES.values():
        cell = next(cell["source"] for cell in read_cells(stage.path) if "parameters" in cell["tags"])
        said = comments(cell)
        meaning = {node.targets[0].id: said[node.lineno] for node in ast.parse(cell).body}
        rows = [[code(name), code(json.dumps(default)), meaning[name], ", ".join(map(code, choices(name)))]
                for name, default in read_parameters(stage.path).items() if not is_folder(name)]
        text += (f"\n## {stage.name}\n\nThe notebook is {{doc}}`/stages/{stage.path.stem}`.\n\n"
                 + table(["parameter", "default", "meaning", "values"], rows))
    return text


KINDS = {"boolean": "", "str": "text", "int": "whole number", "int range": "whole number", "float": "number",
         "float range": "number"}  # What Typer calls a type -> what a person does


def command_text(command, name, level):
    "A command with its arguments and options, and the commands under it"
    text = f"\n{'#'*level} {name}\n\n{command.help or ''}\n"
    shown = [one for one in command.params if one.name != "help"]
    rows = []
    for one in shown:
        is_argument = one.param_type_name == "argument"
        flags = [one.name.upper()] if is_argument else [*one.opts, *one.secondary_opts]
        default = "" if one.default in (None, False, "", [], ()) or callable(one.default) else one.default
        default = "required" if one.required else "yes" if default is True else default
        rows.append([", ".join(map(code, flags)), KINDS.get(one.type.name, one.type.name), code(default), getattr(one, "help", "") or ""])
    if rows: text += "\n" + table(["argument or option", "type", "default", "meaning"], rows)
    for below, part in getattr(command, "commands", {}).items():
        text += command_text(part, f"{name} {below}", level + 1)
    return text


def commands_page():
    "The command line, as its parser has it"
    import typer

    from gradeclass.cli.main import app
    intro = ("Mistakes end a command with one sentence and exit code 1, a wrong option with 2. "
             "`gradeclass COMMAND --help` prints the same.")
    main = typer.main.get_command(app)
    text = "".join(command_text(part, f"gradeclass {name}", 2) for name, part in main.commands.items())
    return f"# Command line\n\n{main.help}\n\n{intro}\n{text}"


def settings_page():
    "Every environment variable"
    from gradeclass.service.settings import service_markdown
    from gradeclass.settings import settings_markdown
    return ("# Settings\n\nSettings come from the environment, or else from a file `.env` in the home folder with a "
            "line `NAME=value` for each. A wrong value or a slip in a name is refused with one sentence.\n\n"
            "## Of the project\n\n"
            f"{settings_markdown()}\n\n## Of the service\n\n{service_markdown()}\n")


def openapi():
    "The OpenAPI document of a service without a model of its own"
    from gradeclass.service.app import make_app
    from gradeclass.service.settings import load_service_settings
    with tempfile.TemporaryDirectory() as home:
        os.environ["GRADECLASS_OUTPUTS"] = home
        app = make_app(load_service_settings())
        while not hasattr(app, "openapi"): app = app.app
        try: return app.openapi()
        finally: del os.environ["GRADECLASS_OUTPUTS"]


def reference_name(schema):
    "The name of what a body is, linked to its table"
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema: return " or ".join(reference_name(one) for one in schema["anyOf"])
    if schema.get("type") == "array": return f"list of {reference_name(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def http_page():
    "Every address of the service"
    document = openapi()
    text = ("# HTTP\n\nWhat `gradeclass serve` answers, from its OpenAPI document; a running service shows it at "
            "`/docs`, with the fields of its own model, and gives it at `/openapi.json`.\n\n## Addresses\n")
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            text += f"\n### {method.upper()} {path}\n\n**{said['summary']}.** {said.get('description', '')}\n"
            bodies = {"request": said.get("requestBody", {}).get("content", {}),
                      "answer": next((one.get("content", {}) for status, one in said["responses"].items()
                                      if status.startswith("2")), {})}
            rows = [["parameter", code(one["name"]), reference_name(one["schema"]), one.get("description", "")]
                    for one in said.get("parameters", [])]
            rows += [[what, ", ".join(map(code, content)), reference_name([*content.values()][0].get("schema", {})), ""]
                     for what, content in bodies.items() if content]
            if rows: text += "\n" + table(["part", "name", "type", "meaning"], rows)
    text += "\n## Bodies\n"
    for name, body in document["components"]["schemas"].items():
        needed = body.get("required", [])
        rows = [[code(field), reference_name(one), "yes" if field in needed else "", one.get("description", "")]
                for field, one in body.get("properties", {}).items()]
        text += f"\n### {name}\n\n{body.get('description', '')}\n\n"
        text += table(["field", "type", "required", "meaning"], rows)
    return text


def described(name, thing, level):
    "A function or class with the comment of each parameter"
    from fastcore.docments import docments, empty
    said = docments(thing, full=True, returns=True)
    if inspect.isclass(thing) and thing.__init__ is object.__init__: said = {}
    text = f"\n{'#'*level} {name}\n\n{(inspect.getdoc(thing) or '').strip()}\n"
    rows = []
    for one, about in said.items():
        if one in ("self", "cls") or about.anno is empty and about.docment is None and one == "return": continue
        kind = "" if about.anno is empty else inspect.formatannotation(about.anno).replace("gradeclass.", "")
        default = "" if one == "return" or about.default is empty else repr(about.default)
        rows.append([code("returns" if one == "return" else one), code(kind), code(default[:60]), about.docment or ""])
    return text + ("\n" + table(["parameter", "type", "default", "meaning"], rows) if rows else "")


def public_text(name, thing, level):
    "What is public of a name: a constant's kind, a function, a class with its methods"
    if not callable(thing): return f"\n{'#'*level} {name}\n\nA constant: {type(thing).__name__}.\n"
    text = described(name, thing, level)
    if not inspect.isclass(thing): return text
    for below, part in vars(thing).items():
        plain = part.__func__ if isinstance(part, classmethod | staticmethod) else part
        if not below.startswith("_") and inspect.isfunction(plain):
            text += described(f"{name}.{below}", plain, level + 1)
    return text


def api_pages():
    "The names that we promise to keep, then every module: file name -> page"
    import gradeclass
    promised = "".join(public_text(name, getattr(gradeclass, name), 2) for name in gradeclass.__all__ if name[0] != "_")
    intro = ("# Python\n\n`from gradeclass import NAME`. These names are the API that we promise to keep. What the "
             "modules export besides is in the lists at the end, and may change.\n")
    modules = {}
    for path in sorted((ROOT/"gradeclass").rglob("*.py")):
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name.startswith("_") or ".cli." in dotted: continue
        module = import_module(dotted)
        package = dotted.split(".")[1] if dotted.count(".") > 1 else "gradeclass"
        text = "".join(public_text(name, getattr(module, name), 3) for name in getattr(module, "__all__", []))
        modules.setdefault(package, []).append(f"\n## {dotted}\n\n{module.__doc__}\n{text}")
    pages = {f"api/{name}.md": f"# {name}\n{''.join(texts)}" for name, texts in modules.items()}
    tree = "\n```{toctree}\n:maxdepth: 1\n\n" + "\n".join(f"api/{name}" for name in modules) + "\n```\n"
    return {"python.md": intro + promised + "\n## Module by module\n" + tree} | pages


def reference():
    "File name -> page, of everything that is made from the code"
    return {"schema.md": schema_page(), "parameters.md": parameters_page(), "commands.md": commands_page(),
            "settings.md": settings_page(), "http.md": http_page(), **api_pages(),
            "changelog.md": (ROOT/"CHANGELOG.md").read_text(encoding="utf-8")}


# The notebooks, as they are kept.

def shown(cell):
    "Whether a reader wants to see a cell"
    return not re.match(r"#\|\s*(hide\b|default_exp)", cell["source"]) and "nbdev_export" not in cell["source"]


def copy_notebook(path, target):
    "A notebook without hidden cells, nbdev's marks and what would be fetched from elsewhere"
    book = json.loads(path.read_text(encoding="utf-8"))
    for cell in book["cells"]: cell["source"] = "".join(cell["source"])
    book["cells"] = [cell for cell in book["cells"] if shown(cell)]
    for cell in book["cells"]:
        if cell["cell_type"] == "code": cell["source"] = re.sub(r"^#\|.*\n?", "", cell["source"], flags=re.M)
        for output in cell.get("outputs", []):
            for kind in [kind for kind in output.get("data", {}) if "widget" in kind or "javascript" in kind]:
                del output["data"][kind]
    book["metadata"].pop("widgets", None)
    book["metadata"]["language_info"] = {"name": "python"}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(book), encoding="utf-8")


def copy_notebooks():
    "All notebooks for reading, and for each folder a list in the order of reading"
    for site, folder in FOLDERS.items():
        for path in sorted((ROOT/folder).rglob("*.ipynb")):
            if "_proc" not in path.parts and ".ipynb_checkpoints" not in path.parts:
                copy_notebook(path, SOURCE/site/path.relative_to(ROOT/folder))


def assemble():
    "Write the source of the site"
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(DOCS, SOURCE, ignore=shutil.ignore_patterns("_build", "build.py", "__pycache__"))
    copy_notebooks()
    for name, text in reference().items():
        page = SOURCE/"reference"/name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")


def main():
    "Build the site; a warning is an error"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="Build every page again.")
    options = parser.parse_args()
    assemble()
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "2", *["-E"]*options.fresh]
    done = subprocess.run([*command, str(SOURCE), str(SITE)]).returncode
    if not done: print(f"open {SITE/'index.html'}")
    return done


if __name__ == "__main__":
    sys.exit(main())
