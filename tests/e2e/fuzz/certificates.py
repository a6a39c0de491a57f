"""Claims and verifications of certificates of which everything is known: codes, phone tails, signed files."""

import base64
import copy
import json
import random
import string
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.e2e.fuzz.asgi import Answer, Tally, call
from tests.support.certificate import CertificateService, checked_in, enrolled, path_of

HOLDERS = 60
NAME = "司马长亮测试"
SMALL_BYTES = 2_000  # longer ones may be 413, whatever is in them
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Holder:
    claim_code: str
    serial: str
    phone_tail: str | None
    is_guessed_at: bool  # wrong tails are tried: its right claims may then be refused for an hour


@dataclass(frozen=True)
class Issued:
    app: Any
    holders: list[Holder]
    documents: list[dict[str, Any]]


async def issue(service: CertificateService) -> Issued:
    viewers = [f"viewer-{n:02}" for n in range(HOLDERS)]
    phones = {viewer: f"1390000{n:04}" if n % 3 else None for n, viewer in enumerate(viewers)}
    await service.issue(enrolled(*((viewer, NAME, phones[viewer]) for viewer in viewers)), checked_in(*viewers))
    codes = await service.claim_codes()
    serials = {row.viewer_id: row.serial for row in await service.certificates()}
    holders, documents = [], []
    for n, viewer in enumerate(viewers):
        phone = phones[viewer]
        holders.append(Holder(codes[viewer], serials[viewer], phone and phone[-4:], n % 4 == 1))
        if n < 5:
            answer = await service.claim(viewer, phone and phone[-4:])
            documents.append((await service.client.get(path_of(answer.json()["json_url"]))).json())
    return Issued(service.app, holders, documents)


def _address(rng: random.Random) -> str:
    """Of its own for each try: limits by address are another test's."""
    return rng.choice(("10.{}.{}.{}", "172.20.{1}.{2}")).format(*(rng.randrange(256) for _ in range(3)))


def _typed(rng: random.Random, code: str) -> str:
    """The code as people type it; still the same code."""
    if rng.random() < 0.3:
        code = code.lower()
    if rng.random() < 0.3:
        code = "".join(chr(ord(character) + 0xFEE0) if rng.random() < 0.5 else character for character in code)
    blank = rng.choice(("", "", " ", "-", "–", "\u3000"))
    return rng.choice(("", " ")) + blank.join((code[:4], code[4:])) + rng.choice(("", " "))


def _text(rng: random.Random) -> str:
    alphabets = (string.printable, "领取码０１２٣\u200b\u202e𠮷", "\x00\x01\x1f\x7f\x85", "\ud83d\ude00ßıŉ")
    return "".join(rng.choices(rng.choice(alphabets), k=rng.choice((0, 1, 4, 8, 9, 64, 65, 500))))


def _value(rng: random.Random) -> Any:
    return rng.choice((None, True, 0, -1.5, 10**400, [], {}, [[]], {"a": {}}, _text(rng), "x" * 5000))


