"""What `fanzha init` writes into `.env`, and what it says to do next."""

import os
from pathlib import Path

from cli.public_address import PublicAddress
from shared import __version__
from upkeep.sizing import Sizes

POSTGRES_MAX_CPUS = 4
PREFLIGHT = f"""\
docker run --rm --user 0 --network host --volume "$PWD:/deployment" fanzha/operator:{__version__} fanzha preflight \\
         --directory /deployment --engine "$(docker version --format '{{{{.Server.Version}}}}')" \\
         --compose "$(docker compose version --short 2>/dev/null || docker-compose version --short)\""""


def env_text(public: PublicAddress | None, sizes: Sizes) -> str:
    """`.env`: what an operator may change. Nothing secret stands here. `public`: None where there is no domain."""
    url, profiles = (public.url, "monitoring,proxy") if public else ("", "monitoring")
    boards = "https://127.0.0.1:8445" if public else "http://127.0.0.1:3000"
    return f"""\
# fanzha init 生成。这里没有密钥（密钥在 secrets/）；改完运行 docker compose up -d 生效。
COMPOSE_PROJECT_NAME=fanzha
# production：证书有效、拒绝模拟时钟；dev：证书上印“演示样证”
ENVIRONMENT=production
# 可选部分：monitoring（Prometheus、Alertmanager、Grafana、exporter），proxy（TLS 反向代理），backup（每天的备份）
COMPOSE_PROFILES={profiles}

# 观众和平台看到的地址，结尾不带斜杠：写进证书二维码和个人页链接
CHECKIN_PUBLIC_URL={url or "http://127.0.0.1:8001"}
CERTIFICATE_PUBLIC_URL={url or "http://127.0.0.1:8004"}
# 联络员手机看到的地址，结尾不带斜杠：写进码条
REPORTING_PUBLIC_URL={url or "http://127.0.0.1:8002"}
# 证书上的印章：一个 PNG 文件，写成 ./seal.png 或绝对路径；不写就没有印章
SEAL_IMAGE=

# 所有端口默认只在本机。要让别的机器访问，只改代理的两个地址
PUBLIC_ADDRESS=127.0.0.1
OFFICE_ADDRESS=127.0.0.1
PUBLIC_PORT={public.port if public else 443}
# 办公入口页的端口，和它后面各系统的端口
OFFICE_PORT=8440
OFFICE_PORTS=8441-8445
# 大家打开 Grafana 用的地址，结尾不带斜杠：报警里的处理办法链接到这里
BOARDS_URL={boards}
# 多开实例时（docker compose up -d --scale checkin=3），端口要写成范围，例如 CHECKIN_PORT=8101-8109
CHECKIN_PORT=8001
REPORTING_PORT=8002
NOTIFICATION_PORT=8003
CERTIFICATE_PORT=8004

# 数据库最多用几个核（不能多于本机）
POSTGRES_CPUS={min(os.cpu_count() or 1, POSTGRES_MAX_CPUS)}.0
# 以下按 {sizes.viewers:,} 名观众算（fanzha init --viewers；docs/operations/install.md 有表）
VIEWERS_EXPECTED={sizes.viewers}
POSTGRES_MEMORY={sizes.postgres_memory_gib}g
POSTGRES_SHARED_BUFFERS={sizes.shared_buffers_mib}MB
POSTGRES_EFFECTIVE_CACHE_SIZE={sizes.effective_cache_gib}GB
POSTGRES_MAX_WAL_SIZE={sizes.max_wal_gib}GB
# 事件流上限（字节），和 NATS 总共可用的磁盘（要大于各流之和）
NATS_EVENTS_MAX_BYTES={sizes.events_max_bytes}
NATS_MAX_FILE={sizes.nats_max_file_gib}GB

# 每天几点备份（北京时间）、保留几份；COMPOSE_PROFILES 里加上 backup 才会定时备份（docs/operations/backup.md）
BACKUP_AT=02:30
BACKUP_KEEP=14
"""


def next_steps(directory: Path, public: PublicAddress | None, sizes: Sizes) -> str:
    tls = "现在的自签证书只够试用" if public else "TLS 代理没有启用（--domain）；启用时"
    return f"""\
已写好 {directory / ".env"} 和 {directory / "secrets"}/。
{_ownership_note()}
按 {sizes.viewers:,} 名观众：内存至少 {sizes.memory_gib} GiB，空闲磁盘至少 {sizes.disk_gib} GiB（含 14 份备份）。
人数不对：照 docs/operations/install.md 的表改 .env。
接下来：
  1. 抄一份 secrets/ 存到别处。密钥丢失，已存的姓名电话无法读出，已发的证书无法再验证。
  2. 看本机够不够：
     {PREFLIGHT}
  3. 启动：docker compose up -d        查看：docker compose ps
  4. 让别的机器访问：.env 里 PUBLIC_ADDRESS（公众）、OFFICE_ADDRESS（办公，不要放到公网）写成本机网卡的地址，
     再 docker compose up -d
{_about_the_address(public)}
  5. 导入活动：docker compose run --rm fanzha campaign apply campaigns/jinshan-2024.yaml
     检查：docker compose run --rm keeper doctor        备份：docker compose run --rm keeper backup
     每天自动备份：.env 的 COMPOSE_PROFILES 加上 backup
  6. 把推送地址和签名密钥交给直播平台：{webhook_address(public)}
     密钥是 secrets/operator.env 里的 WEBHOOK_SECRET（whsec_ 开头）
     几个平台：每个一个来源（fanzha init --source），docker compose run --rm keeper platforms 列出各自的地址和密钥
  7. Grafana：http://127.0.0.1:3000 ，用户 admin，口令在 secrets/grafana_admin
     报警发给谁：secrets/alerts.env（docs/operations/watching.md）；不写就没有人知道
  8. {tls}：换成正式的 secrets/tls_certificate.pem 和 tls_key.pem，
     再 docker compose up -d --force-recreate public-proxy office-proxy"""


def webhook_address(public: PublicAddress | None) -> str:
    return f"{public.url if public else 'http://127.0.0.1:8001'}/v1/live/events"


def _about_the_address(public: PublicAddress | None) -> str:
    if public and public.is_of_this_machine:
        return (
            f"     {public.host} 只有本机打得开：证书上的二维码、个人页链接都指向它，别人的手机打不开。发证书以前，\n"
            "     把 CHECKIN_PUBLIC_URL、CERTIFICATE_PUBLIC_URL 改成 https://域名（已发的证书不会变）"
        )
    if public and public.is_ip:
        return f"     {public.host} 要是 PUBLIC_ADDRESS 那台机器的地址，观众的手机要能连到它的 {public.port} 端口"
    if public:
        return f"     域名 {public.host} 要解析到 PUBLIC_ADDRESS 那台机器的 {public.port} 端口"
    return (
        "     没有写 --domain：证书上的二维码、个人页链接都指向 127.0.0.1，别人的手机打不开。发证书以前，"
        "把 CHECKIN_PUBLIC_URL、\n     CERTIFICATE_PUBLIC_URL 改成 https://域名，COMPOSE_PROFILES 加上 proxy（已发的证书不会变）"
    )


def _ownership_note() -> str:
    if os.geteuid() == 0:
        return "每个文件归读它的容器用户所有，权限 0400；目录 0700。"
    return "不是 root，不能把文件交给容器用户：文件 0444，但目录 0700，其他用户进不来。用 root 运行 fanzha init 可得 0400。"
