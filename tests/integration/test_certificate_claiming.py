"""Claiming, downloading and verifying, as anybody on the internet may try."""

import asyncio
import base64
import html
import io
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
import zxingcpp
from PIL import Image
from pypdf import PdfReader

from services.certificate import certificates, contacts, wrong_claims
from services.certificate.api.claiming import CLAIM_CODE_MAX
from services.certificate.api.parameters import FORM_FIELDS_MAX
from services.certificate.links import Links
from services.certificate.wrong_claims import BY_ADDRESS_MAX, BY_CODE_MAX
from shared.contracts.certificate import CertificateClaimedV1
from shared.service import wrong_tries
from shared.service.bodies import BODY_MAX_BYTES, Bodies
from shared.whole_files import SCRATCH
from tests.support.certificate import (
    CAMPAIGN,
    CLAIM_FROM,
    LESSONS,
    CertificateService,
    certificate_rules,
    checked_in,
    defined,
    enrolled,
    path_of,
)
from tests.support.databases import DatabaseFactory
from tests.support.servers import RunningPostgres
from upkeep import dump

NAME, PHONE = "王示例", "13800005678"


@pytest.fixture
async def service(database: DatabaseFactory, tmp_path: Path) -> AsyncIterator[CertificateService]:
    """Anna enrolled with name and phone, Bo with neither; both completed and their claim time has come."""
    running = CertificateService((await database("certificate")).url, tmp_path)
    await running.issue(enrolled(("anna", NAME, PHONE)), checked_in("anna", "bo-platform-account"))
    yield running
    await running.close()


ANNA, BO = "anna", "bo-platform-account"


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


# ---- claiming --------------------------------------------------------------------------------------------------------


async def test_who_has_code_and_phone_tail_claims(service: CertificateService) -> None:
    answer = (await service.claim(ANNA, "5678")).raise_for_status().json()
    (row, _) = await service.certificates()
    assert answer.keys() == {"serial", "pdf_url", "picture_url", "json_url", "page_url"}
    assert (answer["serial"], row.claimed_at) == (row.serial, CLAIM_FROM)
    assert answer["page_url"] == f"http://certificate.test/v/{row.code}"
    (event,) = await service.published(CertificateClaimedV1)
    assert (event.viewer_ids, event.serials, event.claimed_at) == ([ANNA], [row.serial], [CLAIM_FROM])


async def test_where_no_phone_is_known_the_code_is_enough(service: CertificateService) -> None:
    assert (await service.claim(BO)).status_code == 200


@pytest.mark.parametrize("typed", ["５６７８", " 5678 ", "56 78"])
async def test_a_tail_may_be_typed_as_phones_type_it(service: CertificateService, typed: str) -> None:
    assert (await service.claim(ANNA, typed)).status_code == 200


async def test_a_code_may_be_typed_as_people_type_it(service: CertificateService) -> None:
    code = (await service.claim_codes())[BO]
    assert (await service.post_claim(f" {code[:4].lower()}-{code[4:]} ")).status_code == 200


@pytest.mark.parametrize("tail", [None, "", "5679", "13800005", "5678\x00"])
async def test_a_wrong_tail_claims_nothing(service: CertificateService, tail: str | None) -> None:
    assert problem(await service.claim(ANNA, tail)) == (403, "wrong-phone-tail")
    assert not await service.published(CertificateClaimedV1)
    assert all(row.claimed_at is None for row in await service.certificates())


@pytest.mark.parametrize("code", ["23456789", "", "?", "0OIL1", "ß" * 8, "\x00", "长" * 64])
async def test_a_wrong_code_is_not_found(service: CertificateService, code: str) -> None:
    body = json.dumps({"claim_code": code})
    answer = await service.client.post("/v1/claims", content=body, headers={"Content-Type": "application/json"})
    assert problem(answer) == (404, "wrong-claim-code")


async def test_claiming_again_answers_the_same_and_counts_once(service: CertificateService) -> None:
    first = (await service.claim(BO)).json()
    service.clock_is(CLAIM_FROM + timedelta(days=1))
    second = (await service.claim(BO)).json()
    assert second["serial"] == first["serial"]
    assert len(await service.published(CertificateClaimedV1)) == 1
    assert [row.claimed_at for row in await service.certificates() if row.viewer_id == BO] == [CLAIM_FROM]


