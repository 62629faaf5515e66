"""Fail where a notebook is not clean, the package is not what the notebooks export, or the README is not the front page."""
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
WATCHED = ("nbs/**/*.ipynb", "gradeclass/**/*.py")


def contents():
    "The bytes of every notebook and module"
    return {path: path.read_bytes() for pattern in WATCHED for path in ROOT.glob(pattern)
            if ".ipynb_checkpoints" not in path.parts}


def changes(command):
    "Files that a command changes, makes or removes"
    before = contents()
    subprocess.run([command], cwd=ROOT, check=True)
    after = contents()
    return sorted(str(path.relative_to(ROOT)) for path in before.keys() | after.keys()
                  if before.get(path) != after.get(path))


def write_readme():
    "Write README.md from the front-page notebook; name it where that changed it"
    import nbformat
    from nbconvert import MarkdownExporter
    page = nbformat.read(ROOT/"nbs"/"index.ipynb", 4)
    page.metadata["language_info"] = {"name": "python"}
    text = MarkdownExporter().from_notebook_node(page)[0].strip() + "\n"
    readme = ROOT/"README.md"
    if readme.read_text(encoding="utf-8") == text: return []
    readme.write_text(text, encoding="utf-8")
    return ["README.md was not the front page nbs/index.ipynb; it is now: commit it"]


def skipped_cells():
    "Cells that export and do something else too: nbdev_test passes over the whole cell"
    import nbformat
    for path in sorted((ROOT/"nbs").rglob("*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            code = [line for line in cell.source.splitlines() if line.strip() and not line.startswith("#|")]
            if cell.cell_type == "code" and "nbdev_export(" in cell.source and len(code) > 1:
                yield (f"{path.relative_to(ROOT)}, cell {cell.id}: nothing else in a cell that calls nbdev_export, "
                       f"because nbdev_test does not run it")


def main():
    "Run both commands and report"
    advice = {"nbdev_clean": "was not clean; it is now",
              "nbdev_export": "was out of step with the notebooks; it is not any more"}
    found = [f"{path} {words}: commit it" for command, words in advice.items() for path in changes(command)]
    found += [*write_readme(), *skipped_cells()]
    print("\n".join(found) or "notebooks are clean, modules and README are what they export")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
