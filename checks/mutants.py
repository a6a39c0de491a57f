"""Whether the unit tests notice: small changes to pure code, one at a time, and each must turn a test red (docs/testing.md).

    python -m checks.mutants [FILE…]     every change to the files of mutants.toml (all of them, or those named)
    python -m checks.mutants --kinds     the changes that mutants.toml names, each a mistake that somebody could make
    python -m checks.mutants --changed   changes to the files that the last commit touched, or whose tests it touched: a sample

A change is made in the syntax tree and lives in a forked process only: no file is touched. String literals are left alone.
Ends with 1 where fewer than KILLED_MIN are noticed, or one that is not stands without a reason in docs/testing.md.
"""

import ast
import gc
import importlib
import os
import resource
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from checks.mutations import mutations

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "checks" / "mutants.toml"
REASONS = ROOT / "docs" / "testing.md"
KILLED_MIN = 0.95
SAMPLE_MAX = 300  # of `--changed`: on two cores 2 to 4 minutes, as the unit tests take
AT_ONCE = os.cpu_count() or 1
MAY_COMPUTE_S = (
    12  # of CPU, where the slowest file's unit tests take 4: a change that makes a loop endless is noticed too,
)
MAY_HOLD_BYTES = 2 * 1024**3  # and a list
# Pure tests need neither fixtures of ours nor plugins: without them a mutant takes a third of the time.
QUICKLY = ["-x", "-q", "--noconftest", "--assert=plain", "-W", "ignore"]
QUICKLY += [
    word for name in ("cacheprovider", "unraisableexception", "threadexception") for word in ("-p", f"no:{name}")
]


class Mutant(NamedTuple):
    path: str  # of the file, from the root
    name: str  # the line before → the line after
    tree: ast.Module


def every(path: str) -> Iterator[Mutant]:
    """All changes to one file. A tree is valid until the next one is asked for."""
    tree = ast.parse((ROOT / path).read_text())
    for before, after in mutations(tree):
        yield Mutant(path, f"{path}: `{before}` → `{after}`", tree)