async def test_claiming_at_the_same_moment_counts_once(service: CertificateService) -> None:
    await connect_all(service)  # otherwise the first claim is done before the others have a connection
    answers = await asyncio.gather(*(service.claim(BO) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len(await service.published(CertificateClaimedV1)) == 1


async def connect_all(service: CertificateService) -> None:
    everybody = asyncio.Barrier(service.settings.database_pool_size)

    async def connect() -> None:
        async with service.db.transaction():
            await everybody.wait()

    await asyncio.gather(*(connect() for _ in range(everybody.parties)))


async def test_a_revoked_certificate_cannot_be_claimed(service: CertificateService) -> None:
    await service.revoke(BO)
    assert problem(await service.claim(BO)) == (410, "certificate-revoked")
    assert not await service.published(CertificateClaimedV1)


async def test_a_reissued_certificate_has_another_code(service: CertificateService) -> None:
    old = (await service.claim_codes())[ANNA]
    new_serial = (await service.reissue(ANNA, "王示礼")).json()["serial"]
    assert problem(await service.post_claim(old, "5678")) == (410, "certificate-revoked")
    assert (await service.claim(ANNA, "5678")).json()["serial"] == new_serial


# ---- wrong tries -----------------------------------------------------------------------------------------------------

UNKNOWN = "23456789"


async def post_from(
    service: CertificateService, address: str, claim_code: str, phone_tail: str | None = None
) -> httpx.Response:
    body = {"claim_code": claim_code, "phone_tail": phone_tail}
    return await service.client_at(address).post("/v1/claims", json=body)


@asynccontextmanager
async def two_replicas(service: CertificateService, folder: Path) -> AsyncIterator[list[CertificateService]]:
    other = CertificateService(service.settings.database_url, folder)
    yield [service, other]
    await other.close()


async def time_passes(service: CertificateService, by: timedelta) -> None:
    """Moves the counted tries back, as if this much time had passed by the database's clock."""
    async with service.db.transaction() as tx:
        await tx.execute(
            "UPDATE wrong_try SET expires_at = expires_at - $1::interval, "
            "tried_at = ARRAY(SELECT t - $1::interval FROM unnest(tried_at) AS t)",
            by,
        )


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def test_wrong_claims_are_limited_by_address(service: CertificateService) -> None:
    answers = [await service.post_claim(UNKNOWN) for _ in range(BY_ADDRESS_MAX)]
    assert statuses(answers) == {404: BY_ADDRESS_MAX}
    refused = await service.post_claim(UNKNOWN)
    assert problem(refused) == (429, "too-many-wrong-claims")
    assert refused.headers["retry-after"] == "60"
    assert (await post_from(service, "10.0.0.9", UNKNOWN)).status_code == 404
    await time_passes(service, timedelta(seconds=61))
    assert (await service.post_claim(UNKNOWN)).status_code == 404


async def test_the_minute_moves_with_the_tries(service: CertificateService) -> None:
    for _ in range(BY_ADDRESS_MAX // 2):
        await service.post_claim(UNKNOWN)
    await time_passes(service, timedelta(seconds=40))
    for _ in range(BY_ADDRESS_MAX // 2):
        await service.post_claim(UNKNOWN)
    assert (await service.post_claim(UNKNOWN)).status_code == 429
    await time_passes(service, timedelta(seconds=21))  # now only the second half was within the last minute
    answers = [await service.post_claim(UNKNOWN) for _ in range(BY_ADDRESS_MAX // 2 + 1)]
    assert statuses(answers) == {404: BY_ADDRESS_MAX // 2, 429: 1}


async def test_an_ipv6_address_is_one_of_its_subscribers_many(service: CertificateService) -> None:
    answers = await asyncio.gather(
        *(post_from(service, f"2001:db8:1:2:{n:x}::{n:x}", UNKNOWN) for n in range(BY_ADDRESS_MAX + 40))
    )
    assert statuses(answers) == {404: BY_ADDRESS_MAX, 429: 40}
    assert (await post_from(service, "2001:db8:1:3::1", UNKNOWN)).status_code == 404


async def test_neighbours_do_not_stop_who_knows_the_code(service: CertificateService, tmp_path: Path) -> None:
    """Many viewers share one address behind a carrier or Docker's proxy, and any replica may answer them. Once the address has
    had too many wrong tries, a right claim still succeeds, and a claim without the right tail is refused like a wrong guess."""
    async with two_replicas(service, tmp_path) as replicas:
        for number in range(BY_ADDRESS_MAX):
            await replicas[number % 2].post_claim(UNKNOWN)
        codes = await service.claim_codes()
        for replica in replicas:
            assert (await replica.post_claim(codes[ANNA], "0000")).status_code == 429
            assert (await replica.post_claim(codes[ANNA])).status_code == 429
            assert (await replica.post_claim(codes[ANNA], "5678")).status_code == 200
            assert (await replica.post_claim(codes[BO])).status_code == 200
            assert (await replica.post_claim(UNKNOWN)).status_code == 429


async def test_wrong_phone_tails_of_one_code_are_limited_from_wherever_they_come(service: CertificateService) -> None:
    code = (await service.claim_codes())[ANNA]
    answers = await asyncio.gather(*(post_from(service, f"10.0.1.{n}", code, f"{n:04}") for n in range(20)))
    assert statuses(answers) == {403: BY_CODE_MAX, 429: 20 - BY_CODE_MAX}
    refused = await post_from(service, "10.0.1.99", code, "5678")
    assert problem(refused) == (429, "too-many-wrong-claims")
    assert refused.headers["retry-after"] == "3600"
    assert (await service.claim(BO)).status_code == 200
    await time_passes(service, timedelta(minutes=59))
    assert (await post_from(service, "10.0.1.99", code, "5678")).status_code == 429
    await time_passes(service, timedelta(minutes=2))
    assert (await post_from(service, "10.0.1.99", code, "5678")).status_code == 200


async def test_a_revoked_certificates_code_is_a_wrong_try(service: CertificateService) -> None:
    await service.revoke(BO)
    answers = [await service.claim(BO) for _ in range(BY_CODE_MAX + 1)]
    assert statuses(answers) == {410: BY_CODE_MAX, 429: 1}
    counted = await service.rows("SELECT cardinality(tried_at) FROM wrong_try")
    assert counted == [(BY_CODE_MAX,), (BY_CODE_MAX,)]  # one row for the code, one for the address


async def test_a_tail_left_out_is_no_wrong_try(service: CertificateService) -> None:
    for tail in (None, "", "  ") * BY_CODE_MAX:
        assert (await service.claim(ANNA, tail)).status_code == 403
    assert (await service.claim(ANNA, "5678")).status_code == 200


async def test_right_claims_are_not_limited(service: CertificateService) -> None:
    answers = [await service.claim(BO) for _ in range(BY_ADDRESS_MAX + 10)]
    assert statuses(answers) == {200: BY_ADDRESS_MAX + 10}
    assert await service.rows("SELECT count(*) FROM wrong_try") == [(0,)]


async def test_guessing_at_the_same_moment_at_several_replicas_does_not_get_around_the_limits(
    service: CertificateService, tmp_path: Path
) -> None:
    anna = (await service.claim_codes())[ANNA]
    async with two_replicas(service, tmp_path) as replicas:
        for replica in replicas:
            await connect_all(replica)
        guesses = await asyncio.gather(*(replica.post_claim(UNKNOWN) for replica in replicas for _ in range(100)))
        assert statuses(guesses) == {404: BY_ADDRESS_MAX, 429: 200 - BY_ADDRESS_MAX}
        tails = await asyncio.gather(
            *(post_from(replica, f"10.0.{n}.1", anna, "0000") for n, replica in enumerate(replicas * 20))
        )
        assert statuses(tails) == {403: BY_CODE_MAX, 429: 40 - BY_CODE_MAX}


async def test_a_right_tail_among_too_many_wrong_ones_is_sent_away(service: CertificateService) -> None:
    """Also at the same moment: a right claim waits for wrong tries of its code that are being counted."""
    code = (await service.claim_codes())[ANNA]
    limit = wrong_claims.by_code(service.settings.lookup_key, code)
    for number in range(BY_CODE_MAX - 1):
        await post_from(service, f"10.0.2.{number}", code, "0000")
    async with service.db.transaction() as tx:
        await wrong_tries.count(tx, [limit])  # the last wrong try that is allowed, not yet committed
        right = asyncio.create_task(service.claim(ANNA, "5678"))
        await asyncio.sleep(0.2)
        assert not right.done()
    assert problem(await right) == (429, "too-many-wrong-claims")


async def test_the_table_of_wrong_tries_names_nobody_and_empties_itself(service: CertificateService) -> None:
    anna = (await service.claim_codes())[ANNA]
    await post_from(service, "203.0.113.7", anna, "0000")
    kept = str(await service.rows("SELECT wrong_try::text, encode(who, 'escape') FROM wrong_try"))
    assert anna not in kept
    assert "203.0.113" not in kept
    (forgetting,) = [work for work in service.service.due_work if work.name == "wrong_claims"]
    await time_passes(service, timedelta(seconds=61))
    assert await forgetting.run(CLAIM_FROM) == 1  # the address's row; the code's row counts for an hour
    await time_passes(service, timedelta(hours=1))
    assert await forgetting.run(CLAIM_FROM) == 1
    assert await service.rows("SELECT count(*) FROM wrong_try") == [(0,)]


async def test_no_backup_has_the_wrong_tries(service: CertificateService, tmp_path: Path) -> None:
    await service.post_claim(UNKNOWN)
    taken = await dump.take(service.settings.database_url, tmp_path / "dump", lambda *_: None)
    assert {"certificate", "contact"} <= {table.name for table in taken.tables}
    assert "wrong_try" not in {table.name for table in taken.tables}


async def test_without_database_nobody_gets_a_try(service: CertificateService, tmp_path: Path) -> None:
    away = CertificateService("postgresql://certificate_app:x@127.0.0.1:1/nowhere", tmp_path)
    for code in (UNKNOWN, "?"):
        assert problem(await away.post_claim(code)) == (503, "database-away")
    await away.close()


# ---- the files -------------------------------------------------------------------------------------------------------


async def download(service: CertificateService, viewer_id: str, kind: str, tail: str | None = None) -> httpx.Response:
    url = (await service.claim(viewer_id, tail)).json()[f"{kind}_url"]
    return await service.client.get(path_of(url), headers={"Authorization": ""})


def text_of(pdf: bytes) -> str:
    return "".join(PdfReader(io.BytesIO(pdf)).pages[0].extract_text().split())


async def test_the_pdf_says_what_the_campaign_says(service: CertificateService) -> None:
    answer = await download(service, ANNA, "pdf", "5678")
    assert answer.headers["content-type"] == "application/pdf"
    assert "no-store" in answer.headers["cache-control"]
    page = text_of(answer.content)
    assert f"{NAME}参加“小活动”，累计签到2天。" in page
    for part in ("反诈结课证书", "示例反诈办", "第1课06-29第一课", "演示样证"):
        assert part in page


async def test_production_prints_no_specimen(database: DatabaseFactory, tmp_path: Path) -> None:
    running = CertificateService((await database("certificate")).url, tmp_path)
    await running.issue(checked_in(BO))
    real = CertificateService(running.settings.database_url, tmp_path, environment="production", clock_file=None)
    answer = await real.post_claim((await running.claim_codes())[BO])
    assert "演示样证" not in text_of((await real.client.get(path_of(answer.json()["pdf_url"]))).content)
    await running.close()
    await real.close()


async def test_the_pdf_is_kept_encrypted_and_given_again(service: CertificateService) -> None:
    first = await download(service, ANNA, "pdf", "5678")
    (kept,) = cached(service)
    assert kept.stat().st_mode & 0o077 == 0
    stored = kept.read_bytes()
    assert not stored.startswith(b"%PDF")
    for secret in (b"%PDF", NAME.encode(), NAME.encode("utf-16-be"), ANNA.encode(), first.content[500:540]):
        assert secret not in stored
    modified = kept.stat().st_mtime_ns
    assert (await download(service, ANNA, "pdf", "5678")).content == first.content
    assert [path.stat().st_mtime_ns for path in cached(service)] == [modified]


async def test_half_a_pdf_of_a_killed_process_goes(service: CertificateService) -> None:
    for name in ("23/tmpab12", f"{SCRATCH}/dead"):  # unfinished files of an earlier version and of this one
        unfinished = service.settings.pdf_dir / name
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(b"k1:half")
        os.utime(unfinished, (0, 0))
    await download(service, ANNA, "pdf", "5678")
    (kept,) = cached(service)
    assert (kept.name.count("-"), kept.suffix) == (5, ".pdf")  # serial, signature, wording, look


@pytest.mark.parametrize("damage", ["deleted", "truncated", "of another key", "unwritable"])
async def test_a_damaged_cache_is_only_slower(service: CertificateService, damage: str) -> None:
    first = await download(service, ANNA, "pdf", "5678")
    (kept,) = cached(service)
    match damage:
        case "deleted":
            kept.unlink()
        case "truncated":
            kept.write_bytes(kept.read_bytes()[:50])
        case "of another key":
            kept.write_bytes(b"k0" + kept.read_bytes()[2:])
        case "unwritable":
            kept.unlink()
            kept.parent.rmdir()
            kept.parent.write_text("in the way")
    assert (await download(service, ANNA, "pdf", "5678")).content == first.content


async def test_the_picture_is_for_a_phone_and_its_code_leads_to_the_page(service: CertificateService) -> None:
    answer = await download(service, ANNA, "picture", "5678")
    assert answer.headers["content-type"] == "image/png"
    assert "no-store" in answer.headers["cache-control"]
    drawn = Image.open(io.BytesIO(answer.content))
    assert (drawn.width, drawn.height > drawn.width) == (1080, True)
    (code,) = zxingcpp.read_barcodes(drawn.convert("RGB"))
    assert "王*例" in (await service.client.get(path_of(code.text))).text
    (kept,) = cached(service)
    assert (kept.suffix, answer.content[500:540] in kept.read_bytes()) == (".picture", False)
    assert (await download(service, ANNA, "picture", "5678")).content == answer.content


async def test_each_shape_is_kept_as_itself(service: CertificateService) -> None:
    (row, _) = await service.certificates()
    for _ in range(2):
        pdf, picture = [await download(service, ANNA, kind, "5678") for kind in ("pdf", "picture")]
        preview = await service.client.get(f"/v/{row.code}/preview.png")
        assert pdf.content.startswith(b"%PDF")
        assert [Image.open(io.BytesIO(image.content)).width for image in (picture, preview)] == [1080, 1200]
    assert sorted(path.suffix for path in cached(service)) == [".pdf", ".picture", ".preview"]


async def test_a_pdf_asked_for_several_times_at_once_is_the_same(service: CertificateService) -> None:
    url = path_of((await service.claim(ANNA, "5678")).json()["pdf_url"])
    answers = await asyncio.gather(*(service.client.get(url) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(cached(service)) == 1


async def test_a_corrected_wording_is_printed(service: CertificateService) -> None:
    await download(service, ANNA, "pdf", "5678")
    await service.deliver(*defined(2, certificate=certificate_rules(body="{name}学完“{campaign_title}”。")))
    assert f"{NAME}学完“小活动”。" in text_of((await download(service, ANNA, "pdf", "5678")).content)


async def test_without_a_definition_the_pdf_uses_its_own_words(
    service: CertificateService, postgres: RunningPostgres
) -> None:
    name = urlsplit(service.settings.database_url).path.removeprefix("/")
    await postgres.execute("DELETE FROM definition", role="certificate_owner", database=name)
    page = text_of((await download(service, ANNA, "pdf", "5678")).content)
    assert "完成规定课程" in page
    assert LESSONS[0].isoformat() in page


def cached(service: CertificateService) -> list[Path]:
    return [path for path in service.settings.pdf_dir.rglob("*") if path.is_file()]


async def test_a_link_expires(service: CertificateService) -> None:
    serial = (await service.claim(BO)).json()["serial"]
    url, key = service.settings.public_url, service.settings.lookup_key
    for link in Links(url, key, valid_for=timedelta(minutes=1)).to(serial).values():
        assert (await service.client.get(path_of(link))).status_code == 200
    for link in Links(url, key, valid_for=timedelta(seconds=-1)).to(serial).values():
        assert problem(await service.client.get(path_of(link))) == (404, "link-expired")


async def test_a_claim_s_links_last_as_long_as_its_page_says(service: CertificateService) -> None:
    link = (await service.claim(BO)).json()["pdf_url"]
    claims = jwt.decode(path_of(link).split("/")[2], options={"verify_signature": False})
    left_s = claims["exp"] - datetime.now(UTC).timestamp()
    assert 29 * 60 < left_s <= 30 * 60


async def test_a_link_leads_to_its_own_certificate_only(service: CertificateService) -> None:
    (anna, _) = await service.certificates()
    token = path_of((await service.claim(BO)).json()["json_url"]).split("/")[2]
    head, body, signature = token.split(".")
    forged = jwt.encode({"sub": anna.serial, "aud": "certificate-file", "exp": 4102444800}, "k" * 32, algorithm="HS256")
    unsigned = jwt.encode({"sub": anna.serial, "aud": "certificate-file", "exp": 4102444800}, "", algorithm="none")
    other = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")
    for tampered in (
        f"{head}.{body}.{other}",
        f"{head}.{forged.split('.')[1]}.{signature}",
        forged,
        unsigned,
        "x",
        "é%FF%00",
    ):
        assert problem(await service.client.get(f"/files/{tampered}/certificate.json")) == (404, "link-expired")
    assert (await service.client.get(f"/files/{'x' * 1001}/certificate.json")).status_code == 422


async def test_a_link_ends_with_its_certificate(service: CertificateService) -> None:
    links = (await service.claim(BO)).json()
    await service.revoke(BO)
    for kind in ("pdf_url", "picture_url", "json_url"):
        assert problem(await service.client.get(path_of(links[kind]))) == (404, "not-found")


# ---- verifying -------------------------------------------------------------------------------------------------------


async def verify(service: CertificateService, **body: Any) -> Any:
    answer = await service.client.post("/v1/verify", json=body, headers={"Authorization": ""})
    return answer.raise_for_status().json()


async def test_a_downloaded_document_is_genuine(service: CertificateService) -> None:
    document = (await download(service, ANNA, "json", "5678")).json()
    assert document["content"]["name"] == NAME
    (row, _) = await service.certificates()
    assert await verify(service, **document) == {
        "genuine": True,
        "status": "valid",
        "serial": row.serial,
        "campaign_title": "小活动",
        "holder": "王*例",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"name": "李示例"},
        {"credited_lessons": []},
        {"extra": 1},
        {"serial": None},
        {"name": "a\x00b"},
        {"name": {"a": [1]}},
    ],
)
async def test_an_altered_document_is_not(service: CertificateService, change: dict[str, Any]) -> None:
    document = (await download(service, ANNA, "json", "5678")).json()
    answer = await verify(service, content=document["content"] | change, signature=document["signature"])
    assert answer == {"genuine": False, "status": "altered", "serial": None, "campaign_title": None, "holder": None}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"key_id": "0" * 16}, "unknown_key"),
        ({"key_id": ["x"]}, "altered"),
        ({"value": 7}, "altered"),
        ({"value": "é"}, "altered"),
        ({"algorithm": "none"}, "altered"),
    ],
)
async def test_another_signature_is_not_ours(service: CertificateService, change: dict[str, Any], status: str) -> None:
    document = (await download(service, ANNA, "json", "5678")).json()
    answer = await verify(service, content=document["content"], signature=document["signature"] | change)
    assert (answer["genuine"], answer["status"]) == (False, status)


async def test_a_serial_is_looked_up_as_typed(service: CertificateService) -> None:
    (_, row) = await service.certificates()
    answer = await verify(service, serial=row.serial.replace("-", " ").lower())
    assert (answer["genuine"], answer["serial"], answer["holder"]) == (True, row.serial, "b****t")
    for unknown in ("7K3M-9QXV-2HD4", "", "\x00", row.serial[:-1] + ("2" if row.serial[-1] != "2" else "3")):
        assert (await verify(service, serial=unknown))["status"] == "unknown"


async def test_a_revoked_certificate_is_said_to_be(service: CertificateService) -> None:
    document = (await download(service, ANNA, "json", "5678")).json()
    await service.revoke(ANNA)
    answer = await verify(service, **document)
    assert (answer["genuine"], answer["status"]) == (False, "revoked")
    assert (await verify(service, serial=document["content"]["serial"]))["status"] == "revoked"


async def test_a_reissued_ones_old_document_is_revoked(service: CertificateService) -> None:
    document = (await download(service, ANNA, "json", "5678")).json()
    await service.reissue(ANNA, "王示礼")
    assert (await verify(service, **document))["status"] == "revoked"
    assert (await verify(service, **(await download(service, ANNA, "json", "5678")).json()))["genuine"]


# ---- the page to claim on ---------------------------------------------------------------------------------------------


async def send_form(service: CertificateService, **fields: str) -> httpx.Response:
    return await service.client.post("/claim", data=fields, headers={"Authorization": ""})


async def test_the_form_asks_for_code_and_tail_and_may_only_be_sent_to_us(service: CertificateService) -> None:
    answer = await service.client.get("/claim", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert 'name="claim_code"' in answer.text
    assert 'name="phone_tail"' in answer.text
    assert "form-action 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


async def test_a_claim_by_form_counts_once_and_shows_the_certificate(service: CertificateService) -> None:
    code = (await service.claim_codes())[ANNA]
    first = await send_form(service, claim_code=f" {code.lower()} ", phone_tail="５６７８")
    again = await send_form(service, claim_code=code, phone_tail="5678")
    (row, _) = await service.certificates()
    assert (first.status_code, again.status_code) == (200, 200)
    assert row.serial in first.text
    assert "<form" not in first.text
    assert len(await service.published(CertificateClaimedV1)) == 1
    assert NAME in first.text
    assert "img-src 'self'" in first.headers["content-security-policy"]
    (shown,) = re.findall(r'<img [^>]*src="([^"]+)"', first.text)
    (pdf,) = re.findall(r'href="([^"]+certificate\.pdf)"', first.text)
    (page,) = re.findall(r'href="(v/[^"]+)"', first.text)
    assert (await service.client.get("/" + shown)).headers["content-type"] == "image/png"
    assert (await service.client.get("/" + pdf)).content.startswith(b"%PDF")
    assert "王*例" in (await service.client.get("/" + page)).text


async def test_an_account_without_a_phone_claims_with_an_empty_tail(service: CertificateService) -> None:
    answer = await send_form(service, claim_code=(await service.claim_codes())[BO], phone_tail="")
    assert (answer.status_code, "领取成功" in answer.text) == (200, True)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"claim_code": "AAAAAAAA"}, 404, "领取码不正确"),
        ({"claim_code": "<b>&\"'"}, 404, "领取码不正确"),
        ({"claim_code": "长" * 1_000, "phone_tail": "9" * 3_000}, 404, "领取码不正确"),
        ({}, 404, "领取码不正确"),
    ],
)
async def test_a_form_filled_in_wrongly_says_so_and_keeps_what_was_typed(
    service: CertificateService, fields: dict[str, str], status: int, says: str
) -> None:
    answer = await send_form(service, **fields)
    assert answer.status_code == status
    assert says in answer.text
    assert "<b>" not in answer.text
    assert fields.get("claim_code", "")[:CLAIM_CODE_MAX] in html.unescape(answer.text)


