"""消息看板: what became of texts and pushes. Counts only; who got what is asked of notification, with recipients masked."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.boards import parts
from deploy.grafana.boards.parts import COUNT, GREEN, RED, SECONDS, SHARE, YELLOW, Panel, Place, curve, now, rows

SENT = 'campaign_kind_channel_status:notifications:max{campaign=~"$campaign"}'
NONE = "0 * max(fanzha_notification_unplanned)"  # 0 while notification answers and nothing waits
STATUSES = {
    "queued": "排队",
    "sending": "发送中",
    "unknown": "结果未知",
    "accepted": "网关已收",
    "delivered": "已送达",
    "failed": "失败",
    "suppressed": "不发送",
    "cancelled": "已取消",
}


def build() -> Dashboard:
    board = parts.board(
        "消息看板",
        "fanzha-messages",
        "短信与推送的数量、状态、积压。没有号码和姓名。",
        time_from="now-24h",
        refresh="30s",
    )
    board = board.with_variable(parts.choice("campaign", "活动", parts.CAMPAIGNS_OR_ALL))
    for panel in (*_figures(), *_history()):
        board = board.with_panel(panel)
    return board


def _sent(status: str) -> str:
    return SENT.replace("}", f', status=~"{status}"}}')


def _count(status: str) -> str:
    return f"sum({_sent(status)}) or 0 * sum({SENT})"


def _figures() -> list[Panel]:
    return [
        parts.number(
            "已发出",
            "网关已收与已送达的消息数。",
            [now(_count("accepted|delivered"), "已发出")],
            Place(0, 0, 4, 5),
            unit=COUNT,
        ),
        parts.number(
            "等待发送",
            "排队的消息，含未到发送时段的。",
            [now(_count("queued"), "等待")],
            Place(4, 0, 4, 5),
            unit=COUNT,
        ),
        parts.number(
            "失败",
            "确定没有送到的消息。原因见 notification 的 notifications?status=failed。",
            [now(_count("failed"), "失败")],
            Place(8, 0, 4, 5),
            unit=COUNT,
            steps=[(None, GREEN), (1, YELLOW), (100, RED)],
        ),
        parts.number(
            "结果未知",
            "发出后不知是否送达的消息；等回执或查询，不会盲目重发。",
            [now(_count("sending|unknown"), "未知")],
            Place(12, 0, 4, 5),
            unit=COUNT,
            steps=[(None, GREEN), (1, YELLOW)],
        ),
        parts.number(
            "失败率",
            "失败数占已有结果的消息数的比例。",
            [now(f"({_count('failed')}) / (sum({_sent('accepted|delivered|failed')}) > 0)")],
            Place(16, 0, 4, 5),
            unit=SHARE,
            decimals=1,
            steps=[(None, GREEN), (0.02, YELLOW), (0.1, RED)],
        ),
        parts.number(
            "未安排的证书通知",
            "证书已签发，通知尚未安排，全部活动合计。持续大于 0 会报警 MessagesUnplanned。",
            [now("max(fanzha_notification_unplanned)", "未安排")],
            Place(20, 0, 4, 5),
            unit=COUNT,
            steps=[(None, GREEN), (1, YELLOW)],
        ),
    ]


def _history() -> list[Panel]:
    labels = [curve(_count(status), name, status[:3].upper()) for status, name in STATUSES.items()]
    return [
        parts.curves("各状态的消息数", "累计数量；状态只会向前走。", labels, Place(0, 5, 14, 11), unit=COUNT),
        parts.listing(
            "按种类与渠道",
            "当前数量。",
            [rows(f"sum by (kind, channel, status) ({SENT})")],
            Place(14, 5, 10, 11),
            columns={"kind": "种类", "channel": "渠道", "status": "状态", "Value": "数量"},
        ),
        parts.curves(
            "最早一条该发而未发的消息已等了多久",
            "发送时段内几分钟以上：发送出了问题，见 MessagesStuck。",
            [curve(f"max by (channel) (fanzha_notification_oldest_due_seconds) or {NONE}", "{{channel}}")],
            Place(0, 16, 12, 9),
            unit=SECONDS,
        ),
        parts.curves(
            "最早一条结果未知的消息已过了多久",
            "一直增长：渠道没有回执也查不到，见 MessagesUnresolved。",
            [curve(f"max by (channel) (fanzha_notification_oldest_unresolved_seconds) or {NONE}", "{{channel}}")],
            Place(12, 16, 12, 9),
            unit=SECONDS,
        ),
    ]
