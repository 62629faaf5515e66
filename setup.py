"""Package metadata and extras come from settings.ini; the notebooks and the sample travel inside the wheel."""
from configparser import ConfigParser
from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = {"nbs/pipeline": "notebooks/pipeline", "nbs/app": "notebooks/app", "data/sample": "sample"}


class BuildWithNotebooks(build_py):
    "Copies what the pipeline runs on beside the modules, so that an installed package needs no checkout"

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for source, target in SHIPPED.items():
            if (ROOT / source).is_dir():
                copytree(ROOT / source, Path(self.build_lib, "gradeclass", target), dirs_exist_ok=True,
                         ignore=ignore_patterns(".ipynb_checkpoints", "_proc"))


def read_settings():
    "The settings of the project as a plain mapping"
    parser = ConfigParser(delimiters=["="], interpolation=None)
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return parser["DEFAULT"]


def extras(settings):
    "One extra for each key NAME_requirements"
    suffix = "_requirements"
    return {key.removesuffix(suffix): value.split() for key, value in settings.items() if key.endswith(suffix)}


cfg = read_settings()
setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=cfg["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Education",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        *[f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)],
    ],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=["gradeclass", "gradeclass.*"]),
    package_data={"gradeclass": ["schemas/*.yaml", "templates/*"]},
    install_requires=cfg["requirements"].split(),
    extras_require=extras(cfg),
    entry_points={"console_scripts": cfg["console_scripts"].split(),
                  "nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"],
                  "jupyter_client.kernel_provisioners": ["gradeclass-warm=gradeclass.kernels.provisioner:WarmProvisioner"]},
    cmdclass={"build_py": BuildWithNotebooks},
    zip_safe=False,
)
