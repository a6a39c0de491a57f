"""值班大屏: the office's wall board. One screen of 1920×1080, dark, readable across a room; of one campaign, the latest unless
another is chosen, and of no other: figures of two campaigns never add up."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.boards import parts
from deploy.grafana.boards.parts import COUNT, GREEN, RANKED, RED, SHARE, YELLOW, Panel, Place, Sql, curve, now

OF_CAMPAIGN = '{campaign="$campaign"}'
CURRENT = f"campaign_mode:checkins_current:max{OF_CAMPAIGN}"
NAMED = f"* on (campaign, county) group_left (name) max by (campaign, county, name) (fanzha_county_info{OF_CAMPAIGN})"
HOUR_S = 3600


def build() -> Dashboard:
    board = parts.board(
        "值班大屏",
        "fanzha-office",
        "一个活动本课的签到、与往日对比、各县（区）参与、证书领取、单位报送。用只读账号打开，见 docs/operations/watching.md。",
        time_from="now-6h",
        refresh="15s",
    )
    board = board.with_variable(parts.choice("campaign", "活动", parts.CAMPAIGNS))
    for panel in (*_top(), *_figures(), *_curves(), *_places(), *_reports()):
        board = board.with_panel(panel)
    return board


def _top() -> list[Panel]:
    lesson = parts.number(
        "当前课程　${campaign:text}",
        "活动，和最近一次开播的课程；次日重播期间仍是它。",
        [now(f"max by (number, title) (fanzha_lesson_current{OF_CAMPAIGN})", "第 {{number}} 课　{{title}}")],
        Place(0, 0, 11, 3),
        unit="none",
        text_size=34,
        name_only=True,
    )
    windows = parts.timeline(
        "播出时段（24 小时）",
        "首播、重播时段是否开放。开放而没有签到会报警 FeedStopped。",
        [
            curve('max(fanzha_window_open{campaign="$campaign", mode="live"})', "首播", "A"),
            curve('max(fanzha_window_open{campaign="$campaign", mode="replay"})', "重播", "B"),
        ],
        Place(15, 0, 9, 3),
        states={"0": ("未开放", "#2c3235"), "1": ("播出中", GREEN)},
        time_from="24h",
    )
    latest = parts.number(
        "最近一条事件",
        "平台发来、没有被拒收的最近一条事件，距现在多少秒。播出时段内三分钟以上会报警 FeedStopped。",
        [now(f"time() - max(max_over_time(fanzha_last_event_timestamp_seconds{OF_CAMPAIGN}[1d]))", "事件")],
        Place(11, 0, 4, 3),
        unit="suffix: 秒前",
        decimals=0,
        text_size=34,
        beyond=(HOUR_S, "一小时以上"),
    )
    return [lesson, latest, windows]


def _figures() -> list[Panel]:
    return [
        parts.number(
            "本课签到",
            "当前课程的签到人次，首播与重播合计（记录数，不是单位上报数）。",
            [now(f"sum({CURRENT})", "签到")],
            Place(0, 3, 7, 6),
            unit=COUNT,
            steps=[(None, "#5794f2")],
            text_size=96,
        ),
        parts.number(
            "每分钟签到",
            "最近两分钟的平均速度。",
            [now(f"max(campaign:checkins_current:rate1m{OF_CAMPAIGN})", "签到")],
            Place(7, 3, 5, 6),
            unit=COUNT,
            decimals=0,
            text_size=52,
        ),
        parts.number(
            "比昨天此时",
            "本课签到与 24 小时前那一课同一时刻之比，减去 1。第一课没有可比的。",
            [now(f"sum({CURRENT}) / (sum({CURRENT} offset 1d) > 0) - 1", "签到")],
            Place(12, 3, 4, 6),
            unit=SHARE,
            decimals=1,
            steps=[(None, RED), (-0.1, YELLOW), (0, GREEN)],
            text_size=52,
        ),
        parts.number(
            "累计参与人数",
            "至少签到过一次的人数，每人只计一次。",
            [now(f"sum(campaign_county:viewers:max{OF_CAMPAIGN})", "人数")],
            Place(16, 3, 4, 6),
            unit=COUNT,
            text_size=52,
        ),
        parts.number(
            "已领取证书",
            "已领取的结课证书，不含撤销的。已签发未领取的见运维看板。",
            [now('sum(campaign_state:certificates:sum{campaign="$campaign", state="claimed"})', "证书")],
            Place(20, 3, 4, 6),
            unit=COUNT,
            text_size=52,
        ),
    ]


def _curves() -> list[Panel]:
    days = [("B", "1d", "昨天"), ("C", "2d", "前天"), ("D", "3d", "三天前"), ("E", "7d", "七天前")]
    earlier = [curve(f"sum({CURRENT} offset {ago})", name, ref) for ref, ago, name in days]
    return [
        parts.curves(
            "本课与前几课同一时刻的签到",
            "粗线是当前课程的累计人次，细线是前几天同一时刻当时那一课的。平的一段：停了推送？",
            [curve(f"sum({CURRENT})", "本课", "A"), *earlier],
            Place(0, 9, 12, 7),
            unit=COUNT,
            thick="A",
        ),
        parts.bars(
            "各课签到人次",
            "每一课的签到人次，首播与重播；准确到个位的数字见单位看板和报表。",
            [
                Sql(
                    """
                    SELECT number || ' ' || to_char(lesson_date, 'MM-DD') AS lesson,
                           coalesce(sum(checkins) FILTER (WHERE mode = 'live'), 0)::bigint AS live,
                           coalesce(sum(checkins) FILTER (WHERE mode = 'replay'), 0)::bigint AS replay
                    FROM boards.lesson LEFT JOIN boards.unit_total USING (campaign_id, lesson_date)
                    WHERE campaign_id = '$campaign' GROUP BY number, lesson_date ORDER BY number
                    """
                )
            ],
            Place(12, 9, 7, 7),
            unit=COUNT,
            x="lesson",
            stacked=True,
            labels={"live": "首播", "replay": "重播"},
        ),
    ]


def _reports() -> list[Panel]:
    sums = [("应报", "expected"), ("已报", "on_time|late"), ("迟报", "late"), ("未报", "missing")]
    return [
        parts.numbers(
            "单位报送",
            "应报（已开始、不含免报）、已报（含迟报）、迟报、过了截止时间未报。截止前一小时还没报会报警 ReportsMissing。",
            [now(f"sum({_obligations(state)})", name, ref) for ref, (name, state) in zip("ABCD", sums, strict=True)],
            Place(19, 9, 5, 7),
            unit=COUNT,
        ),
        parts.ranking(
            "各县（区）按时率",
            f"按时报送的占应报的比例，最低的 {RANKED} 个，其余见单位看板。",
            [
                now(
                    f"sort(bottomk({RANKED}, sum by (campaign, county) ({_obligations('on_time')}) "
                    f"/ (sum by (campaign, county) ({_obligations('expected')}) > 0) {NAMED}))",
                    "{{name}}",
                )
            ],
            Place(18, 16, 6, 11),
            unit=SHARE,
            decimals=0,
        ),
    ]


def _obligations(state: str) -> str:
    return f'campaign_form_county:obligations:max{{campaign="$campaign", state=~"{state}"}}'


def _places() -> list[Panel]:
    return [
        parts.ranking(
            "各县（区）本课人数",
            f"当前课程签到的人数，按观众所属单位归到县（区）；未归属的另列。前 {RANKED} 名，其余见单位看板。",
            [now(_best("campaign_county:viewers_current:max"), "{{name}}")],
            Place(0, 16, 6, 11),
            unit=COUNT,
        ),
        parts.ranking(
            "各县（区）每万人参与",
            f"累计参与人数除以常住人口（年份和来源见活动文件），没有人口数的不列。前 {RANKED} 名。",
            [now(_best("campaign_county:viewers:per_10k"), "{{name}}")],
            Place(6, 16, 6, 11),
            unit=COUNT,
            decimals=1,
        ),
        parts.ranking(
            "重点人群",
            "累计参与人数，按报名时填写的人群；不足 10 人的并入其余人群。",
            [Sql("SELECT name, viewers FROM boards.group_total WHERE campaign_id = '$campaign' ORDER BY viewers DESC")],
            Place(12, 16, 6, 11),
            unit=COUNT,
        ),
    ]


def _best(figure: str) -> str:
    return f"sort_desc(topk({RANKED}, {figure}{OF_CAMPAIGN} {NAMED}))"
