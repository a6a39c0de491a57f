"""How refusals of checkin's use cases are answered over HTTP."""

from typing import Final

from shared.service.refusals import Answer, Answers

NO_SUCH_CAMPAIGN: Final = "no-such-campaign"
NO_SUCH_VIEWER: Final = "no-such-viewer"

ANSWERS: Answers = {
    NO_SUCH_CAMPAIGN: Answer(404, "not-found", "没有找到该活动"),
    NO_SUCH_VIEWER: Answer(404, "not-found", "没有找到该观众"),
    "no-such-unit": Answer(404, "not-found", "活动的单位树里没有该单位"),
    "campaign-frozen": Answer(409, "campaign-frozen", "活动已有签到，这些修改会改变既成事实"),
    "reason-needed": Answer(422, "reason-needed", "请写明原因：4 到 500 个字，不换行"),
    "no-such-lesson": Answer(422, "no-such-lesson", "{} 没有课程"),
    "make-good-for-nobody": Answer(422, "make-good-for-nobody", "没有写补给谁：请给出时段、单位、课程或名单"),
    "make-good-outdated": Answer(409, "make-good-outdated", "预览之后数据有变化，还没有补记"),
    "make-good-nobody-left": Answer(409, "make-good-nobody-left", "没有要补记的人：都已经计入"),
    "make-good-too-many": Answer(422, "make-good-too-many", "超过 10 万人，请按单位或名单分几次补记"),
    "make-good-id-used": Answer(409, "make-good-id-used", "该编号已用于另一项补录决定"),
}
