"""Keeps child processes running. A `Plan` lists them, so this file knows nothing of the stack.

It starts stage after stage, a stage's steps at once; when all are ready it calls `on_ready`. A child that dies later is started
again with growing delay, for ever. If a step fails before all are ready, or on SIGTERM, everything is stopped in reverse order.
The supervisor writes its state to `run/state.json`, which is replaced whole at each change, and each child's pid to
`run/NAME.pid`. Where it cannot write, as on a full disk, it writes later: keeping children alive does not depend on it.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from devstack.home import Home, StackError, write_whole
from devstack.processes import (
    LAST_LINES,
    describe_exit,
    dying_with_parent,
    environment,
    identity,
    last_lines,
    open_log,
)

log = logging.getLogger("supervisor")

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
LONG_LIFE_S = 30.0  # a child that lived this long starts with the first delay again
PROBE_EVERY_S = 0.05
SAVE_AGAIN_EVERY_S = 0.5
LOCK_PATIENCE_S = 2  # `fanzha status` holds the lock for an instant to see whether it is free


@dataclass(frozen=True)
class Child:
    """A process that must always run."""

    name: str
    command: Sequence[str]
    is_ready: Callable[[int], bool]  # given the pid; may block for a few seconds
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None  # before each start; may block
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 30  # then SIGKILL; a service takes up to 20 s to finish what it has begun
    ready_within_s: float = 60
    first_tries: int = 1


@dataclass(frozen=True)
class Job:
    """A process that must end well once, at each start of the stack."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    within_s: float = 120


Plan = Sequence[Sequence[Child | Job]]


@dataclass
class Process:
    """What is known of a running child. `identity` distinguishes it from a later process with the same pid."""

    pid: int
    identity: str | None
    stop_signal: str
    restarts: int = 0
    last_exit: str | None = None


@dataclass
class Failure:
    step: str
    reason: str
    log: list[str]


@dataclass
class State:
    phase: str = "starting"  # starting, ready, stopping, stopped
    doing: list[str] = field(default_factory=list)
    done: list[tuple[str, float]] = field(default_factory=list)  # step, seconds it took
    failure: Failure | None = None
    processes: dict[str, Process] = field(default_factory=dict)

    @classmethod
    def read(cls, home: Home) -> "State":
        """The state that was written last; if there is none, that of a supervisor which has just begun."""
        try:
            raw = json.loads(home.state.read_text())
        except FileNotFoundError:
            return cls()
        failure = Failure(**raw["failure"]) if raw["failure"] else None
        processes = {name: Process(**process) for name, process in raw["processes"].items()}
        return cls(raw["phase"], raw["doing"], [(name, took) for name, took in raw["done"]], failure, processes)


class StartFailed(Exception):
    def __init__(self, step: str, reason: str, log: list[str]) -> None:
        super().__init__(f"{step}: {reason}")
        self.failure = Failure(step, reason, log)


class AlreadyRunning(Exception):
    """Another supervisor holds the lock of this home."""


@contextmanager
def only_one(home: Home, patience_s: float = 0) -> Iterator[None]:
    """Holds the home's lock during the block. The lock ends with its process, however that ends. Raises `AlreadyRunning`."""
    give_up_at = time.monotonic() + patience_s
    with home.lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > give_up_at:
                    raise AlreadyRunning from error
            time.sleep(PROBE_EVERY_S)
        yield


