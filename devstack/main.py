"""`up`, `down` and `status`: what the command line does with a dev stack. All work is done by the detached supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from devstack import ports as ports_module
from devstack.home import Home, StackError, read_env
from devstack.processes import identity, last_lines, open_log
from devstack.secrets import load_or_create
from devstack.supervisor import AlreadyRunning, State, only_one
from shared.bus.topology import SERVICES
from shared.clock import write_clock

SUPERVISOR = (sys.executable, "-m", "devstack")
LOOK_EVERY_S = 0.1
STOP_WITHIN_S = 90  # services 30, NATS 10, Postgres 30, and 20 to spare
END_STRAYS_WITHIN_S = 10
START_AGAIN_WITHIN_S = 10  # a child that has just died is started again within 5 s


def up(
    home: Home,
    console: Console,
    *,
    ports: str | None = None,
    clock_at: datetime | None = None,
    supervisor: Sequence[str] = SUPERVISOR,
) -> None:
    """Starts the stack and returns when everything is ready. Raises `StackError` where that fails; then nothing is left
    running."""
    home.create()
    if _is_running(home):
        _refuse_clock(home, clock_at)
        _join(home, console)
        return
    _end_strays(home)
    ports_module.choose(home, ports)
    _set_clock(home, clock_at)
    load_or_create(home)
    home.env.unlink(missing_ok=True)
    home.state.unlink(missing_ok=True)
    process = _start_supervisor(home, supervisor)
    try:
        _follow(home, console, lambda: process.poll() is None)
    except BaseException:
        process.terminate()
        process.wait()
        down(home)
        raise
    _say_where(home, console)


def down(home: Home) -> bool:
    """Stops everything, whatever state it is in; returns whether there was anything to stop."""
    was_running = _is_running(home)
    if was_running:
        _end_supervisor(home)
    strays = _end_strays(home)
    home.env.unlink(missing_ok=True)
    home.pid_file("supervisor").unlink(missing_ok=True)
    return was_running or strays


def status(home: Home, console: Console) -> bool:
    """Prints what runs and returns whether the stack is ready. It looks at the processes themselves, whatever the supervisor
    wrote."""
    state = State.read(home) if _is_running(home) else State(phase="stopped")
    gone = _not_running(state)
    is_ready = state.phase == "ready" and not gone
    console.print(f"{'not ready' if state.phase == 'ready' and gone else state.phase}: {home.root}")
    if state.processes:
        table = Table("process", "pid", "restarts", "last exit", box=None)
        for name, process in state.processes.items():
            pid = f"{process.pid} is gone" if name in gone else str(process.pid)
            table.add_row(name, pid, str(process.restarts), process.last_exit or "")
        console.print(table)
    if gone:
        console.print(_what_is_missing(home, gone))
    if is_ready:
        _say_where(home, console)
    return is_ready


def _not_running(state: State) -> list[str]:
    """Children that do not run although the supervisor wrote that they do: it is about to start them again, or could not write
    that."""
    return [
        name
        for name, process in state.processes.items()
        if process.identity is None or identity(process.pid) != process.identity
    ]


def _what_is_missing(home: Home, gone: Sequence[str]) -> str:
    return (
        f"没有在运行（{home.state} 里记的是在运行）：{'、'.join(gone)}。"
        f"看护进程会再启动它们；启动不了的原因在 {home.log_file('supervisor')}。磁盘满了吗？"
    )


def _is_running(home: Home) -> bool:
    """Whether a supervisor lives. Waits for one that was just killed, because it holds the lock until its last thread is gone."""
    while _is_locked(home):
        pid = _supervisor_pid(home)
        if pid is None or identity(pid):
            return True
        time.sleep(LOOK_EVERY_S)
    return False


def _is_locked(home: Home) -> bool:
    if not home.lock.exists():
        return False
    try:
        with only_one(home):
            return False
    except AlreadyRunning:
        return True


def _supervisor_pid(home: Home) -> int | None:
    """The supervisor's pid, or None while it has not yet written it."""
    try:
        return int(home.pid_file("supervisor").read_text())
    except (OSError, ValueError):
        return None


def _join(home: Home, console: Console) -> None:
    phase = State.read(home).phase
    if phase in ("stopping", "stopped"):
        raise StackError("环境正在停止，请稍后再试")
    if phase == "ready":
        if not _until(lambda: not _not_running(State.read(home)), START_AGAIN_WITHIN_S):
            raise StackError(_what_is_missing(home, _not_running(State.read(home))))
        console.print("already running")
    else:
        console.print("already starting")
        _follow(home, console, lambda: _is_running(home))
    _say_where(home, console)


