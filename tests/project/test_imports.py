"Packages import downwards only: a newcomer can read the project from the bottom, and a change below never needs one above"
import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[2]/"gradeclass"
# Lowest first; those on one line do not know each other.
FLOORS = [
    ["config", "words", "kernels"],
    ["disk", "processes", "settings", "schema"],
    ["plugins"],
    ["logs", "cluster", "data"],
    ["models", "drafting"],
    ["evaluation"],
    ["scoring"],
    ["drift", "registry"],
    ["training", "service"],
    ["pipeline"],
    ["pages"],
    ["cli"],
]
# Inside a floor only these know another of the same floor.
NEIGHBOURS = {("cluster", "logs")}
LARGEST = 500  # Lines of a module
MOST = 16      # Modules of a folder


def read_modules(package):
    "Dotted name -> source of every module; the hand-kept `__init__` files count as their package"
    modules = {}
    for path in sorted(package.rglob("*.py")):
        if path.name == "_modidx.py": continue
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name: modules[name] = path.read_text(encoding="utf-8")
    return modules


def imported(node, module, modules):
    "The modules of the package that an import statement names"
    if isinstance(node, ast.Import):
        return {alias.name.removeprefix("gradeclass.") for alias in node.names if alias.name.startswith("gradeclass.")}
    if not isinstance(node, ast.ImportFrom): return set()
    if node.level:
        base = module.split(".")[:-node.level]
        origin = ".".join([*base, *([node.module] if node.module else [])])
    elif (node.module or "").split(".")[0] == "gradeclass": origin = node.module.removeprefix("gradeclass").lstrip(".")
    else: return set()
    inside = {f"{origin}.{alias.name}".lstrip(".") for alias in node.names} & modules.keys()
    return inside or ({origin} if origin else set())


def find_imports(modules):
    "Module -> modules that it imports, at its top or inside a function"
    found = {}
    for name, source in modules.items():
        nodes = ast.walk(ast.parse(source))
        found[name] = set().union(*(imported(node, name, modules) for node in nodes)) & modules.keys()
    return found


def floor_of(module):
    room = module.split(".")[0]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def climbing(imports):
    "Every import of a higher floor, or of a neighbour"
    wrong = []
    for module, others in imports.items():
        for other in sorted(others):
            here, there = module.split(".")[0], other.split(".")[0]
            if here == there or (here, there) in NEIGHBOURS: continue
            if floor_of(other) >= floor_of(module): wrong.append(f"{module} imports {other}")
    return wrong


def find_circle(imports):
    "One circle of modules, or nothing"
    done = set()
    def visit(module, way):
        if module in way: return [*way[way.index(module):], module]
        if module in done: return []
        for other in sorted(imports[module]):
            if circle := visit(other, [*way, module]): return circle
        done.add(module)
        return []
    return next(filter(None, (visit(module, []) for module in sorted(imports))), [])


def test_packages_import_downwards_only():
    assert not climbing(find_imports(read_modules(PACKAGE)))


def test_no_modules_import_each_other():
    circle = find_circle(find_imports(read_modules(PACKAGE)))
    assert not circle, " imports ".join(circle)


def test_a_circle_and_a_climb_would_be_found():
    "Otherwise the two tests above would prove nothing"
    modules = {"data.files": "from ..models import family",
               "models.family": "def fit():\n    from gradeclass.data.files import read"}
    imports = find_imports(modules)
    assert climbing(imports) == ["data.files imports models.family"]
    assert find_circle(imports) == ["data.files", "models.family", "data.files"]


def test_every_package_has_a_floor():
    rooms = {name.split(".")[0] for name in read_modules(PACKAGE)}
    assert rooms == {room for floor in FLOORS for room in floor}


def test_modules_are_short_and_packages_small():
    modules = read_modules(PACKAGE)
    long = {name: lines for name, source in modules.items() if (lines := len(source.splitlines())) > LARGEST}
    packages = {name.rpartition(".")[0] for name in modules}
    folders = Counter(name.rpartition(".")[0] for name in modules if name not in packages)
    crowded = {folder: count for folder, count in folders.items() if count > MOST}
    assert not long and not crowded, f"{long} {crowded}"


def test_no_name_is_defined_for_two_things_in_one_package():
    "A public name means one thing inside a package"
    seen, twice = {}, []
    for module, source in read_modules(PACKAGE).items():
        room = module.rpartition(".")[0]
        for node in ast.parse(source).body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): continue
            first = seen.setdefault((room, node.name), module)
            if first != module: twice.append(f"{node.name} in {first} and {module}")
    assert not twice
