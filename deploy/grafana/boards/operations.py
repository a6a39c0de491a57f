"""运维看板: whether it all runs, from what is wrong now down to disks. Where a figure has an alert, the description names it."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.boards import parts
from deploy.grafana.boards.parts import (
    BYTES,
    COUNT,
    GREEN,
    PER_SECOND,
    RED,
    SECONDS,
    SHARE,
    YELLOW,
    Panel,
    Place,
    curve,
    now,
    rows,
)

REQUESTS = "fanzha_http_request_duration_seconds"
OF_CAMPAIGN = '{campaign=~"$campaign"}'
DISKS = 'fstype!~"tmpfs|ramfs|squashfs|overlay|nsfs|rootfs"'


def build() -> Dashboard:
    board = parts.board(
        "运维看板",
        "fanzha-operations",
        "现在有什么问题，数字是否一致，各部分是否正常。每条报警、每个面板都连到处理办法。",
        time_from="now-3h",
        refresh="15s",
    )
    board = board.with_variable(parts.choice("campaign", "活动", parts.CAMPAIGNS_OR_ALL))
    sections = {
        "现在": _now,
        "直播平台推送": _feed,
        "数字是否一致": _agreement,
        "请求": _requests,
        "消息处理": _events,
        "NATS": _nats,
        "数据库、磁盘与备份": _machine,
    }
    y = 0
    for title, section in sections.items():
        board = board.with_row(parts.heading(title, y))
        panels, height = section(y + 1)
        for panel in panels:
            board = board.with_panel(panel)
        y += 1 + height
    return board


Section = tuple[list[Panel], int]


def _now(y: int) -> Section:
    alerts = parts.listing(
        "正在报警",
        "正在触发的报警。page：马上处理；ticket：下一个工作日。",
        [rows('count by (severity, alertname, job, durable, campaign, source) (ALERTS{alertstate="firing"})')],
        Place(0, y, 12, 8),
        columns={
            "severity": "级别",
            "alertname": "报警",
            "job": "部分",
            "durable": "消费者",
            "campaign": "活动",
            "source": "平台",
        },
        hidden=["Value"],
        links={"alertname": parts.runbook("${__value.raw}")},
    )
    targets = parts.numbers(
        "在运行的实例",
        "各部分应答的实例数。0 或缺少：TargetDown、TargetMissing。",
        [now("sum by (job) (up)", "{{job}}")],
        Place(12, y, 12, 8),
        unit=COUNT,
        steps=[(None, RED), (1, GREEN)],
    )
    return [alerts, targets], 8


def _feed(y: int) -> Section:
    named = "* on (campaign, source) group_left (title) max by (campaign, source, title) (fanzha_platform_info)"
    by_platform = f"sum by (campaign, source) (clamp_min(deriv(fanzha_platform_checkins_total{OF_CAMPAIGN}[2m]), 0))"
    refused = 'fanzha_live_events_total{campaign=~"$campaign", verdict="rejected"}'
    return [
        parts.curves(
            "收到的事件",
            "每秒事件数，按处理结论。首播时段内为零：FeedStopped。",
            [
                curve(
                    f"sum by (verdict) (clamp_min(deriv(campaign_verdict:feed_events:max{OF_CAMPAIGN}[2m]), 0))",
                    "{{verdict}}",
                )
            ],
            Place(0, y, 10, 8),
            unit=PER_SECOND,
        ),
        parts.listing(
            "被拒收的原因",
            "累计被拒收的事件。多：FeedRefused。",
            [rows(f"sum by (campaign, type, reason) (max without (instance) ({refused})) > 0")],
            Place(10, y, 7, 8),
            columns={"campaign": "活动", "type": "类型", "reason": "原因", "Value": "数量"},
        ),
        parts.listing(
            "与平台统计数对照",
            "平台自己的统计数（由办公室填报）与我们收到的。不足 99%：FeedIncomplete。",
            [rows(f"max by (campaign, lesson, mode) (campaign_lesson_mode:feed_completeness:ratio{OF_CAMPAIGN})")],
            Place(17, y, 7, 8),
            unit=SHARE,
            columns={"campaign": "活动", "lesson": "课程", "mode": "时段", "Value": "完整率"},
        ),
        parts.curves(
            "各平台的首播签到",
            "每秒收到的首播签到，按平台，含重发的，不含导入的文件。一个平台为零而别的不是：FeedStopped。",
            [curve(f"{by_platform} {named}", "{{title}}")],
            Place(0, y + 8, 14, 8),
            unit=PER_SECOND,
        ),
        parts.listing(
            "正在首播的平台",
            "此刻应当有签到的平台，和最近三分钟收到的。0：FeedStopped。",
            [
                rows(
                    f"max by (campaign, source, lesson) (campaign_lesson_source:feed_taken:growth3m{OF_CAMPAIGN} "
                    f"and on (campaign, lesson, source) fanzha_platform_window_open == 1) {named}"
                )
            ],
            Place(14, y + 8, 10, 8),
            columns={"campaign": "活动", "title": "平台", "source": "来源", "lesson": "课程", "Value": "三分钟内"},
        ),
    ], 16


def _agreement(y: int) -> Section:
    difference = f"campaign_lesson_mode:checkins_unreconciled:difference{OF_CAMPAIGN}"
    return [
        parts.number(
            "签到与统计之差",
            "签到服务已提交的与统计服务已计入的之差（绝对值之和）。安静五分钟后仍不为 0：ReconciliationDifference。",
            [now(f"sum(abs({difference}))", "差")],
            Place(0, y, 4, 7),
            unit=COUNT,
            steps=[(None, GREEN), (1, YELLOW)],
        ),
        parts.listing(
            "各课签到与统计",
            "签到：签到服务已提交的人次；统计：统计服务已计入的人次。",
            [
                rows(f"max by (campaign, lesson, mode) (campaign_lesson_mode:checkins_accepted:max{OF_CAMPAIGN})", "A"),
                rows(f"max by (campaign, lesson, mode) (campaign_lesson_mode:checkins_recorded:max{OF_CAMPAIGN})", "B"),
            ],
            Place(4, y, 12, 7),
            columns={"campaign": "活动", "lesson": "课程", "mode": "时段", "Value #A": "签到", "Value #B": "统计"},
            joined=True,
        ),
        parts.numbers(
            "证书",
            "待签发（到时间而未签发，持续不降：CertificateBacklog）、已签发、已领取。",
            [
                now(f"sum(max by (campaign) (fanzha_certificates_due{OF_CAMPAIGN}))", "待签发", "A"),
                now(
                    'sum(campaign_state:certificates:sum{campaign=~"$campaign", state="issued"}) or vector(0)',
                    "已签发",
                    "B",
                ),
                now(
                    'sum(campaign_state:certificates:sum{campaign=~"$campaign", state="claimed"}) or vector(0)',
                    "已领取",
                    "C",
                ),
            ],
            Place(16, y, 8, 7),
            unit=COUNT,
        ),
    ], 7


def _requests(y: int) -> Section:
    quantile = f"histogram_quantile(0.99, sum by (job, le) (rate({REQUESTS}_bucket[5m])))"
    failed = f'sum by (job) (rate({REQUESTS}_count{{status=~"5.."}}[5m]))'
    return [
        parts.curves(
            "每秒请求数",
            "按服务。",
            [curve(f"sum by (job) (rate({REQUESTS}_count[2m]))", "{{job}}")],
            Place(0, y, 8, 8),
            unit=PER_SECOND,
        ),
        parts.curves(
            "请求时长（99%）",
            "百分之九十九的请求在此时间内完成。变慢：数据库或磁盘。",
            [curve(f"{quantile} >= 0", "{{job}}")],
            Place(8, y, 8, 8),
            unit=SECONDS,
        ),
        parts.curves(
            "出错的请求",
            "5xx 占全部请求的比例。超过 5%：ServerErrors。",
            [
                curve(
                    f"({failed} or 0 * sum by (job) (up)) / (sum by (job) (rate({REQUESTS}_count[5m])) > 0)", "{{job}}"
                )
            ],
            Place(16, y, 8, 8),
            unit=SHARE,
        ),
    ], 8


def _events(y: int) -> Section:
    return [
        parts.curves(
            "待处理的消息",
            "每个消费者尚未送达的消息（每条至多 500 行）。持续增加：ConsumerLag。",
            [curve("durable:consumer_pending:max", "{{durable}}")],
            Place(0, y, 8, 8),
            unit=COUNT,
        ),
        parts.curves(
            "最早一个未发布事件的等待时间",
            "两分钟以上：OutboxOld。NATS 是否在运行？",
            [curve("max by (job) (fanzha_outbox_oldest_seconds)", "{{job}}")],
            Place(8, y, 8, 8),
            unit=SECONDS,
        ),
        parts.curves(
            "处理一条消息的时间（99%）",
            "接近 10 秒：数据库慢或被锁。",
            [
                curve(
                    "histogram_quantile(0.99, sum by (durable, le) (rate(fanzha_bus_handler_duration_seconds_bucket[5m]))) >= 0",
                    "{{durable}}",
                )
            ],
            Place(16, y, 8, 8),
            unit=SECONDS,
        ),
        parts.number(
            "存放待查的消息",
            "无法处理而存放的消息。大于 0：DeadLetters，用 fanzha dead-letters list 查看。",
            [now("sum(max by (job, durable) (fanzha_dead_letters)) or vector(0)", "条")],
            Place(0, y + 8, 6, 5),
            unit=COUNT,
            steps=[(None, GREEN), (1, YELLOW)],
        ),
        parts.number(
            "未发布的事件",
            "已提交、尚未发布的事件数，全部服务合计。",
            [now("sum(max by (job) (fanzha_outbox_pending))", "个")],
            Place(6, y + 8, 6, 5),
            unit=COUNT,
            steps=[(None, GREEN), (1000, YELLOW)],
        ),
        parts.number(
            "持续失败的定时工作",
            "上一次运行失败的定时工作数。大于 0：DueWorkFailing。",
            [now("sum(max by (job, work) (fanzha_due_work_failing))", "项")],
            Place(12, y + 8, 6, 5),
            unit=COUNT,
            steps=[(None, GREEN), (1, RED)],
        ),
        parts.curves(
            "放回重试的消息",
            "每秒放回的消息。持续：ConsumerStuck。",
            [curve("sum by (durable) (rate(fanzha_bus_naks_total[5m]))", "{{durable}}")],
            Place(18, y + 8, 6, 5),
            unit=PER_SECOND,
        ),
    ], 13


def _nats(y: int) -> Section:
    return [
        parts.number(
            "逐条落盘",
            "1：确认即已落盘。0 或没有：NatsNotSyncing。",
            [now("min(fanzha_nats_sync_always)", "sync_always")],
            Place(0, y, 4, 7),
            unit=COUNT,
            steps=[(None, RED), (1, GREEN)],
        ),
        parts.curves(
            "流的占用",
            "占上限的比例。超过 80%：NatsStorageFilling。",
            [
                curve(
                    "max by (stream_name) (jetstream_stream_total_bytes) "
                    "/ max by (stream_name) (jetstream_stream_limit_bytes > 0)",
                    "{{stream_name}}",
                )
            ],
            Place(4, y, 7, 7),
            unit=SHARE,
        ),
        parts.curves(
            "未应答的消息（NATS 所见）",
            "已送达而未应答，含等待重试的。",
            [curve("max by (consumer_name) (jetstream_consumer_num_ack_pending)", "{{consumer_name}}")],
            Place(11, y, 7, 7),
            unit=COUNT,
        ),
        parts.curves(
            "连接数与健康",
            "连接数应不少于服务实例数；健康为 0 正常，1 异常（NatsUnhealthy）。",
            [
                curve("max(gnatsd_varz_connections)", "连接", "A"),
                curve("max(gnatsd_healthz_status)", "健康", "B"),
            ],
            Place(18, y, 6, 7),
            unit=COUNT,
        ),
    ], 7


def _machine(y: int) -> Section:
    available, size = f"node_filesystem_avail_bytes{{{DISKS}}}", f"node_filesystem_size_bytes{{{DISKS}}}"
    return [
        parts.curves(
            "数据库大小",
            "各服务数据库的大小。",
            [curve('max by (datname) (pg_database_size_bytes{datname=~"fanzha_.*"})', "{{datname}}")],
            Place(0, y, 8, 8),
            unit=BYTES,
        ),
        parts.curves(
            "数据库连接",
            "各数据库的连接数；上限见 max_connections。",
            [curve('max by (datname) (pg_stat_database_numbackends{datname=~"fanzha_.*"})', "{{datname}}")],
            Place(8, y, 8, 8),
            unit=COUNT,
        ),
        parts.curves(
            "磁盘剩余",
            "剩余空间的比例。低于 15%：DiskFilling。",
            [curve(f"min by (mountpoint) ({available} / {size})", "{{mountpoint}}")],
            Place(16, y, 8, 8),
            unit=SHARE,
        ),
        parts.number(
            "距上次备份",
            "距上一次成功备份的时间。超过 26 小时：BackupTooOld。",
            [now("time() - max(fanzha_backup_last_success_timestamp_seconds)", "备份")],
            Place(0, y + 8, 8, 6),
            unit=SECONDS,
            steps=[(None, GREEN), (86400, YELLOW), (93600, RED)],
        ),
        parts.curves(
            "内存",
            "各部分的常驻内存。",
            [curve("max by (job) (process_resident_memory_bytes)", "{{job}}")],
            Place(8, y + 8, 8, 6),
            unit=BYTES,
        ),
        parts.curves(
            "机器可用内存",
            "可用内存占全部的比例。",
            [curve("min(node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)", "可用")],
            Place(16, y + 8, 8, 6),
            unit=SHARE,
        ),
    ], 14