def of_changed(tests: dict[str, list[str]]) -> dict[str, Iterable[Mutant]]:
    """Of the files of `tests` that the last commit or the work since touched, or whose unit tests it touched: every n-th
    change, so that there are at most `SAMPLE_MAX` of them together."""
    differing = subprocess.run(["git", "diff", "--name-only", "HEAD~1"], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    touched = set(differing.stdout.split())
    paths = [path for path, concerned in tests.items() if touched & {path, *concerned}]
    total = sum(1 for path in paths for _ in every(path))
    step = -(-total // SAMPLE_MAX)
    return {path: islice(every(path), 0, None, step) for path in paths}


def named(kinds: Sequence[dict[str, str]], paths: Sequence[str]) -> dict[str, list[Mutant]]:
    """By file, the changes that are written down. Each must say what exactly one of the files says, exactly once."""
    texts = {path: (ROOT / path).read_text() for path in paths}
    by_file: dict[str, list[Mutant]] = {}
    for kind in kinds:
        before, after = kind["before"], kind["after"]
        path, *others = [path for path, text in texts.items() for _ in range(text.count(before))] or ["no file"]
        if others or path not in texts:
            raise SystemExit(f"{before!r} stands in {', '.join([path, *others])}: mutants.toml is to name it anew")
        changed = ast.parse(texts[path].replace(before, after))
        by_file.setdefault(path, []).append(Mutant(path, f"{path}: `{before}` → `{after}`", changed))
    return by_file


# ---- a process for each ----------------------------------------------------------------------------------------------


class Exchanged(SourceFileLoader):
    """Loads the changed tree in place of what the file says, whoever imports the module first."""

    def __init__(self, mutant: Mutant) -> None:
        self.module = mutant.path.removesuffix(".py").replace("/", ".")
        super().__init__(self.module, str(ROOT / mutant.path))
        self._code = compile(ast.fix_missing_locations(mutant.tree), mutant.path, "exec")

    def get_code(self, fullname: str) -> Any:
        return self._code

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == self.module else None
        if spec is not None:
            spec.loader = self
        return spec


def warm_up(tests: Sequence[str]) -> None:
    """Imports what the tests import, then forgets what is ours: a fork then imports that alone, which takes 0.2 s and not 2 s."""
    import hypothesis
    import pytest  # noqa: F401 - for the forks

    for test in tests:
        importlib.import_module(test.removesuffix(".py").replace("/", "."))
    ours = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"checks"}
    for module in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[module]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    gc.collect()
    gc.freeze()  # nor do the forks look through it again
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # nobody reads the smallest example
    hypothesis.settings.register_profile(
        "mutants", phases=phases, database=None, derandomize=True, deadline=None, max_examples=50
    )
    hypothesis.settings.load_profile("mutants")


def start(mutant: Mutant | None, tests: Sequence[str]) -> int:
    """Forks; the child runs the tests on the mutant, or on the code as it stands, and ends with pytest's code."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (MAY_COMPUTE_S, MAY_COMPUTE_S))
        resource.setrlimit(resource.RLIMIT_AS, (MAY_HOLD_BYTES, MAY_HOLD_BYTES))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        if mutant:
            sys.meta_path.insert(0, Exchanged(mutant))
        import pytest

        code = int(pytest.main([*QUICKLY, *(str(ROOT / test) for test in tests)]))
    finally:
        os._exit(code)


def survivors(mutants: Iterable[Mutant], tests: Sequence[str]) -> tuple[int, list[str]]:
    """How many there were, and the names of those that no test noticed."""
    count, running, alive = 0, dict[int, str](), list[str]()

    def wait_for_one() -> None:
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(
            status
        )  # 1: a test failed; 2: none could be imported; negative: it took too long
        if code > 2:
            raise SystemExit(f"pytest did not run on {running[pid]}: it ended with {code}")
        if code == 0:
            alive.append(running[pid])
            sys.stdout.write(f"  {running[pid]}\n")
            sys.stdout.flush()
        del running[pid]

    for mutant in mutants:
        if len(running) == AT_ONCE:
            wait_for_one()
        running[start(mutant, tests)] = mutant.name
        count += 1
    while running:
        wait_for_one()
    return count, alive


# ---- the command -----------------------------------------------------------------------------------------------------


def examine(path: str, tests: Sequence[str], mutants: Iterable[Mutant]) -> tuple[int, list[str]]:
    began = time.monotonic()
    warm_up(tests)
    _, status = os.waitpid(start(None, tests), 0)
    if status:
        raise SystemExit(f"{path}: its tests are red without any change")
    count, alive = survivors(mutants, tests)
    sys.stdout.write(f"{path}: {count - len(alive)} of {count} noticed, {time.monotonic() - began:.0f} s\n")
    sys.stdout.flush()
    return count, alive


def concerned(configuration: dict[str, Any]) -> dict[str, list[str]]:
    """File → its unit tests. Every domain.py must be there: one that was forgotten would be green for ever."""
    tests: dict[str, list[str]] = configuration["tests"]
    domains = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("services/**/domain.py")}
    if lacking := domains - tests.keys():
        raise SystemExit(f"mutants.toml does not say which unit tests concern {', '.join(sorted(lacking))}")
    return tests


def main(arguments: Sequence[str]) -> int:
    configuration = tomllib.loads(CONFIGURATION.read_text())
    tests = concerned(configuration)
    kinds, sample = list(arguments) == ["--kinds"], list(arguments) == ["--changed"]
    if kinds:
        mutants: dict[str, Iterable[Mutant]] = {**named(configuration["kinds"], list(tests))}
    elif sample:
        mutants = of_changed(tests)
    else:
        mutants = {path: every(path) for path in arguments or tests}
    total, alive = 0, list[str]()
    for path, of_it in mutants.items():
        count, survived = examine(path, tests[path], of_it)
        total, alive = total + count, alive + survived
    unexplained = [name for name in alive if kinds or name not in REASONS.read_text()]
    if not total:
        sys.stdout.write("nothing to change\n")
        return 0
    score = 1 - len(alive) / total
    sys.stdout.write(f"{total - len(alive)} of {total} noticed: {score:.1%}; {len(unexplained)} without a reason\n")
    return 1 if unexplained or (score < KILLED_MIN and not sample) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