FORM = {"Authorization": "", "Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("body", [b"claim_code=%FF%00%zz&phone_tail", b"\xff&&=;==", b"claim_code[]=x", b"%", b""])
async def test_what_no_browser_sends_is_a_wrong_code(service: CertificateService, body: bytes) -> None:
    answer = await service.client.post("/claim", content=body, headers=FORM)
    assert (answer.status_code, "领取码不正确" in answer.text) == (404, True)


async def test_a_form_s_size_and_parts_are_limited(service: CertificateService) -> None:
    bodies: Bodies = service.app.state.bodies
    too_large = await service.client.post("/claim", content=b"claim_code=" + b"x" * BODY_MAX_BYTES, headers=FORM)
    assert problem(too_large) == (413, "too-large")
    too_many = await service.client.post("/claim", content=b"a=1&" * FORM_FIELDS_MAX + b"claim_code=x", headers=FORM)
    assert problem(too_many) == (400, "bad-request")
    file = await service.client.post("/claim", files={"claim_code": b"x"}, headers={"Authorization": ""})
    assert problem(file) == (400, "bad-request")
    assert bodies.held_bytes == 0


async def test_a_wrong_tail_in_the_form_claims_nothing(service: CertificateService) -> None:
    code = (await service.claim_codes())[ANNA]
    answer = await send_form(service, claim_code=code, phone_tail="0000")
    assert (answer.status_code, "后四位不匹配" in answer.text, code in answer.text) == (403, True, True)
    assert await service.published(CertificateClaimedV1) == []


async def test_the_form_counts_for_the_same_limit_as_the_interface(service: CertificateService) -> None:
    for _ in range(BY_ADDRESS_MAX):
        await send_form(service, claim_code="AAAAAAAA")
    answer = await send_form(service, claim_code="AAAAAAAA")
    assert (answer.status_code, "尝试次数过多" in answer.text) == (429, True)
    assert answer.headers["retry-after"] == "60"
    assert (await service.post_claim("AAAAAAAA")).status_code == 429


async def test_a_character_that_no_font_has_is_shown_to_the_office_and_counted(service: CertificateService) -> None:
    path = f"/v1/campaigns/{CAMPAIGN}/certificates/{ANNA}"
    assert (await service.client.get(path)).json()["missing_characters"] == ""
    await service.reissue(ANNA, "王\U0002a6d6例")
    assert (await service.client.get(path)).json()["missing_characters"] == "\U0002a6d6"
    for person, tail in ((ANNA, "5678"), (BO, None)):
        await download(service, person, "pdf", tail)
    assert "\nfanzha_certificates_incomplete_total 1.0\n" in (await service.client.get("/metrics")).text


async def test_what_cannot_be_a_code_uses_up_nobodys_tries(service: CertificateService) -> None:
    """Many viewers share one carrier's address: their typing mistakes must not lock out anybody with a right code."""
    for typed in ["", "ABCD234", "反诈96110"] * BY_ADDRESS_MAX:
        assert (await send_form(service, claim_code=typed)).status_code == 404
    assert (await service.claim(BO)).status_code == 200


async def test_dead_ends_are_pages_in_chinese(service: CertificateService) -> None:
    browser = {"Accept": "text/html,*/*;q=0.8", "Authorization": ""}
    for path, status, says in (
        ("/", 200, 'href="claim"'),
        ("/files/x/certificate.pdf", 404, "下载链接无效或已过期"),
        ("/nothing", 404, "没有这个页面"),
    ):
        answer = await service.client.get(path, headers=browser)
        assert (answer.status_code, says in answer.text, "<style>" in answer.text) == (status, True, True), path


async def test_the_form_says_come_back_while_the_database_is_away(tmp_path: Path) -> None:
    away = CertificateService("postgresql://certificate_app:x@127.0.0.1:1/nowhere", tmp_path)
    answer = await send_form(away, claim_code="AAAAAAAA")
    assert (answer.status_code, "请稍后再试" in answer.text) == (503, True)
    assert "retry-after" in answer.headers
    await away.close()


# ---- the public page -------------------------------------------------------------------------------------------------


async def test_the_public_page_shows_a_masked_holder_and_nothing_else(service: CertificateService) -> None:
    (row, _) = await service.certificates()
    answer = await service.client.get(f"/v/{row.code}", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "王*例" in answer.text
    assert row.serial in answer.text
    for hidden in (NAME, ANNA, "5678", certificates.claim_code_of(row, service.keys), "已撤销"):
        assert hidden not in answer.text


async def test_what_a_former_key_signed_is_genuine(service: CertificateService, tmp_path: Path) -> None:
    document = (await download(service, ANNA, "json", "5678")).json()
    new_key = base64.b64encode(bytes(range(32))).decode()
    after = CertificateService(service.settings.database_url, tmp_path, certificate_signing_key=new_key)
    assert (await verify(after, **document))["genuine"] is True
    strange = document["signature"] | {"key_id": "0" * 16}
    assert (await verify(after, content=document["content"], signature=strange))["status"] == "unknown_key"
    await after.reissue(ANNA, "王示礼")
    signed_anew = (await download(after, ANNA, "json", "5678")).json()
    assert signed_anew["signature"]["key_id"] == after.keys.signing.key_id
    assert (await verify(service, **signed_anew))["genuine"] is True, "a replica that has not been started again"
    await after.close()


async def test_a_serial_or_the_downloaded_file_is_verified_by_form(service: CertificateService) -> None:
    (row, _) = await service.certificates()
    document = (await download(service, ANNA, "json", "5678")).content
    altered = document.replace(NAME.encode(), "李示例".encode())
    browser: dict[str, Any] = {"headers": {"Authorization": ""}}
    assert 'name="serial"' in (await service.client.get("/v/", **browser)).text
    for form, status, says in (
        ({"data": {"serial": row.serial.lower().replace("-", " ")}}, 200, "证书有效"),
        ({"files": {"file": ("a.json", document)}}, 200, "证书有效"),
        ({"files": {"file": ("a.json", altered)}}, 200, "文件与发证记录不符"),
        ({"files": {"file": ("a.json", b"%PDF")}}, 422, "这不是电子证书文件"),
        ({"data": {"serial": "7K3M-9QXV-2HD4"}}, 404, "没有这个编号的证书"),
        ({"data": {"serial": ""}, "files": {"file": ("", b"")}}, 422, "请填写证书编号"),
        ({}, 422, "请填写证书编号"),
    ):
        answer = await service.client.post("/v/", **form, **browser)
        assert (answer.status_code, says in answer.text) == (status, True), says
    assert NAME not in answer.text
    await service.revoke(ANNA)
    answer = await service.client.post("/v/", files={"file": ("a.json", document)}, **browser)
    assert (answer.status_code, "已撤销" in answer.text) == (200, True)


async def test_the_public_page_of_a_revoked_certificate_says_so(service: CertificateService) -> None:
    (row, _) = await service.certificates()
    await service.revoke(ANNA)
    answer = await service.client.get(f"/v/{row.code.lower()}")
    assert (answer.status_code, "已撤销" in answer.text) == (200, True)
    assert "og:image" not in answer.text
    assert problem(await service.client.get(f"/v/{row.code}/preview.png")) == (404, "not-found")


async def test_what_a_chat_fetches_of_the_lasting_link_is_masked(service: CertificateService) -> None:
    """The page's link works longer than the links to the holder's files, and after contacts were deleted."""
    page = path_of((await service.claim(ANNA, "5678")).json()["page_url"])
    service.clock_is(CLAIM_FROM + 2 * contacts.CONTACT_RETENTION)
    (retention,) = [work for work in service.service.due_work if work.name == "retention"]
    await retention.run_until_done(service.service.clock, service.service.metrics)
    assert await service.rows("SELECT count(*) FROM contact") == [(0,)]
    chat: dict[str, Any] = {"headers": {"Authorization": "", "User-Agent": "a chat"}}
    answer = await service.client.get(page, **chat)
    (image,) = re.findall(r'property="og:image" content="([^"]+)"', answer.text)
    assert 'property="og:description" content="王*例，累计签到 2 天' in answer.text
    for hidden in (NAME, ANNA, "5678"):
        assert hidden not in answer.text
    preview = await service.client.get(path_of(image), **chat)
    assert (preview.status_code, preview.headers["content-type"]) == (200, "image/png")
    assert problem(await service.client.get(f"/v/{'2' * 26}/preview.png", **chat)) == (404, "not-found")


@pytest.mark.parametrize("code", ["2" * 26, "x", "%00", "%FF", "' OR 1=1", "长" * 26])
async def test_an_unknown_code_is_not_found(service: CertificateService, code: str) -> None:
    answer = await service.client.get(f"/v/{code}")
    assert answer.status_code == 404
    assert code not in answer.text or code == "x"


async def test_the_pdf_leads_to_the_pages_that_verify(service: CertificateService) -> None:
    pdf = (await download(service, ANNA, "pdf", "5678")).content
    (row, _) = await service.certificates()
    annotations: Any = PdfReader(io.BytesIO(pdf)).pages[0]["/Annots"]
    (link,) = [annotation.get_object()["/A"]["/URI"] for annotation in annotations]
    assert link == f"http://certificate.test/v/{row.code}"
    assert "http://certificate.test/v/" in text_of(pdf)
    for url in (link, "http://certificate.test/v/"):
        assert (await service.client.get(path_of(url))).status_code == 200


async def test_every_page_has_the_icon(service: CertificateService) -> None:
    for path in ("/", "/claim", "/v/", "/nothing"):
        page = await service.client.get(path, headers={"Accept": "text/html", "Authorization": ""})
        assert '<link rel="icon" href="/favicon.ico">' in page.text
    icon = await service.client.get("/favicon.ico", headers={"Authorization": ""})
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(icon.content)).size == (96, 96)
