"""How refusals of notification's use cases are answered over HTTP."""

from shared.service.refusals import Answer, Answers

ANSWERS: Answers = {
    "no-such-campaign": Answer(404, "not-found", "没有找到该活动"),
    "other-unit": Answer(403, "other-unit", "该令牌只适用于自己单位及其下级"),
    "no-liaison": Answer(404, "no-liaison", "这个单位没有联络员的电话，或已经删除"),
}