def _damaged(rng: random.Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    junk = rng.choice((b"", b'"', b"}", b"\xff", b"\0", b"NaN", b"[" * 3000, b"\\ud800", b"1e999", rng.randbytes(3)))
    return body[:at] + junk + body[at + rng.choice((0, 1, 5)) :]


# ---- claims ------------------------------------------------------------------------------------------------------------


async def claim(issued: Issued, tally: Tally, rng: random.Random, number: int) -> None:
    if rng.random() < 0.35:
        await _claim_rightly(issued, tally, rng)
    else:
        await _claim_wrongly(issued, tally, rng)


async def _claim_rightly(issued: Issued, tally: Tally, rng: random.Random) -> None:
    holder = rng.choice([holder for holder in issued.holders if not holder.is_guessed_at])
    fields: dict[str, Any] = {"claim_code": _typed(rng, holder.claim_code)}
    if holder.phone_tail is not None or rng.random() < 0.3:
        tail = holder.phone_tail or "1234"
        fields["phone_tail"] = (
            "".join(chr(ord(character) + 0xFEE0) for character in tail) if rng.random() < 0.2 else tail
        )
    if rng.random() < 0.3:
        body, headers = urlencode(fields).encode(), {"content-type": "application/x-www-form-urlencoded"}
        answer = await call(issued.app, tally, "/claim", body, headers, address=_address(rng))
        if answer and (answer.status != 200 or holder.serial.encode() not in answer.body):
            tally.spoil(f"{answer.status} on the page to a right claim", fields)
        return
    body = json.dumps(fields | rng.choice(({}, {"more": [1]})), ensure_ascii=rng.random() < 0.5).encode()
    answer = await call(issued.app, tally, "/v1/claims", body, JSON, address=_address(rng))
    if answer and (answer.status != 200 or answer.json()["serial"] != holder.serial):
        tally.spoil(f"{answer.status} {answer.body[:200]!r} to a right claim", fields)
    _count(tally, answer)


async def _claim_wrongly(issued: Issued, tally: Tally, rng: random.Random) -> None:
    holder = rng.choice([holder for holder in issued.holders if holder.is_guessed_at])
    right = {"claim_code": holder.claim_code, "phone_tail": holder.phone_tail}
    match rng.randrange(5):
        case 0:  # its tail is 00.., never 9999
            body = json.dumps(right | {"phone_tail": rng.choice(("9999", "", "9", "٩٩٩٩", "999 9"))}).encode()
            wrong = holder.phone_tail is not None
        case 1:
            body, wrong = json.dumps({"claim_code": "".join(rng.choices("23456789ABCDEFGHJKMN", k=8))}).encode(), True
        case 2:
            body, wrong = json.dumps({"claim_code": _text(rng), "phone_tail": _text(rng)}).encode(), True
        case 3:
            body, wrong = json.dumps({rng.choice(("claim_code", "phone_tail", "x")): _value(rng)}).encode(), True
        case _:
            body, wrong = _damaged(rng, json.dumps(right).encode()), False
    form = rng.random() < 0.2
    path, headers = ("/claim", {"content-type": "application/x-www-form-urlencoded"}) if form else ("/v1/claims", JSON)
    answer = await call(issued.app, tally, path, body, headers, address=_address(rng))
    if answer is None:
        return
    _count(tally, answer)
    if answer.status not in (200, 400, 403, 404, 410, 413, 422, 429):
        tally.fault(f"{answer.status}", body)
    if wrong and answer.status == 200:
        tally.spoil("a wrong claim passed", body)
    if NAME.encode() in answer.body:
        tally.fault("the answer names the holder", body)


def _count(tally: Tally, answer: Answer | None) -> None:
    if answer is not None:
        tally.answers[str(answer.status)] += 1


# ---- verifying ---------------------------------------------------------------------------------------------------------


async def verify(issued: Issued, tally: Tally, rng: random.Random, number: int) -> None:
    match rng.randrange(6):
        case 0:
            await _verify_serial(issued, tally, rng)
        case 1 | 2 | 3:
            await _verify_document(issued, tally, rng)
        case 4:
            await _verify_anything(issued, tally, rng)
        case _:
            code = _text(rng).encode("utf-8", "replace").decode() or "x"
            answer = await call(issued.app, tally, f"/v/{code}", b"", {}, method="GET", address=_address(rng))
            if answer and answer.status not in (200, 404, 405, 422, 307, 429):
                tally.fault(f"{answer.status}", code)


async def _verify_serial(issued: Issued, tally: Tally, rng: random.Random) -> None:
    serial = rng.choice(issued.holders).serial
    if is_right := rng.random() < 0.5:
        typed = serial.lower() if rng.random() < 0.5 else serial.replace("-", rng.choice(("", " ", "–")))
    else:
        at = rng.choice([at for at, character in enumerate(serial) if character != "-"])
        typed = (
            serial[:at]
            + rng.choice([character for character in "23456789ABCDEFGHJKMNPQRSTUVWXYZ" if character != serial[at]])
            + serial[at + 1 :]
        )
    await _ask(issued, tally, rng, json.dumps({"serial": typed}).encode(), genuine=is_right)


async def _verify_document(issued: Issued, tally: Tally, rng: random.Random) -> None:
    original = rng.choice(issued.documents)
    document = copy.deepcopy(original)
    content, signature = document["content"], document["signature"]
    match rng.randrange(9):
        case 0 | 1:
            document["added"] = _text(rng).encode("ascii", "replace").decode()  # beside what is signed
        case 2:
            name = rng.choice(sorted(content))
            content[name] = rng.choice(
                (_value(rng), [content[name]], str(content[name]) + rng.choice((" ", "\u200b", "0")))
            )
        case 3:
            del content[rng.choice(sorted(content))]
        case 4:
            content[_text(rng)] = _value(rng)
        case 5:
            content["credited_lessons"] = rng.choice(
                ([], content["credited_lessons"][::-1], content["credited_lessons"] * 2)
            )
        case 6:
            signature[rng.choice(sorted(signature))] = _value(rng)
        case 7:
            raw = bytearray(base64.b64decode(signature["value"]))
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            signature["value"] = base64.b64encode(raw).decode()
        case _:
            document[rng.choice(("content", "signature"))] = _value(rng)
    same = (document.get("content"), document.get("signature")) == (original["content"], original["signature"])
    pairs = list(document.items())
    rng.shuffle(pairs)
    body = json.dumps(dict(pairs), ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1))).encode(
        errors="surrogatepass"
    )
    await _ask(issued, tally, rng, body, genuine=same)


async def _verify_anything(issued: Issued, tally: Tally, rng: random.Random) -> None:
    names = ("serial", "content", "signature", "x")
    body = json.dumps({rng.choice(names): _value(rng), rng.choice(names): _value(rng)}).encode()
    if rng.random() < 0.6:
        body = _damaged(rng, body)
    await _ask(issued, tally, rng, body, genuine=False)


async def _ask(issued: Issued, tally: Tally, rng: random.Random, body: bytes, *, genuine: bool) -> None:
    answer = await call(issued.app, tally, "/v1/verify", body, JSON, address=_address(rng))
    if answer is None:
        return
    _count(tally, answer)
    is_genuine = answer.status == 200 and answer.json()["genuine"]
    if genuine and not is_genuine and (answer.status != 413 or len(body) < SMALL_BYTES):
        tally.spoil(f"{answer.status} {answer.body[:200]!r} to a genuine certificate", body)
    if is_genuine and not genuine:
        tally.spoil("called genuine", body)
    if answer.status not in (200, 400, 413, 422, 429):
        tally.fault(f"{answer.status}", body)
    if NAME.encode() in answer.body:
        tally.fault("the answer names the holder", body)
