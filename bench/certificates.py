"""Measures what follows a completed course: issuing certificates, texts to their holders, PDFs at the first claim."""

import asyncio
import time

from bench import checker
from bench.cases import Bench, Result
from bench.workload import CLAIM_FROM, phone_of, viewer_id

CLAIMS_AT_ONCE = 4  # from one address (services/certificate/api/)


async def issue(bench: Bench, campaign_id: str, numbers: list[int]) -> list[Result]:
    """Measures issuing to viewers who have completed and whose names and phones are known, when the claim time comes."""
    stack = bench.stack
    meter = stack.meter()
    await stack.checkpoint()
    await meter.start()
    began = time.monotonic()
    stack.set_clock(CLAIM_FROM)
    async with stack.database("certificate") as issued, stack.database("notification") as sent:
        certificates = "SELECT count(*) FROM certificate WHERE campaign_id = $1"
        done = await checker.until("certificates", lambda: issued.fetchval(certificates, campaign_id), len(numbers))
        texts = "SELECT count(*) FROM notification WHERE campaign_id = $1 AND status = 'delivered'"
        told = await checker.until("texts", lambda: sent.fetchval(texts, campaign_id), len(numbers))
    usage = await meter.stop()
    async with stack.database("reporting") as reporting:
        sums = "SELECT sum(issued)::bigint FROM certificate_total WHERE campaign_id = $1"
        await checker.until("certificates in the totals", lambda: reporting.fetchval(sums, campaign_id), len(numbers))
    files = len(list((stack.home.messages / campaign_id / "certificate_ready").glob("*.txt")))
    checker.expect("texts as files", len(numbers), files)
    results = [
        Result("certificates issued", "certificates", len(numbers), done - began, None),
        Result("issued, texts in the file channel", "texts", len(numbers), told - began, usage),
    ]
    for result in results:
        bench.say(f"{result.name}: {result.rate:,.0f}/s")
    return results


async def pdfs(bench: Bench, campaign_id: str, numbers: list[int]) -> Result:
    """Measures claims, and the PDF that is rendered for each."""
    codes = [
        (number, (await bench.stack.call("certificate", "GET", _path(campaign_id, number)))["claim_code"])
        for number in numbers
    ]
    meter = bench.stack.meter()
    turns = asyncio.Semaphore(CLAIMS_AT_ONCE)

    async def claim(number: int, code: str) -> None:
        async with turns:
            body = {"claim_code": code, "phone_tail": phone_of(number)[-4:]}
            answer = await bench.stack.call("certificate", "POST", "/v1/claims", json=body)
            pdf = await bench.stack.http.get(answer["pdf_url"])
            checker.expect("PDF", (200, b"%PDF"), (pdf.status_code, pdf.content[:4]))

    await meter.start()
    began = time.monotonic()
    await asyncio.gather(*(claim(number, code) for number, code in codes))
    result = Result("claims with PDF", "PDFs", len(codes), time.monotonic() - began, await meter.stop())
    bench.say(f"{result.name}: {result.rate:,.0f}/s")
    return result


def _path(campaign_id: str, number: int) -> str:
    return f"/v1/campaigns/{campaign_id}/certificates/{viewer_id(number)}"
