"""What hatchling runs when it builds: turn every `pipeline/**/_*.pyx` into a compiled module, where a machine can.

A compiled module makes the pipeline faster and nothing else: each has a slower way beside it. So a machine without C
compiler gets a line that says so, and an installation that works. PIPELINE_REQUIRE_COMPILED=1 makes it an error.

    python hatch_build.py      # one line if modules are missing in this checkout, nothing otherwise
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from contextlib import chdir
from hashlib import sha256
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
# Of the machine that runs it nothing is assumed (-march=native), and nobody debugs it: the last word wins.
OPTIONS = [] if sys.platform == "win32" else ["-O3", "-g0"]


class CompiledModules(BuildHookInterface):
    """Beside their sources for an editable installation, else into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sources = sources_in(Path(self.root))
        if self.target_name != "wheel" or not sources:
            return
        self.made = tempfile.TemporaryDirectory()
        try:
            modules = compile_all(Path(self.root), sources, Path(self.made.name))
        except Exception as error:
            if os.environ.get("PIPELINE_REQUIRE_COMPILED") == "1":
                raise
            print(complaint(str(error) or type(error).__name__), file=sys.stderr)
            return
        if version == "editable":
            for made, path in modules.items():
                put(made, Path(self.root, path))
        else:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"] |= {str(made): path for made, path in modules.items()}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "made"):
            self.made.cleanup()


def sources_in(root: Path) -> list[Path]:
    """The modules to compile, from the checkout's top."""
    return sorted(path.relative_to(root) for path in root.glob("pipeline/**/_*.pyx"))


def compile_all(root: Path, sources: list[Path], out: Path) -> dict[Path, str]:
    """Compile to below `out`. Returns file made -> where it belongs, from the top. Raises whatever goes wrong."""
    why = obstacle()
    if why:
        raise RuntimeError(why)
    from Cython.Build import cythonize  # not where there is only a look at what is missing
    from setuptools import Distribution, Extension

    modules = [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            define_macros=[("MADE_FROM", f"{digest(root / source.parent)}LL")],
            extra_compile_args=OPTIONS,
        )
        for source in sources
    ]
    with chdir(root):
        made = cythonize(modules, build_dir=str(out / "c"), quiet=True)
        build = Distribution({"name": "pipeline", "ext_modules": made}).get_command_obj("build_ext")
        build.build_lib, build.build_temp = str(out / "lib"), str(out / "o")
        build.ensure_finalized()
        build.run()
    targets = [str(source.with_suffix("")) + SUFFIX for source in sources]
    return {out / "lib" / target: target for target in targets}


def digest(folder: Path) -> int:
    """Of all that the modules of a folder are made from: they know it, and pipeline/events/compiled.py asks them."""
    sources = sorted(path for path in folder.glob("_*") if path.suffix in (".pyx", ".pxi"))
    return int.from_bytes(sha256(b"".join(path.read_bytes() for path in sources)).digest()[:7], "big")


def obstacle() -> str:
    """What a compiler needs and this machine lacks; "" for nothing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if sys.platform == "win32":
        return ""  # setuptools looks for Visual C++ where no PATH leads
    if shutil.which(compiler) is None:
        return f"no C compiler ({compiler})"
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return f"no Python.h for {sys.executable}"
    return ""


def put(made: Path, to: Path) -> None:
    """Replace a file in one step: a running worker keeps the old one."""
    new = to.with_name(to.name + ".new")
    shutil.copy(made, new)
    new.replace(to)


def complaint(why: str) -> str:
    """One line for a person."""
    return (
        f"Compiled modules are not built ({' '.join(why.split())[:200]}): all works, decoding with fastavro "
        "takes several times as long. On Debian: apt-get install gcc libc6-dev python3-dev; then install again "
        "(here: touch hatch_build.py and make)."
    )


def main() -> None:
    root = Path(__file__).resolve().parent
    missing = [str(path) for path in sources_in(root) if not Path(root, str(path.with_suffix("")) + SUFFIX).exists()]
    if missing:
        print(complaint(obstacle() or ", ".join(missing)), file=sys.stderr)


if __name__ == "__main__":
    main()
