"""What went wrong on the way to a service or a database, in plain Chinese first; what the libraries say stands behind it."""

import socket
import ssl

import httpx

from shared.os_errors import os_reason


def with_details(message: str, error: BaseException) -> str:
    """`message` (zh-Hans), and in a line of its own the error for those who look after the system."""
    return f"{message}\n技术细节：{type(error).__name__}：{error}"


def way_reason(error: BaseException) -> str:
    """Why there was no answer, as far as the error or one that it comes from tells."""
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return "找不到这个主机名"
            case ssl.SSLError():
                return "加密连接没有建立：证书不受信任，或对方不是 HTTPS"
            case ConnectionRefusedError():
                return "连接被拒绝，那里没有程序在等"
            case httpx.UnsupportedProtocol() | httpx.InvalidURL():
                return "地址写得不对，应为 http:// 或 https:// 开头"
            case httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError() | ConnectionError():
                return "连接中途断开"
            case TimeoutError():
                return "没有按时回答"
            case OSError() if cause.errno and not os_reason(cause).isascii():
                return os_reason(cause)
    return "没有得到回答"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all that it comes from, the deepest first: it knows best."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain[::-1]
