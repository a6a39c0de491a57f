"""The HTTP answer to each refusal of certificate's use cases."""

from shared.service.refusals import Answer, Answers

ANSWERS: Answers = {
    "wrong-claim-code": Answer(404, "wrong-claim-code", "领取码不正确，请核对后重试"),
    "claim-of-revoked": Answer(410, "certificate-revoked", "该证书已撤销，如有疑问请联系主办单位"),
    "wrong-phone-tail": Answer(403, "wrong-phone-tail", "手机号后四位不匹配，请核对报名时填写的手机号"),
    "code-tried-too-often": Answer(429, "too-many-wrong-claims", "该领取码的手机号后四位错误次数过多，请一小时后再试"),
    "address-tried-too-often": Answer(429, "too-many-wrong-claims", "尝试次数过多，请一分钟后再试"),
    "link-expired": Answer(404, "link-expired", "下载链接无效或已过期，请凭领取码重新领取"),
    "name-refused": Answer(422, "name-refused", "姓名不符合要求"),
    "guardian-consent-needed": Answer(
        409, "guardian-consent-needed", "这位观众未满 14 周岁，没有监护人同意，不能登记姓名"
    ),
    "campaign-erased": Answer(409, "campaign-erased", "该活动的个人信息已删除，不能再登记姓名"),
    "no-certificate": Answer(404, "not-found", "没有找到该证书"),
    "request-id-used": Answer(409, "request-id-used", "该编号已用于另一次换发"),
    "replaced-meanwhile": Answer(409, "replaced-meanwhile", "这张证书刚刚已经换发，请重新查找"),
    "reason-needed": Answer(422, "reason-needed", "请写明原因，一行，最多 500 字"),
    "already-revoked": Answer(409, "certificate-revoked", "该证书已撤销"),
}
