"""How refusals of reporting's use cases are answered over HTTP."""

from shared.service.refusals import Answer, Answers

ANSWERS: Answers = {
    "no-such-campaign": Answer(404, "not-found", "没有找到该活动"),
    "no-such-lesson": Answer(422, "no-such-lesson", "该活动在 {} 没有课"),
    "unit-not-in-campaign": Answer(403, "unit-not-in-campaign", "该令牌的单位不在此活动的单位树中"),
    "whole-campaign-only": Answer(403, "whole-campaign-only", "按平台汇总只有全活动的数，不能按单位查看"),
}
