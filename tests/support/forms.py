"""A form and what can stand in one, to start from."""

from typing import Any


def number(field_id: str, **more: Any) -> dict[str, Any]:
    return {"id": field_id, "title": "数", "type": "integer", "unit": "人次", "kind": "increment"} | more


def form(**changes: Any) -> dict[str, Any]:
    """A daily form of the counties for every lesson, as JSON content; `changes` replace its keys."""
    content: dict[str, Any] = {
        "id": "daily",
        "title": "每日学习情况",
        "filled_by": {"levels": ["county"]},
        "every": "lesson",
        "fields": [
            number("viewers"),
            {
                "id": "sites",
                "title": "点位",
                "type": "table",
                "rows": "free",
                "columns": [number("posters", unit="份")],
            },
        ],
    }
    return content | changes


def indicator(formula: str, **more: Any) -> dict[str, Any]:
    return {"id": "rate", "title": "观看率", "formula": formula} | more
