"""单位看板: what each unit's people did, from the read-only database. Exact figures; choose campaign, lesson and county."""

# ruff: noqa: S608 - SQL of constants; what the reader chooses is filled in and escaped by Grafana

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.boards import parts
from deploy.grafana.boards.parts import COUNT, GREEN, RED, SHARE, YELLOW, Panel, Place, Sql, rows

LESSONS = """
SELECT '第 ' || number || ' 课 ' || to_char(lesson_date, 'MM-DD') AS __text, lesson_date::text AS __value
FROM boards.lesson JOIN boards.campaign USING (campaign_id) WHERE campaign_id = '$campaign'
ORDER BY (lesson_date <= latest_lesson) DESC NULLS LAST, CASE WHEN lesson_date <= latest_lesson THEN -number ELSE number END
"""
# 全部 is a row like the others, because Grafana quotes the value of its own "All" differently from other values.
COUNTIES = """
SELECT '全部' AS __text, '*' AS __value, -1 AS position
UNION (SELECT county_name, county_code, county_position FROM boards.unit WHERE campaign_id = '$campaign') ORDER BY position
"""
NAMED = (
    "* on (campaign, county) group_left (name) "
    'max by (campaign, county, name) (fanzha_county_info{campaign="$campaign"})'
)
OF_COUNTY = "campaign_id = '$campaign' AND ('$county' = '*' OR county_code = '$county')"
UNITS = """
SELECT unit_code, name, county_name, checkins, viewers, credited, late, people, per_10k, issued, claimed,
       CASE WHEN checkins > 0 THEN '有签到' WHEN people > 0 THEN '本课无签到' ELSE '从未签到' END AS state
FROM (SELECT unit.unit_code, unit.name, unit.county_name, unit.county_code, unit.position,
             coalesce(sum(checkins) FILTER (WHERE lesson_date = '$lesson'), 0)::bigint AS checkins,
             coalesce(sum(viewers) FILTER (WHERE lesson_date = '$lesson'), 0)::bigint AS viewers,
             coalesce(sum(credited) FILTER (WHERE lesson_date = '$lesson'), 0)::bigint AS credited,
             coalesce(sum(late) FILTER (WHERE lesson_date = '$lesson'), 0)::bigint AS late,
             coalesce(sum(new_viewers), 0)::bigint AS people,
             round(10000 * coalesce(sum(new_viewers), 0) / unit.residents, 2)::float8 AS per_10k
      FROM boards.unit AS unit LEFT JOIN boards.unit_total AS sums USING (campaign_id, unit_code)
      WHERE unit.campaign_id = '$campaign' AND ('$county' = '*' OR unit.county_code = '$county')
      GROUP BY unit.unit_code, unit.name, unit.county_name, unit.county_code, unit.position, unit.residents) AS listed
LEFT JOIN (SELECT unit_code, issued, claimed FROM boards.unit_certificate WHERE campaign_id = '$campaign') AS held
    USING (unit_code)
ORDER BY position
"""


def build() -> Dashboard:
    board = parts.board(
        "单位看板",
        "fanzha-units",
        "每个单位的记录数：本课、累计、证书、趋势；各县（区）的报送情况。数字准确到个位。",
        time_from="now-90d",
        refresh="1m",
    )
    board = board.with_variable(parts.choice("campaign", "活动", parts.CAMPAIGNS))
    board = board.with_variable(parts.choice("lesson", "课程", LESSONS))
    board = board.with_variable(parts.choice("county", "县（区）", COUNTIES))
    for panel in (*_figures(), *_units(), *_reports(), *_trend(), *_platforms()):
        board = board.with_panel(panel)
    return board


def _figures() -> list[Panel]:
    return [
        parts.number(
            "本课签到人次",
            "所选课程与县（区）的签到人次，首播与重播合计，含逾期收到的。",
            [
                Sql(
                    "SELECT coalesce(sum(checkins), 0)::bigint AS checkins FROM boards.unit_total "
                    f"WHERE {OF_COUNTY} AND lesson_date = '$lesson'"
                )
            ],
            Place(0, 0, 6, 4),
            unit=COUNT,
        ),
        parts.number(
            "累计参与人数",
            "所选县（区）至少签到过一次的人数，每人只计一次。",
            [Sql(f"SELECT coalesce(sum(new_viewers), 0)::bigint AS people FROM boards.unit_total WHERE {OF_COUNTY}")],
            Place(6, 0, 6, 4),
            unit=COUNT,
        ),
        parts.number(
            "归属率",
            "全部参与者中能归到某个单位的比例。低：海报上没有渠道码，各单位的数字都偏低。",
            [
                Sql(
                    """
                    SELECT sum(new_viewers) FILTER (WHERE county_code <> 'unassigned')::float8
                           / nullif(sum(new_viewers), 0)::float8 AS share
                    FROM boards.unit_total WHERE campaign_id = '$campaign'
                    """
                )
            ],
            Place(12, 0, 6, 4),
            unit=SHARE,
            decimals=1,
            steps=[(None, RED), (0.6, YELLOW), (0.85, GREEN)],
        ),
        parts.number(
            "本课没有签到的单位",
            "单位一级中，所选课程一个签到都没有的单位数。名单见下表。",
            [
                Sql(
                    """
                    SELECT count(*) AS silent FROM boards.unit AS unit
                    WHERE campaign_id = '$campaign' AND level = 'unit' AND ('$county' = '*' OR county_code = '$county')
                      AND NOT EXISTS (SELECT FROM boards.unit_total AS sums WHERE sums.campaign_id = unit.campaign_id
                                      AND sums.unit_code = unit.unit_code AND lesson_date = '$lesson' AND checkins > 0)
                    """
                )
            ],
            Place(18, 0, 6, 4),
            unit=COUNT,
            steps=[(None, GREEN), (1, YELLOW)],
        ),
    ]


