"""The address that viewers and the live platform use, as an operator types it: `https://X.cn/` means x.cn."""

import re
from ipaddress import IPv4Address, ip_address
from typing import NamedTuple

HTTPS = 443
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = re.compile(rf"{LABEL}(\.{LABEL})*")
NAME_MAX_CHARS = 253
FULL_WIDTH = str.maketrans("：／．。", ":/..")  # what an input method writes
EXAMPLE = "例如 fanzha.example.gov.cn 或 fanzha.example.gov.cn:8443"


class PublicAddress(NamedTuple):
    host: str  # lower case; an international name in its ASCII form, as certificates and QR codes have it
    port: int = HTTPS

    @property
    def url(self) -> str:
        return f"https://{self.host}" + ("" if self.port == HTTPS else f":{self.port}")

    @property
    def is_ip(self) -> bool:
        return self.host.rpartition(".")[2].isdigit()

    @property
    def is_of_this_machine(self) -> bool:
        """Whether nobody else reaches it: its loopback address or name."""
        loopback = self.is_ip and ip_address(self.host).is_loopback
        return loopback or self.host == "localhost" or self.host.endswith(".localhost")


def parse(text: str) -> PublicAddress:
    """Raises ValueError with a sentence that says what is wrong with it (zh-Hans)."""
    scheme, separator, rest = text.strip().translate(FULL_WIDTH).rpartition("://")
    if separator and scheme.lower() != "https":
        raise ValueError(f"“{text}”不是 https 地址：观众的姓名、手机号要经过它，只能加密。只写域名，{EXAMPLE}")
    authority, _, path = rest.partition("/")
    if path.strip("/") or "?" in rest or "#" in rest:
        raise ValueError(f"“{text}”带有路径：系统要占用整个域名（/claim、/v/、/me/ 等）。只写域名，{EXAMPLE}")
    host, _, port = authority.partition(":")
    return PublicAddress(_host(host, text), _port(port, text) if _ else HTTPS)


def _host(host: str, text: str) -> str:
    try:
        name = host.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    if not NAME.fullmatch(name) or len(name) > NAME_MAX_CHARS:
        raise ValueError(f"“{text}”不是域名：不能有空格和字母、数字、连字符以外的符号（中文域名可以）。{EXAMPLE}")
    if name.rpartition(".")[2].isdigit():
        _address(name, text)
    return name


def _address(name: str, text: str) -> None:
    try:
        is_address = isinstance(ip_address(name), IPv4Address)
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(f"“{text}”像 IP 地址，但不是。IPv4 写成 192.0.2.10；{EXAMPLE}")


def _port(port: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"“{text}”的端口不是 1–65535 的数。{EXAMPLE}")
    return int(port)
