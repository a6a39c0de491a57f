"""Pictures of units' reports, over HTTP and on a real database: taken once, shown safely, found again, deleted in time."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import Image

from services.reporting.definition import Definition
from services.reporting.erasure import Erasure
from services.reporting.obligations.pictures import domain, usecases
from services.reporting.obligations.pictures.processes import Reencoder
from shared.database import Database, Transaction
from shared.definitions import Definitions
from shared.service.refusals import Refused
from tests.support import pictures
from tests.support.databases import fresh_database
from tests.support.forms import form
from tests.support.obligations import at, definition_events
from tests.support.pictures import encoded, scene
from tests.support.reporting_events import defined
from tests.support.reporting_service import ReportingService
from tests.support.servers import RunningPostgres
from tests.support.service import bearer, token

C, OTHER, REPORTED = "small-2024", "other-2024", "reported-2024"
COUNTY, BUREAU, OFFICE, NEIGHBOUR = "140902", "140902-EDU", "140902-EDU-1", "140921"
ENDS_AT = datetime.fromisoformat("2024-07-01T00:00:00+08:00")
NOW = datetime.fromisoformat("2024-06-29T20:00:00+08:00")


@pytest.fixture
async def service(postgres: RunningPostgres, tmp_path: Path) -> AsyncIterator[ReportingService]:
    fresh = await fresh_database(postgres, "reporting")
    running = ReportingService(fresh, now=NOW, folder=tmp_path, pictures_max_bytes=1024**2)
    await running.deliver(*defined(C), *defined(OTHER))
    yield running
    await running.close()
    await postgres.drop(fresh.name)


def path_of(unit: str, campaign: str = C) -> str:
    return f"/v1/campaigns/{campaign}/units/{unit}/pictures"


async def upload(
    service: ReportingService, content: bytes, unit: str = COUNTY, bearer_token: str | None = None, campaign: str = C
) -> httpx.Response:
    headers = bearer(bearer_token or token("liaison", unit=unit)) | {"content-type": "image/jpeg"}
    return await service.client.post(path_of(unit, campaign), content=content, headers=headers)


async def uploaded(
    service: ReportingService, content: bytes, unit: str = COUNTY, bearer_token: str | None = None, campaign: str = C
) -> UUID:
    answer = await upload(service, content, unit, bearer_token, campaign)
    assert answer.status_code == 200, answer.text
    return UUID(answer.json()["picture_id"])


async def shown(service: ReportingService, picture_id: UUID, unit: str = COUNTY, **query: str) -> httpx.Response:
    return await service.get(f"{path_of(unit)}/{picture_id}", token("auditor"), **query)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert any("\u4e00" <= char <= "\u9fff" for char in answer.json()["title"]), "nothing that people could read"
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def test_a_picture_is_kept_once_and_shown_as_a_jpeg_that_is_nothing_else(service: ReportingService) -> None:
    content = pictures.turned(6)
    picture_id = await uploaded(service, content)
    assert await uploaded(service, content) == picture_id
    assert await uploaded(service, content, NEIGHBOUR) != picture_id
    assert await uploaded(service, content, campaign=OTHER) != picture_id
    form = {"photo": ("../../x.html", content, "text/html")}
    by_form = await service.client.post(
        path_of(COUNTY), files=form, data={"note": "x"}, headers=bearer(token("liaison", unit=COUNTY))
    )
    assert by_form.json() == {"picture_id": str(picture_id)}
    for query, size in (({}, (80, 40)), ({"size": "thumbnail"}, (80, 40))):
        answer = await shown(service, picture_id, **query)
        assert answer.status_code == 200
        assert Image.open(BytesIO(answer.content)).size == size
        assert {name: answer.headers[name] for name in answer.headers if name not in ("content-length", "date")} == {
            "content-type": "image/jpeg",
            "content-disposition": f'inline; filename="{picture_id}.jpg"',
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; sandbox",
            "cross-origin-resource-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
    assert "../" not in str(await service.rows("SELECT p::text FROM picture p"))


async def test_a_thumbnail_is_small(service: ReportingService) -> None:
    picture_id = await uploaded(service, encoded(scene(size=(2000, 1500))))
    full, thumbnail = [(await shown(service, picture_id, size=size)).content for size in ("full", "thumbnail")]
    assert (Image.open(BytesIO(full)).size, Image.open(BytesIO(thumbnail)).size) == ((1600, 1200), (240, 180))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", (422, "picture-missing")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", (415, "picture-kind")),
        (encoded(scene())[:-500], (422, "picture-unreadable")),
        (pictures.png(60_000, 60_000), (413, "picture-too-large")),
        (encoded(scene()) + bytes(domain.UPLOAD_MAX_BYTES), (413, "picture-too-large")),
        (bytes(domain.UPLOAD_MAX_BYTES + 20_000), (413, "too-large")),
    ],
    ids=["nothing", "svg", "cut off", "bomb", "8 MiB and a little", "more than the form may have"],
)
async def test_a_refusal_says_why_and_keeps_nothing(
    service: ReportingService, content: bytes, expected: tuple[int, str]
) -> None:
    assert problem(await upload(service, content)) == expected
    assert await service.rows("SELECT FROM picture") == []


async def test_a_form_without_a_file_is_told_so_and_one_with_two_is_refused(service: ReportingService) -> None:
    headers = bearer(token("liaison", unit=COUNTY))
    none = await service.client.post(path_of(COUNTY), data={"a": "b"}, files={"c": (None, "d")}, headers=headers)
    assert problem(none) == (422, "picture-missing")
    two = await service.client.post(path_of(COUNTY), files=[("a", ("a", b"x")), ("b", ("b", b"y"))], headers=headers)
    assert two.status_code == 400
    assert await service.rows("SELECT FROM picture") == []


async def test_pictures_are_seen_and_sent_within_the_subtree_only(service: ReportingService) -> None:
    picture_id = await uploaded(service, encoded(scene()), OFFICE, token("liaison", unit=COUNTY))
    for who, may in {
        token("auditor"): True,
        token("office", unit=COUNTY): True,
        token("liaison", unit=BUREAU): True,
        token("liaison", unit=OFFICE): True,
        token("liaison", unit=NEIGHBOUR): False,
        token("office", unit="140902-GONE"): False,
        token("office", campaign=OTHER): False,
    }.items():
        seen = await service.get(f"{path_of(OFFICE)}/{picture_id}", who)
        assert (seen.status_code == 200) == may, seen.text
        assert may or seen.status_code in (403, 422)
    up, beside = token("liaison", unit=OFFICE), token("liaison", unit=NEIGHBOUR)
    assert problem(await upload(service, encoded(scene(2)), BUREAU, up)) == (422, "no-such-unit")
    assert problem(await upload(service, encoded(scene(2)), OFFICE, beside)) == (422, "no-such-unit")
    assert problem(await upload(service, encoded(scene(2)), OFFICE, token("auditor"))) == (403, "role-not-allowed")
    assert problem(await upload(service, encoded(scene(2)), "140902-GONE", token("office"))) == (422, "no-such-unit")
    assert problem(await upload(service, encoded(scene(2)), COUNTY, token("office"), "gone-2024")) == (404, "not-found")
    for unit, asked_id in ((BUREAU, picture_id), (OFFICE, uuid4())):
        assert problem(await shown(service, asked_id, unit)) == (404, "not-found"), "only under its own unit"


async def test_a_full_campaign_takes_no_more_and_says_so(service: ReportingService) -> None:
    """1 MiB here: a picture more is taken while there is any room, and none after."""
    noisy = Image.effect_noise((1600, 1600), 120).convert("RGB")
    first = encoded(noisy, quality=90)
    await uploaded(service, first)
    assert problem(await upload(service, encoded(scene()), NEIGHBOUR)) == (409, "pictures-full")
    assert await uploaded(service, first), "what is there already needs no room"
    assert await uploaded(service, encoded(scene()), campaign=OTHER), "another campaign has its own"
    sizes = dict(await service.rows("SELECT campaign_id, size FROM picture"))
    figures = (await service.client.get("/metrics")).text
    for campaign, size in sizes.items():
        figure = re.search(rf'^fanzha_pictures_bytes{{campaign="{campaign}"}} (.+)$', figures, re.MULTILINE)
        limit = re.search(rf'^fanzha_pictures_limit_bytes{{campaign="{campaign}"}} (.+)$', figures, re.MULTILINE)
        assert figure
        assert limit
        assert (float(figure[1]), float(limit[1])) == (size, 1024**2)


async def kept(service: ReportingService) -> set[UUID]:
    await service.do_due_work()
    return {row[0] for row in await service.rows("SELECT picture_id FROM picture")}


async def use(service: ReportingService, unit: str, ids: list[UUID], now: datetime) -> frozenset[UUID]:
    async def work(tx: Transaction) -> frozenset[UUID]:
        known = Definitions(Definition.of, with_units=True)
        return await usecases.use_in_report(tx, known, C, unit, ids, now)

    return await service.db.in_transaction(work)


async def test_an_unused_picture_goes_after_seven_days_and_a_used_one_with_the_campaigns_data(
    service: ReportingService,
) -> None:
    unused, used, late, neighbours = [
        await uploaded(service, encoded(scene(seed)), unit)
        for seed, unit in enumerate((COUNTY, COUNTY, COUNTY, NEIGHBOUR))
    ]
    assert await use(service, COUNTY, [used, neighbours, uuid4()], NOW) == {used}, "a unit's own and nobody else's"
    week, end = timedelta(days=7), ENDS_AT + timedelta(days=180)
    second = timedelta(seconds=1)
    service.clock_is(NOW + week - second)
    assert await kept(service) == {unused, used, late, neighbours}
    assert await uploaded(service, encoded(scene(2))) == late, "sent again, it is kept for a week more"
    service.clock_is(NOW + week)
    assert await kept(service) == {used, late}
    assert await use(service, COUNTY, [unused, late], ENDS_AT + week) == {late}
    service.clock_is(end - second)
    assert await kept(service) == {used, late}
    service.clock_is(end)
    assert await kept(service) == {late}
    service.clock_is(end + week)
    assert await kept(service) == set()


async def test_a_report_may_name_the_units_own_pictures_only(service: ReportingService) -> None:
    own, neighbours = [await uploaded(service, encoded(scene()), unit) for unit in (COUNTY, NEIGHBOUR)]
    async with service.db.transaction() as tx:
        ids = [own, neighbours, uuid4()]
        assert await usecases.known_pictures(tx, C, COUNTY, ids, NOW) == {own}
        assert await usecases.known_pictures(tx, OTHER, COUNTY, ids, NOW) == frozenset()
        assert await usecases.known_pictures(tx, C, COUNTY, ids, NOW + timedelta(days=7)) == frozenset()


async def test_a_report_keeps_the_pictures_that_it_shows(service: ReportingService) -> None:
    fields = [{"id": name, "title": name, "type": "pictures"} for name in ("site", "crowd")]
    await service.deliver(*definition_events(form(fields=fields), campaign_id=REPORTED))
    service.clock_is(at("06-30 09:00"))
    await service.do_due_work()
    shown_id, _, neighbours = [
        str(await uploaded(service, encoded(scene(seed)), unit, campaign=REPORTED))
        for seed, unit in enumerate(("111", "111", "112"))
    ]

    async def send(**values: Any) -> httpx.Response:
        path = f"/v1/campaigns/{REPORTED}/units/111/reports/daily/2024-06-29"
        body = {"submission_id": str(uuid4()), "values": values}
        return await service.client.post(path, json=body, headers=bearer(token("liaison", unit="111")))

    for strange in (neighbours, str(uuid4()), "no-id", shown_id.upper()):
        refused = await send(site=[shown_id, strange])
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "site")
    assert await service.rows("SELECT FROM picture WHERE used_at IS NOT NULL") == []
    receipt = await send(site=[shown_id], crowd=[shown_id])
    assert receipt.status_code == 200, receipt.text
    service.clock_is(at("07-08 09:00"))
    assert {str(one) for one in await kept(service)} == {shown_id}


async def test_a_picture_seen_before_is_found_across_units_and_not_across_campaigns(
    service: ReportingService,
) -> None:
    original = scene(1, (900, 700))
    sent_on = encoded(original.resize((600, 467)), "WEBP", quality=50)
    await uploaded(service, encoded(original), campaign=OTHER)
    first = await uploaded(service, encoded(original), COUNTY)
    same = await uploaded(service, encoded(original), NEIGHBOUR)
    near = await uploaded(service, sent_on, BUREAU)
    other = await uploaded(service, encoded(scene(2)), BUREAU)
    grey = [await uploaded(service, encoded(Image.new("L", (50, 50), shade)), BUREAU) for shade in (90, 200)]
    async with service.db.transaction() as tx:
        found = await usecases.same_pictures(tx, C, [first, same, near, other, *grey])
    assert [(row.picture_id, row.earlier_id, row.earlier_unit_code, row.exact) for row in found] == [
        (same, first, COUNTY, True),
        (near, first, COUNTY, False),
        (near, same, NEIGHBOUR, False),
    ]
    assert [row.bits for row in found[:1]] == [0]
    assert all(row.bits is not None and row.bits <= domain.NEAR_BITS_MAX for row in found)


async def test_a_campaigns_pictures_are_forgotten_with_its_people(service: ReportingService) -> None:
    await uploaded(service, encoded(scene()))
    elsewhere = await uploaded(service, encoded(scene()), campaign=OTHER)
    owner = Database(service.owner_url)
    async with owner.transaction() as tx:
        assert (await Erasure({}).forget_people(tx, C))["picture"] == 1
    await owner.close()
    assert await kept(service) == {elsewhere}


async def test_many_at_once_are_one_picture_and_hold_up_nobody(service: ReportingService) -> None:
    """While pictures are decoded, the event loop turns and no transaction is open."""
    content = pictures.black_png(5000, 5000)
    sending = asyncio.gather(*(upload(service, content) for _ in range(3)))
    connections = []
    while not sending.done():
        await asyncio.sleep(0.01)
        connections.append(service.db.in_use)
    answers = await sending
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["picture_id"] for answer in answers}) == 1
    assert connections.count(0) > 20


# ---- the process -----------------------------------------------------------------------------------------------------


async def test_too_many_who_wait_are_told_to_come_back() -> None:
    reencoder = Reencoder(waiting_max=1)
    first = asyncio.create_task(reencoder.reencoded(encoded(scene())))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await reencoder.reencoded(encoded(scene()))
    assert (refused.value.name, refused.value.retry_after_s) == ("pictures-busy", 5)
    assert (await first).near_hash is not None
    assert (await reencoder.reencoded(encoded(scene()))).near_hash is not None


@pytest.mark.parametrize(
    ("program", "refusal"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "picture-too-complex"),
        ("import time; time.sleep(60)", "picture-too-complex"),
        ("""print('{"refused": "no-such-campaign"}')""", "picture-unreadable"),
        (
            """print('{"near_hash": 1, "jpeg": 9, "thumbnail": 9}', flush=True); import os; os.kill(os.getpid(), 9)""",
            "picture-too-complex",
        ),
    ],
    ids=["it crashes", "it does not end", "it says what is not its business", "it ends in the middle"],
)
async def test_whatever_a_picture_does_to_the_process_is_a_refusal(program: str, refusal: str) -> None:
    with pytest.raises(Refused) as refused:
        await Reencoder(program=("-c", program), within_s=2).reencoded(b"x")
    assert refused.value.name == refusal


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("raise SystemExit(1)", "ended with 1"),
        ("""print('{"near_hash": 1, "jpeg": 99999999, "thumbnail": 1}')""", "answers 99999999"),
    ],
)
async def test_a_fault_of_ours_is_not_blamed_on_the_picture(program: str, fault: str) -> None:
    with pytest.raises(RuntimeError, match=fault):
        await Reencoder(program=("-c", program)).reencoded(b"x")


async def test_the_process_knows_no_secret_and_ends_at_its_limits() -> None:
    """What it sees of the environment; memory and files by asking for more than it has."""
    seen = """
import json, os, resource, sys
from services.reporting.obligations.pictures import reencoding
def told(upload):
    try:
        open("/tmp/picture-was-here", "wb").write(b"x" * 100000)
    except OSError:
        wrote = False
    else:
        wrote = True
    try:
        bytearray(900 * 1024 * 1024)
    except MemoryError:
        took = False
    else:
        took = True
    cpu = resource.getrlimit(resource.RLIMIT_CPU)[0]
    return (json.dumps({"near_hash": [sorted(os.environ), wrote, took, cpu], "jpeg": 1, "thumbnail": 1}) + "\\nxy").encode()
reencoding.answer = told
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
reencoding.main()
"""
    told: Any = (await Reencoder(program=("-c", seen)).reencoded(b"x")).near_hash
    environment, wrote, took, cpu = told
    assert set(environment) <= {
        "PATH",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
        "LC_ALL",
        "LC_CTYPE",
        "MALLOC_ARENA_MAX",
    }
    assert (wrote, took, cpu) == (False, False, 15)
