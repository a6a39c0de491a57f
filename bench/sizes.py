"""Measures how much room stored data takes: docs/performance.md sizes a province by these figures."""

from bench.stack import BenchStack

CHECKINS = "SELECT sum(bit_count(live::bit(64)))::bigint FROM viewer"
IN_LEDGER = (
    "SELECT sum(json_array_length(convert_from(payload, 'UTF8')::json -> 'viewer_ids')) FROM outbox "
    "WHERE subject = 'events.checkin.checkin_recorded.v1'"
)


async def sizes(stack: BenchStack) -> dict[str, float]:
    """Bytes per viewer and per check-in, and the share of updates of viewers that touched no index (HOT)."""
    async with stack.database("checkin") as database:
        viewers = await database.fetchval("SELECT count(*) FROM viewer")
        in_ledger = await database.fetchval(IN_LEDGER)

        async def bytes_per(of: str, count: int) -> float:
            return round(float(await database.fetchval(f"SELECT {of}::float8") / count), 1)

        return {
            "viewers": viewers,
            "check-ins": await database.fetchval(CHECKINS),
            "viewer: heap bytes per viewer": await bytes_per("pg_table_size('viewer')", viewers),
            "viewer: index bytes per viewer": await bytes_per("pg_indexes_size('viewer')", viewers),
            "enrolment: bytes per viewer": await bytes_per(
                "pg_total_relation_size('enrolment')", await database.fetchval("SELECT count(*) FROM enrolment")
            ),
            "ledger: bytes per check-in": await bytes_per("pg_total_relation_size('outbox')", in_ledger),
            "event: bytes per check-in": await bytes_per(
                "(SELECT sum(octet_length(payload)) FROM outbox WHERE subject = 'events.checkin.checkin_recorded.v1')",
                in_ledger,
            ),
            "viewer: share of HOT updates": round(
                float(
                    await database.fetchval(
                        "SELECT n_tup_hot_upd::float8 / nullif(n_tup_upd, 0) FROM pg_stat_user_tables WHERE relname = 'viewer'"
                    )
                    or 0
                ),
                3,
            ),
        }
