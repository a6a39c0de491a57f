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
    "no-such-lesson": Answer(422, "no-such-lesson", "{} 没有课程"),
    "make-good-id-used": Answer(409, "make-good-id-used", "该编号已用于另一项补录决定"),
}