def _units() -> list[Panel]:
    columns = {
        "unit_code": "代码",
        "name": "单位",
        "county_name": "县（区）",
        "state": "状态",
        "checkins": "本课人次",
        "viewers": "本课人数",
        "credited": "计入",
        "late": "逾期",
        "people": "累计人数",
        "per_10k": "每万人",
        "issued": "证书签发",
        "claimed": "证书领取",
    }
    return [
        parts.listing(
            "各单位记录数",
            "按行政区划顺序；记录数来自签到事件，归到观众现在所属的单位。没有人口数的单位不算每万人。",
            [Sql(UNITS)],
            Place(0, 4, 24, 14),
            columns=columns,
            units={"unit_code": "string"},
        ),
    ]


def _reports() -> list[Panel]:
    states = {"A": "expected", "B": "on_time", "C": "late", "D": "missing", "E": "excused"}
    columns = {"A": "应报", "B": "按时", "C": "迟报", "D": "未报", "E": "免报", "F": "按时率"}
    on_time, expected = _obligations("on_time"), _obligations("expected")
    return [
        parts.listing(
            "各县（区）报送",
            "全部报表、到现在为止：应报不含免报；未报是过了截止时间还没有报的。名单和下载在报表工作台 /desk。",
            [
                *(rows(f"{_obligations(state)} {NAMED}", ref) for ref, state in states.items()),
                rows(f"{on_time} / ({expected} > 0) {NAMED}", "F"),
            ],
            Place(0, 18, 24, 8),
            columns={"name": "县（区）", "county": "代码"} | {f"Value #{ref}": name for ref, name in columns.items()},
            units={"Value #F": SHARE, "county": "string"},
            hidden=("campaign",),
            joined=True,
        ),
    ]


def _obligations(state: str) -> str:
    return f'sum by (campaign, county) (campaign_form_county:obligations:max{{campaign="$campaign", state="{state}"}})'


def _trend() -> list[Panel]:
    return [
        parts.bars(
            "各课人数",
            "所选县（区）每一课签到的人数；其中第一次来的另列。",
            [
                Sql(
                    f"""
                    SELECT to_char(lesson_date, 'MM-DD') AS lesson, sum(viewers - new_viewers)::bigint AS again,
                           sum(new_viewers)::bigint AS first
                    FROM boards.unit_total WHERE {OF_COUNTY} GROUP BY lesson_date ORDER BY lesson_date
                    """
                )
            ],
            Place(0, 26, 9, 9),
            unit=COUNT,
            x="lesson",
            stacked=True,
            labels={"again": "来过", "first": "第一次来"},
        ),
        parts.curves(
            "人数最多的八个单位",
            "所选县（区）累计人数最多的八个单位，每一课的人数。",
            [
                Sql(
                    f"""
                    SELECT lesson_date::timestamptz AS time, name AS metric, sum(viewers)::bigint AS viewers
                    FROM boards.unit_total
                    WHERE {OF_COUNTY} AND unit_code IN (
                        SELECT unit_code FROM boards.unit_total WHERE {OF_COUNTY} AND unit_code <> 'unassigned'
                        GROUP BY unit_code ORDER BY sum(new_viewers) DESC, unit_code LIMIT 8)
                    GROUP BY lesson_date, name ORDER BY 1
                    """,
                    time_series=True,
                )
            ],
            Place(9, 26, 15, 9),
            unit=COUNT,
        ),
    ]


def _platforms() -> list[Panel]:
    return [
        parts.listing(
            "各平台记录数",
            "全部县（区）的：所选课程，和到现在为止。记录算先送到的那个平台的；bus 是总线，import 是没有写来源的导入文件。",
            [
                Sql(
                    """
                    SELECT name, source,
                           coalesce(sum(checkins) FILTER (WHERE lesson_date = '$lesson' AND mode = 'live'), 0)::bigint AS live,
                           coalesce(sum(checkins) FILTER (WHERE lesson_date = '$lesson' AND mode = 'replay'), 0)::bigint
                               AS replay,
                           coalesce(sum(credited) FILTER (WHERE lesson_date = '$lesson'), 0)::bigint AS credited,
                           sum(checkins)::bigint AS checkins, sum(new_viewers)::bigint AS people
                    FROM boards.platform_total WHERE campaign_id = '$campaign'
                    GROUP BY name, source, position ORDER BY position, source
                    """
                )
            ],
            Place(0, 35, 24, 7),
            columns={
                "name": "平台",
                "source": "来源",
                "live": "本课首播",
                "replay": "本课重播",
                "credited": "本课计入",
                "checkins": "累计人次",
                "people": "累计人数",
            },
            units={"source": "string"},
        ),
    ]
