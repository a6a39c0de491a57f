"""How refusals of reporting's use cases are answered over HTTP."""

from shared.service.refusals import Answer, Answers

ANSWERS: Answers = {
    "no-such-campaign": Answer(404, "not-found", "没有找到该活动"),
    "no-such-lesson": Answer(422, "no-such-lesson", "该活动在 {} 没有课"),
    "unit-not-in-campaign": Answer(403, "unit-not-in-campaign", "该令牌的单位不在此活动的单位树中"),
    "no-such-unit": Answer(422, "no-such-unit", "该活动的单位树里没有 {}"),
    "name-unusable": Answer(422, "name-unusable", "姓名不能用"),
    "name-of-other-campaign": Answer(409, "name-taken", "这个名字已经用于另一个活动"),
    "already-invited": Answer(409, "already-invited", "已经邀请过这个人"),
    "no-such-person": Answer(404, "not-found", "没有找到这个人"),
    "no-session-key": Answer(
        503, "no-session-key", "系统还没有登录用的密钥：请管理员运行 fanzha init --add-missing 后重启"
    ),
    "sign-in-busy": Answer(429, "busy", "现在登录的人很多，请稍等几秒再试"),
    "address-tried-too-often": Answer(429, "tried-too-often", "试错的次数太多，请 15 分钟后再试"),
    "name-tried-too-often": Answer(429, "tried-too-often", "试错的次数太多，请 15 分钟后再试"),
    "wrong-name-or-passphrase": Answer(401, "wrong-name-or-passphrase", "姓名或口令不对"),
    "wrong-passphrase": Answer(401, "wrong-passphrase", "原来的口令不对"),
    "wrong-code": Answer(401, "wrong-code", "验证码不对、已经用过，或已过时"),
    "second-step-expired": Answer(409, "second-step-expired", "这个页面已经过时，请重新开始"),
    "second-step-is-on": Answer(409, "second-step-is-on", "验证码登录已经开启"),
    "signed-out-meanwhile": Answer(409, "signed-out-meanwhile", "您的登录刚刚改过，请重新登录"),
    "invitation-unknown": Answer(404, "invitation-unknown", "邀请码不对、已经用过，或已经过期"),
    "passphrase-unusable": Answer(422, "passphrase-unusable", "口令不能用"),
    "no-such-indicator": Answer(404, "not-found", "这个活动没有指标 {}"),
    "nothing-owed": Answer(404, "nothing-owed", "单位 {} 没有这份报表要填"),
    "period-locked": Answer(409, "period-locked", "这一期已经锁定，不再接收报表"),
    "stale-version": Answer(409, "stale-version", "这份报表已被别人更新"),
    "values-wrong": Answer(422, "values-wrong", "报表里有需要改正的地方"),
    "reason-missing": Answer(422, "reason-missing", "没有写原因"),
    "nothing-reported": Answer(409, "nothing-reported", "现在没有可以处理的报表"),
    "due-in-the-past": Answer(422, "due-in-the-past", "新的截止时间已经过去，请改为以后的时间"),
    "time-unreadable": Answer(422, "time-unreadable", "请填写新的截止时间，如 2024-07-02 17:00"),
    "no-approval-asked": Answer(409, "no-approval-asked", "{}不用上级审核"),
    "nothing-filled-in": Answer(422, "nothing-filled-in", "文件里没有填任何单位"),
    "too-many-reports": Answer(422, "too-many-reports", "一个文件最多填 {} 个单位，请分几次上传"),
    "file-unreadable": Answer(422, "file-unreadable", "这个文件读不下去"),
    "not-above": Answer(403, "not-above", "只有上级单位或反诈办可以作这个决定"),
    "whole-campaign-only": Answer(403, "whole-campaign-only", "按平台汇总只有全活动的数，不能按单位查看"),
}
