"""值班大屏: the office's wall board. One screen of 1920×1080, dark, no choices to make, readable across a room."""

# ruff: noqa: S608 - SQL of constants

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.boards import parts
from deploy.grafana.boards.parts import (
    COUNT,
    GREEN,
    PER_10K,
    RED,
    SHARE,
    TIMES,
    WAN,
    YELLOW,
    Panel,
    Place,
    Sql,
    curve,
    now,
)

CURRENT = "sum by (campaign) (campaign_mode:checkins_current:max)"
NAMED = "* on (campaign, county) group_left (name) max by (campaign, county, name) (fanzha_county_info)"
LATEST_CAMPAIGN = "(SELECT campaign_id FROM boards.campaign ORDER BY latest_lesson DESC NULLS LAST LIMIT 1)"


def build() -> Dashboard:
    board = parts.board(
        "值班大屏",
        "fanzha-office",
        "当前课程的签到、与往日对比、各县（区）参与、证书领取。用只读账号加 ?kiosk 打开。",
        time_from="now-6h",
        refresh="15s",
    )
    for panel in (*_top(), *_figures(), *_curves(), *_places()):
        board = board.with_panel(panel)
    return board


def _top() -> list[Panel]:
    lesson = parts.number(
        "当前课程",
        "最近一次开播的课程；次日重播期间仍是它。",
        [now("max by (number, title) (fanzha_lesson_current)", "第 {{number}} 课　{{title}}")],
        Place(0, 0, 14, 3),
        unit="none",
        text_size=34,
        name_only=True,
    )
    windows = parts.timeline(
        "播出时段（24 小时）",
        "首播、重播时段是否开放。开放而没有签到会报警 FeedStopped。",
        [
            curve('max(fanzha_window_open{mode="live"})', "首播", "A"),
            curve('max(fanzha_window_open{mode="replay"})', "重播", "B"),
        ],
        Place(14, 0, 10, 3),
        states={"0": ("未开放", "#2c3235"), "1": ("播出中", GREEN)},
        time_from="24h",
    )
    return [lesson, windows]


def _figures() -> list[Panel]:
    return [
        parts.number(
            "本课签到",
            "当前课程的签到人次，首播与重播合计（记录数，不是单位上报数）。",
            [now(f"{CURRENT} / 10000", "{{campaign}}")],
            Place(0, 3, 7, 6),
            unit=WAN,
            decimals=2,
            steps=[(None, "#5794f2")],
            text_size=110,
        ),
        parts.number(
            "每分钟签到",
            "最近两分钟的平均速度。",
            [now("campaign:checkins_current:rate1m", "{{campaign}}")],
            Place(7, 3, 5, 6),
            unit=TIMES,
            decimals=0,
            text_size=64,
        ),
        parts.number(
            "比昨天此时",
            "本课签到与 24 小时前那一课同一时刻之比，减去 1。第一课没有可比的。",
            [now(f"{CURRENT} / ({CURRENT.replace(':max', ':max offset 1d')} > 0) - 1", "{{campaign}}")],
            Place(12, 3, 4, 6),
            unit=SHARE,
            decimals=1,
            steps=[(None, RED), (-0.1, YELLOW), (0, GREEN)],
            text_size=64,
        ),
        parts.number(
            "累计参与人数",
            "至少签到过一次的人数，每人只计一次。",
            [now("sum by (campaign) (campaign_county:viewers:max) / 10000", "{{campaign}}")],
            Place(16, 3, 4, 6),
            unit=WAN,
            decimals=2,
            text_size=64,
        ),
        parts.number(
            "已领取证书",
            "已领取的结课证书，不含撤销的。已签发未领取的见运维看板。",
            [now('sum by (campaign) (campaign_state:certificates:sum{state="claimed"})', "{{campaign}}")],
            Place(20, 3, 4, 6),
            unit=COUNT,
            text_size=64,
        ),
    ]


def _curves() -> list[Panel]:
    days = [("B", "1d", "昨天"), ("C", "2d", "前天"), ("D", "3d", "三天前"), ("E", "7d", "七天前")]
    earlier = [curve(f"sum(campaign_mode:checkins_current:max offset {ago})", name, ref) for ref, ago, name in days]
    return [
        parts.curves(
            "本课与前几课同一时刻的签到",
            "粗线是当前课程的累计人次，细线是前几天同一时刻当时那一课的。平的一段：停了推送？",
            [curve("sum(campaign_mode:checkins_current:max)", "本课", "A"), *earlier],
            Place(0, 9, 14, 9),
            unit=COUNT,
            thick="A",
        ),
        parts.bars(
            "各课签到人次",
            "每一课的签到人次，首播与重播；准确到个位的数字见单位看板和报表。",
            [
                Sql(
                    f"""
                    SELECT number || ' ' || to_char(lesson_date, 'MM-DD') AS lesson,
                           coalesce(sum(checkins) FILTER (WHERE mode = 'live'), 0)::bigint AS live,
                           coalesce(sum(checkins) FILTER (WHERE mode = 'replay'), 0)::bigint AS replay
                    FROM boards.lesson LEFT JOIN boards.unit_total USING (campaign_id, lesson_date)
                    WHERE campaign_id = {LATEST_CAMPAIGN} GROUP BY number, lesson_date ORDER BY number
                    """
                )
            ],
            Place(14, 9, 10, 9),
            unit=COUNT,
            x="lesson",
            stacked=True,
            labels={"live": "首播", "replay": "重播"},
        ),
    ]


def _places() -> list[Panel]:
    return [
        parts.ranking(
            "各县（区）本课人数",
            "当前课程签到的人数，按观众所属单位归到县（区）；未归属的另列。前 14 名。",
            [now(f"sort_desc(topk(14, campaign_county:viewers_current:max {NAMED}))", "{{name}}")],
            Place(0, 18, 8, 9),
            unit=COUNT,
        ),
        parts.ranking(
            "各县（区）每万人参与",
            "累计参与人数除以常住人口（年份和来源见活动文件），没有人口数的不列。前 14 名。",
            [now(f"sort_desc(topk(14, campaign_county:viewers:per_10k {NAMED}))", "{{name}}")],
            Place(8, 18, 7, 9),
            unit=PER_10K,
            decimals=1,
        ),
        parts.ranking(
            "重点人群",
            "累计参与人数，按报名时填写的人群；不足 10 人的并入其余人群。",
            [
                Sql(
                    f"SELECT name, viewers FROM boards.group_total WHERE campaign_id = {LATEST_CAMPAIGN} "
                    "ORDER BY viewers DESC"
                )
            ],
            Place(15, 18, 9, 9),
            unit=COUNT,
        ),
    ]