def _start_supervisor(home: Home, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts the supervisor in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it."""
    with open_log(home.log_file("supervisor")) as output:
        return subprocess.Popen(  # noqa: S603
            command,
            env={**os.environ, "FANZHA_HOME": str(home.root)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _follow(home: Home, console: Console, is_alive: Callable[[], bool]) -> None:
    """Shows the steps until the stack is ready. Raises `StackError` if it fails."""
    shown = 0
    with console.status("starting") as line:
        while True:
            alive = is_alive()  # asked before reading, so that the last words of a supervisor that ends are read
            state = State.read(home)
            for name, seconds in state.done[shown:]:
                console.print(f"  {name} [dim]{seconds:.1f} s[/]")
            shown = len(state.done)
            if state.phase == "ready":
                return
            if not alive:
                raise StackError(_why_not(home, state))
            line.update("starting " + ", ".join(state.doing))
            time.sleep(LOOK_EVERY_S)


def _why_not(home: Home, state: State) -> str:
    if state.failure is None:
        reason, log, name = "看护进程结束了", last_lines(home.log_file("supervisor"), 20), "supervisor"
    else:
        reason, log, name = state.failure.reason, state.failure.log, state.failure.step
    lines = "".join(f"\n    {line}" for line in log)
    return f"{name} 没有启动：{reason}。{home.log_file(name)} 的最后几行：{lines or '（空的）'}"


def _say_where(home: Home, console: Console) -> None:
    variables = read_env(home.env) if home.env.exists() else {}
    for service in SERVICES:
        if url := variables.get(f"{service.upper()}_URL"):
            console.print(f"  {service:<13}{url}")
    if home.clock.exists():
        console.print(f"  simulated clock stands at {home.clock.read_text().strip()} ({home.clock})")
    console.print(f"  addresses and keys: {home.env}")


def _refuse_clock(home: Home, at: datetime | None) -> None:
    """Raises `StackError` for another clock: a running stack keeps the clock it was started with."""
    if at is None:
        return
    if home.clock.exists():
        raise StackError(
            f"环境正在运行，CLOCK_AT 不起作用：它的时钟是 {home.clock.read_text().strip()}。"
            f"要拨快用 `.venv/bin/fanzha clock set {at.isoformat()}`，或者先 `make down`"
        )
    raise StackError("环境正在运行，用的是真实时间，CLOCK_AT 不起作用。请先 `make down`")


def _set_clock(home: Home, at: datetime | None) -> None:
    if at is None:
        return
    if at.tzinfo is None:
        raise StackError("CLOCK_AT 没有写时区，请写成 2024-06-29T19:00:00+08:00")
    try:
        write_clock(home.clock, at)
    except ValueError as error:
        raise StackError(
            f"模拟时钟不能往回拨：它是 {home.clock.read_text().strip()}。"
            "不写 CLOCK_AT 就从那一刻继续，或者换一个文件夹重新开始（FANZHA_HOME=…）"
        ) from error


def _end_supervisor(home: Home) -> None:
    """Ends the supervisor. Call it only while the lock is held, so that the pid is the holder's."""
    if (pid := _supervisor_pid(home)) is None:
        raise StackError("看护进程刚刚启动，请稍后再试")
    began = identity(pid)

    def is_gone() -> bool:
        return began is None or identity(pid) != began

    for how, within_s in ((signal.SIGTERM, STOP_WITHIN_S), (signal.SIGKILL, END_STRAYS_WITHIN_S)):
        if not is_gone():
            os.kill(pid, how)
            _until(is_gone, within_s)


def _end_strays(home: Home) -> bool:
    """Ends children whose supervisor is gone. The kernel has signalled them already; this waits for them, signals again, and
    kills what is left. Returns whether there were any."""
    strays = {process.pid: process for process in State.read(home).processes.values()}

    def still_there() -> list[int]:
        return [pid for pid, stray in strays.items() if stray.identity and identity(pid) == stray.identity]

    if had_strays := bool(still_there()):
        _until(lambda: not still_there(), END_STRAYS_WITHIN_S / 2)
        for pid in still_there():
            os.kill(pid, signal.Signals[strays[pid].stop_signal])
        _until(lambda: not still_there(), END_STRAYS_WITHIN_S)
        for pid in still_there():
            os.kill(pid, signal.SIGKILL)
        _until(lambda: not still_there(), END_STRAYS_WITHIN_S)
    return had_strays


def _until(condition: Callable[[], bool], within_s: float) -> bool:
    give_up_at = time.monotonic() + within_s
    while not (met := condition()) and time.monotonic() < give_up_at:
        time.sleep(LOOK_EVERY_S)
    return met