def supervise(home: Home, plan: Plan, *, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> int:
    """Runs until SIGTERM or a failed start; the exit status. Must be called in the main thread (see `dying_with_parent`)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with only_one(home, LOCK_PATIENCE_S):
        pid_file = home.pid_file("supervisor")
        write_whole(pid_file, f"{os.getpid()}\n")
        try:
            return asyncio.run(Supervisor(home, plan, on_ready, on_stop).run())
        finally:
            pid_file.unlink(missing_ok=True)


class Supervisor:
    def __init__(self, home: Home, plan: Plan, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        self._home = home
        self._plan = plan
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._state = State()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._pids_written: dict[str, int] = {}
        self._saved = True

    async def run(self) -> int:
        told_to_stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
        stop = asyncio.create_task(told_to_stop.wait())
        start = asyncio.create_task(self._start_all())
        saving = asyncio.create_task(self._save_for_ever())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done() and start.exception() is None:
            await stop
        else:
            stop.cancel()
            start.cancel()
        await asyncio.wait({start})
        if not start.cancelled() and (error := start.exception()) is not None:
            self._state.failure = _failure(error)
            log.error("start failed: %s: %s", self._state.failure.step, self._state.failure.reason)
        saving.cancel()
        await self._stop_all()
        return 0 if self._state.failure is None else 1

    async def _start_all(self) -> None:
        self._save()
        for stage in self._plan:
            async with asyncio.TaskGroup() as group:
                for step in stage:
                    group.create_task(self._start(step))
        self._on_ready()
        self._state.phase = "ready"
        self._save()
        log.info("ready")

    async def _start(self, step: Child | Job) -> None:
        began = time.monotonic()
        self._state.doing.append(step.name)
        self._save()
        try:
            await (self._run_job(step) if isinstance(step, Job) else self._start_child(step))
        except StackError as error:
            raise self._failed(step, str(error)) from error
        self._state.doing.remove(step.name)
        self._state.done.append((step.name, round(time.monotonic() - began, 2)))
        self._save()

    async def _run_job(self, job: Job) -> None:
        process = await self._spawn(job)
        try:
            status = await asyncio.wait_for(process.wait(), job.within_s)
        except TimeoutError:
            raise self._failed(job, f"not done after {job.within_s:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
        if status != 0:
            raise self._failed(job, describe_exit(status))

    async def _start_child(self, child: Child) -> None:
        delay = FIRST_DELAY_S
        for left in reversed(range(child.first_tries)):
            process = await self._start_once(child)
            if await self._becomes_ready(child, process):
                self._keepers.append(asyncio.create_task(self._keep(child, process)))
                return
            if not left:
                raise self._failed(child, describe_exit(await process.wait()))
            self._report_death(child, process)
            await asyncio.sleep(delay)
            delay *= 2

    async def _becomes_ready(self, child: Child, process: asyncio.subprocess.Process) -> bool:
        """Waits until the child is ready; returns False when it ended instead. Raises `StartFailed` when it takes too long."""
        give_up_at = time.monotonic() + child.ready_within_s
        while process.returncode is None:
            if await asyncio.to_thread(child.is_ready, process.pid):
                return True
            if time.monotonic() > give_up_at:
                raise self._failed(child, f"not ready after {child.ready_within_s:g} s")
            await asyncio.sleep(PROBE_EVERY_S)
        return False

    async def _keep(self, child: Child, process: asyncio.subprocess.Process) -> None:
        """Waits for the child's end, says so and starts it again, for ever."""
        delay = FIRST_DELAY_S
        while True:
            born = time.monotonic()
            await process.wait()
            try:
                self._report_death(child, process)
            except Exception:  # a report that fails must not prevent the child's start
                log.exception("the end of %s could not be reported", child.name)
            if time.monotonic() - born > LONG_LIFE_S:
                delay = FIRST_DELAY_S
            process, delay = await self._start_again(child, delay)

    async def _start_again(self, child: Child, delay: float) -> tuple[asyncio.subprocess.Process, float]:
        """Starts the child again. Returns the new process, and the delay before the next start should it end soon."""
        while True:
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY_S)
            try:
                return await self._start_once(child), delay
            except Exception:  # the cause may pass; a supervisor does not give up
                log.exception("%s could not be started; trying again in %g s", child.name, delay)

    def _report_death(self, child: Child, process: asyncio.subprocess.Process) -> None:
        how = describe_exit(process.returncode or 0)
        record = self._state.processes[child.name]
        record.restarts, record.last_exit = record.restarts + 1, how
        self._save()
        lines = last_lines(self._home.log_file(child.name))
        text = "".join(f"\n    {line}" for line in lines)
        log.error("%s (pid %d) ended: %s; starting it again. Its last log lines:%s", child.name, process.pid, how, text)

    async def _start_once(self, child: Child) -> asyncio.subprocess.Process:
        await asyncio.to_thread(child.prepare)
        process = await self._spawn(child)
        self._running[child.name] = process
        before = self._state.processes.get(child.name)
        self._state.processes[child.name] = Process(
            process.pid,
            identity(process.pid),
            child.stop_signal.name,
            before.restarts if before else 0,
            before.last_exit if before else None,
        )
        self._save()
        log.info("%s started, pid %d", child.name, process.pid)
        return process

    async def _spawn(self, step: Child | Job) -> asyncio.subprocess.Process:
        with open_log(self._home.log_file(step.name)) as output:
            return await asyncio.create_subprocess_exec(
                *dying_with_parent(step.command),
                env=environment(step.env),
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def _stop_all(self) -> None:
        self._state.phase = "stopping"
        self._save()
        try:
            self._on_stop()
        except OSError:
            log.exception("stopping goes on without it")
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for stage in reversed(self._plan):
            await asyncio.gather(*(self._stop(step) for step in stage if isinstance(step, Child)))
        self._state.phase = "stopped"
        self._save()
        log.info("stopped")

    async def _stop(self, child: Child) -> None:
        process = self._running.get(child.name)
        if process is not None and process.returncode is None:
            process.send_signal(child.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), child.stop_within_s)
            except TimeoutError:
                log.error("%s did not stop within %g s: killed", child.name, child.stop_within_s)
                process.kill()
                await process.wait()
        self._state.processes.pop(child.name, None)
        self._home.pid_file(child.name).unlink(missing_ok=True)

    def _failed(self, step: Child | Job, reason: str) -> StartFailed:
        return StartFailed(step.name, reason, last_lines(self._home.log_file(step.name), 2 * LAST_LINES))

    def _save(self) -> None:
        """Writes the state. Never raises: what cannot be written now is written later, by `_save_for_ever`."""
        try:
            for name, process in self._state.processes.items():
                if self._pids_written.get(name) != process.pid:
                    write_whole(self._home.pid_file(name), f"{process.pid}\n")
                    self._pids_written[name] = process.pid
            write_whole(self._home.state, json.dumps(asdict(self._state), indent=1) + "\n")
        except OSError as error:
            if self._saved:
                log.error("%s cannot be written (%s); trying again", self._home.state, error.strerror)
            self._saved = False
        else:
            self._saved = True

    async def _save_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SAVE_AGAIN_EVERY_S)
            if not self._saved:
                self._save()


def _failure(error: BaseException) -> Failure:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.failure if isinstance(error, StartFailed) else Failure("supervisor", repr(error), [])
