"""What a sentence of a support dialogue does: asks, answers, greets, holds, asks for data, …

Rules for English and Chinese, by the words that such sentences begin with and hold. They are used
on past dialogues, where a mistake costs one pair of many and a person looks at the result.
"""

import re
from enum import StrEnum


class Act(StrEnum):
    """content: says something of the matter; for a customer, asks or tells a problem."""

    GREETING = "greeting"
    HOLD = "hold"
    DATA_REQUEST = "request for data"
    CLOSING = "closing"
    COURTESY = "courtesy"
    TRANSFER = "transfer"
    ACKNOWLEDGED = "acknowledgement"
    CONTENT = "content"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_AGENT_GREETING = _any(
    r"^(?:hi|hello|hey|hiya|dear|good (?:day|morning|afternoon|evening)|welcome)\b(?=[^.?]{0,60}$)"
    r"(?!.{0,40}\b(?:can|could|you'll|order|refund|your)\b)",
    r"\b(?:this is|my name is|my name's|i'?’?m|you(?:'|’)?(?:re| are) (?:chatting|speaking|"
    r"connected) with)"
    r" <agent>",
    r"^(?:hi|hello|hey|hiya|dear|good (?:day|morning|afternoon|evening)|"
    r"welcome)\b[^.?!]{0,40}\b(?:here|from|speaking|on this "
    r"side)\b[^.?!]{0,40}[.!?]?$",
    r"^(?:hello )?[A-Z]\w{1,20}(?:,? (?:from|speaking|on this side|at your "
    r"service)\b)[^.?!]{0,40}[.!]?$",
    r"^<agent> (?:here|speaking|at your service)|^<agent>[.,!]*$",
    r"\bi (?:will|shall|'ll|’ll) be (?:assisting|helping) you",
    r"\bthank(?:s| you)(?: so much)? for (?:contacting|reaching|getting in touch|your "
    r"(?:message|mail|e-?mail|"
    r"enquiry|inquiry|call|tweet)|writing|tweeting|calling|messaging|the tag|choosing)",
    r"^(?:good|nice|lovely) to (?:hear|meet|see)\b",
    r"\bhow (?:can|may|could) (?:i|we) (?:help|assist|be of)",
    r"\bwhat can (?:i|we) do for you",
    r"^(?:您好|你好|亲|欢迎)[^，。？?]{0,20}[，。！!~～]?$|很高兴为您|请问有什么可以?(?:帮|为)|"
    r"有什么可以帮|我是.{0,6}(?:客服|<agent>)|客服.{0,4}在的|^(?:嗨|您好|你好).{0,12}(?:我是|"
    r"这里是)",
    r"^(?:您好|你好)[，,].{0,4}(?:我是|这里是)",
)
_HOLD = _any(
    r"\b(?:one|a|just a|give me a|two|a few|couple of|few) ?(?:sec|second|moment|minute|minutes|"
    r"mins?|mo)\b",
    r"\b(?:bear|hang|hold) (?:with|on|tight)\b|\bhold (?:please|the line)",
    r"\b(?:kindly|please) (?:wait|allow|hold)|\bwhile (?:i|we) (?:check|look|review|retrieve|"
    r"investigate|find)",
    r"\b(?:let me|i'?’?ll|i will|i am|i'?’?m|just|let us|we'?’?ll|we are|we'?’?re) (?:just "
    r")?(?:check|checking|look|"
    r"looking|take a look|taking a look|have a look|pull|pulling|find out|see|opening|reviewing)\b"
    r"(?!.{0,60}\b(?:and|but) )",
    r"\b(?:may|can) i ask for .{0,20}\bminutes?\b|\bthank you for (?:your patience|waiting|"
    r"holding)\b",
    r"请?稍(?:等|候)|请等|等一下|正在(?:为您)?(?:查|核实|处理|确认)|马上(?:为您)?(?:查|看)|"
    r"(?:我|帮您|为您|给您)(?:先)?(?:查|看)一下|感谢您?的?耐心|久等",
)
_DATA_REQUEST = _any(
    r"\b(?:may|can|could|would|will) (?:i|we|you)\b.{0,40}\b(?:have|get|give|share|provide|"
    r"confirm|tell|send|"
    r"supply|state|let (?:me|us) know|quote|dm|verify|forward|specify)\b.{0,120}"
    r"\b(?:number|no\.?|id|name|address|e-?mail|phone|postcode|zip|date|digits|last (?:4|four)|"
    r"photo|picture|"
    r"screenshot|details?|code|version|model|which|what|when|where|account|country|location|"
    r"reference|"
    r"birth|dob|username|more|dm|direct message|information|info)\b",
    r"\b(?:please|kindly|pls)\b.{0,20}\b(?:provide|share|confirm|send|dm|tell|give|quote|verify|"
    r"let (?:me|us) know|"
    r"reply with|forward|state)\b.{0,60}\b(?:your|the|us|me|a)\b.{0,40}"
    r"\b(?:number|id|name|address|e-?mail|phone|postcode|zip|date|digits|photo|picture|"
    r"screenshot|details?|code|"
    r"version|model|account|reference|birth|dm|info|information)\b(?! to )",
    r"^(?:what|which|when|where|who|how many|how much|how long)\b.{0,160}\?$",
    r"^(?:and|ok|okay|so|sure|thanks|great|got it|i see|sorry)[,!.]? (?:what|which|when|where|"
    r"who)\b.{0,160}\?$",
    r"^(?:do|did|does|is|are|was|were|have|has|had|can|could|would|will|may|are you|"
    r"any)\b.{0,200}\?$",
    r"\b(?:dm|direct message|private message|pm) (?:us|me)\b|\b(?:send|drop|shoot|pop|"
    r"follow)\b.{0,40}"
    r"\b(?:dm|direct message|private message|pm)\b|\b(?:via|by|in|to|through) (?:a )?(?:dm|"
    r"direct message|pm)s?\b",
    r"^(?:your )?(?:order|account|card|customer|phone|reference|tracking)[\w ]{0,20}(?:number|"
    r"no\.?|id)?(?:,? please)?\s?\?$",
    r"\bthe number starts with\b|\b(?:still )?need (?:your|the) .{0,40}\b(?:number|details|"
    r"address|id)\b",
    r"(?:请|麻烦|烦请|劳烦)(?:您)?(?:先)?(?:提供|告知|告诉|说|报|发|确认|核对|给|"
    r"问)(?:一?下)?.{0,24}(?:号|单|码|名|姓名|地址|电话|手机|尾号|后四位|四位|"
    r"截图|照片|信息|吗|？|\?)",
    r"(?:订单号|单号|卡号|手机号|账号|尾号|后四位|姓名|地址).{0,8}(?:是多少|是什么|提供|告诉|发|"
    r"呢|吗|？|\?)|请问(?:您的?)?(?:是)?(?:哪|什么|多少|贵姓|订单|卡)",
)
# Questions that propose something to do are help, not a request for data.
_SUGGESTION = _any(
    r"\b(?:have you tried|did you try|could you try|can you try|please try|does (?:restarting|"
    r"re|logging|that|it|"
    r"this|disabling|turning|un)|would you (?:mind )?(?:try|restart|re-?install)|have (?:you|"
    r"we) .{0,20}\btry)\b",
)
_MORE = _any(
    r"\b(?:anything|something|any other|any (?:more|further)|else)\b.{0,60}\b(?:else|help|"
    r"assist|do for you|further|"
    r"more|question|today)\b.{0,40}\?",
    r"请问?还有(?:什么|其他|别的|没有)|还有(?:什么|其他).{0,8}(?:帮|问题|需要)",
)
_CLOSING = _any(
    r"^(?:其他|别的)?还有(?:别的|啥|什么|其他)?.{0,8}(?:问题|要帮|需要)",
    r"^(?:thanks|thank you|cheers|many thanks|bye|goodbye|good bye|take care|have a|enjoy|"
    r"lovely|see you|all the best|"
    r"you(?:'|’)?(?:re| are) (?:very |most )?welcome|no (?:problem|worries)|my pleasure|any "
    r"?time|glad|happy to|"
    r"pleased to|hope (?:this|that|it)|great to hear|good to hear)\b(?!.{0,60}\b(?:you can|"
    r"please|refund|sent|order <))",
    r"\b(?:have a (?:nice|good|great|lovely|wonderful)|enjoy your)\b.{0,30}$",
    r"\b(?:if you need|should you need|feel free|don'?’?t hesitate|let us know if|let me know "
    r"if|give us a shout|"
    r"just shout|tweet away|reach out (?:again|anytime|if)|keep us (?:posted|in the loop|"
    r"updated)|let us know how)\b",
    r"感谢您?的?(?:来电|咨询|支持|理解|光临|配合)|祝您|再见|拜拜|不客气|应该的|不用谢|"
    r"很高兴(?:能)?帮|欢迎(?:您)?(?:再次|随时)|(?:有|如有).{0,6}(?:问题|需要).{0,6}(?:随时|再)",
)
_COURTESY = _any(
    r"^(?:(?:oh|ah|hi|hey|ok|okay)[,!. ]{1,3})?(?:i'?’?m|i am|we'?’?re|we are|so|very|really|"
    r"oh)?\s?(?:so |very |really |"
    r"truly |terribly |deeply )?sorry\b(?=.{0,90}$)(?!.{0,80}\b(?:but|not|no longer|can'?’?t|"
    r"cannot|unable|sold|out of|"
    r"unavailable|until|only|must|within)\b)",
    r"^(?:we|i) (?:do |fully |completely |totally |really |can )?(?:apologi[sz]e|understand|"
    r"appreciate|regret|hear you|know "
    r"how)\b(?=.{0,120}$)(?!.{0,80}\b(?:but|refund|you can|please)\b)",
    r"^(?:my|our) (?:sincere |sincerest |deepest )?apologies\b.{0,80}$|^apologies\b.{0,80}$",
    r"^(?:ok|okay|sure|of course|certainly|absolutely|right|great|got it|i see|understood|"
    r"perfect|no problem|no worries|"
    r"thanks|thank you|thx|noted|yes|no|hmm|oh|ah|oops|gotcha|fair enough|for sure|indeed|good "
    r"question|that'?’?s (?:great|"
    r"good|odd|strange|not good|a great q|no good)|definitely (?:odd|sounding odd))\b.{0,40}$",
    r"^(?:i'?’?d|i would|we'?’?d|we would|i can|we can|let me|let'?’?s|happy|glad|more than "
    r"happy|here) (?:love |like |be "
    r"(?:happy|glad) |certainly |definitely |gladly )?(?:to )?(?:help|assist)\b.{0,60}$",
    r"^(?:regards|rgds|best|ty|yours)\b.{0,30}$|\b(?:was|is) (?:a|my|our) pleasure\b.{0,30}$|"
    r"^help is on the way",
    r"^(?:rest assured|don'?’?t worry|no need to worry)[.!]?$|^(?:let'?’?s )?(?:get this|take a "
    r"(?:closer )?look|look into this|"
    r"investigate this)\b.{0,60}$",
    r"^(?:好的?|嗯|是的|收到|明白了?|了解|可以的?|没问题|没关系|当然(?:可以)?|理解您的心情|"
    r"非常?抱歉|抱歉|对不起|给您(?:带来|添)).{0,14}$",
)
_TRANSFER = _any(
    r"\b(?:connect|transfer|put|pass|passing|hand|handing|forward|forwarding|escalat|"
    r"redirect)\w*\b.{0,30}\b(?:you|this|your|it|"
    r"chat|case|query|request)\b.{0,60}\b(?:to|with|through|on to|over "
    r"to)\b.{0,60}\b(?:colleague|team|department|"
    r"specialist|supervisor|manager|<agent>|<name>|security|agent|someone|floor)\b",
    r"\b(?:colleague|specialist|supervisor|manager|<agent>)\b.{0,30}\b(?:will|'ll|’ll) (?:take "
    r"over|take it from|contact|"
    r"call|get back)\b",
    r"转接|转给|转到|升级(?:给|到)|让.{0,6}(?:专员|主管|同事)(?:联系|处理|跟进|为您)|"
    r"专人(?:会)?(?:联系|跟进)",
)

_CUSTOMER_GREETING = _any(
    r"^(?:hi+|hello+|hey+|hiya|yo|dear|good (?:day|morning|afternoon|evening)|greetings|morning|"
    r"evening)\b"
    r"(?=[^?]{0,30}[!,.~ ]*$)(?!.{0,40}\b(?:my|i|where|how|can|order)\b)",
    r"^(?:(?:hi|hello|hey)[,!. ]{1,3})?(?:is )?(?:any(?:one|body)|some(?:one|body))(?: is)? "
    r"(?:there|here|around|online)\b"
    r".{0,15}$",
    r"^.{0,30}\bthanks for (?:taking|answering|the quick|getting back|your reply|"
    r"replying)\b.{0,30}$",
    r"^(?:您好|你好|在吗|在么|有人吗|哈喽|嗨|喂)[，。！？?!~在吗人]{0,6}$|^有人在?吗|^客服在吗",
)
_CUSTOMER_THANKS = _any(
    r"^(?:(?:ok|okay|great|perfect|super|fantastic|wonderful|brilliant|awesome|amazing|lovely|"
    r"cool|good|fine|alright|right|"
    r"yes|no|oh|ah|wow|excellent|nice|got it|sounds good)[,!. ]{1,3}){0,3}(?:many |thank|thx|"
    r"thanx|tnx|ty\b|cheers|"
    r"much appreciated|appreciate|i appreciate|bless|that (?:helps|helped|worked|works|did it|"
    r"was quick|was fast)|"
    r"it(?:'s| is)? (?:works|worked|working) (?:now|again)|works now|you(?:'|’)?re (?:a star|"
    r"the best|great)|problem solved|"
    r"sorted)(?=.{0,90}$)(?![^?]{0,90}\?)",
    r"^.{0,40}\b(?:it works now|works? (?:fine |perfectly )?now|thank you so much|thanks so "
    r"much|thanks a (?:lot|million|bunch))\b"
    r"[^?]{0,40}$",
    r"^(?:perfect|great|wonderful|brilliant|super|lovely|awesome|excellent|fantastic|amazing|"
    r"phew)[^?]{0,40}$",
    r"^(?:好的?[，,]?)?(?:太好了|谢谢|多谢|非常感谢|感谢|谢了|辛苦了|麻烦您?了|"
    r"麻烦你了).{0,12}$|(?:好的|嗯|行).{0,4}(?:谢谢|感谢)|谢谢(?:你|您|啦|了)?[。！!~]*$",
)
_CUSTOMER_CLOSING = _any(
    r"^(?:no|nope|nah)\b[^?]{0,60}\b(?:all|it|thanks|thank|else|good|day|fine|everything|cheers|"
    r"bye)\b[^?]{0,30}$",
    r"^(?:no|nope|nah)[,.!]?$|^(?:that(?:'|’)?(?:s| is|ll be|'ll be| will be)|thats)(?: all| it|"
    r" everything| fine| great| good)"
    r"\b[^?]{0,40}$",
    r"^(?:bye|goodbye|take care|have a (?:nice|good|great|lovely)|cya|see (?:you|ya)|you too|"
    r"same to you)\b[^?]{0,40}$",
    r"^(?:没有?了|没事了|没有其他|不用了|暂时没有|就这些|再见|拜拜).{0,12}$",
)
_ACKNOWLEDGED = _any(
    r"^(?:ok+|okay|okey|k+|kk|fine|sure|yes|yeah|yep|yup|ya|no|nope|alright|right|i see|got it|"
    r"understood|no problem|"
    r"no worries|not yet|of course|cool|good|will do|done|hm+|ah+|oh+|true|correct|exactly|"
    r"please do|go ahead|take your time|"
    r"i'?’?ll wait|waiting|one (?:moment|sec|second)|(?:good|great|fair) (?:question|point)|"
    r"sounds good|that'?’?s (?:right|correct|me))"
    r"(?:[,!. ]{1,3}(?:ok|okay|sure|please|then|no problem|take your time|i'?’?ll wait|go ahead|"
    r"do|thats? fine|will do))?[,!. ]*$",
    r"^fine,? but .{0,60}$|^(?:please )?(?:hurry|be quick)\b.{0,20}$",
    r"^(?:好的?|嗯+|哦+|行|可以|是的?|对的?|没错|没问题|知道了|明白了?|不急|我等(?:着|一下)?|"
    r"等你|收到)[吧啊呢哦，。！!~]*$",
)
# Words by which a statement tells a problem or a wish.
_PROBLEM = _any(
    r"\b(?:can'?’?t|cannot|cant|can not|couldn'?’?t|won'?’?t|wont|doesn'?’?t|doesnt|don'?’?t "
    r"(?:see|get|have|find|know|understand|"
    r"receive)|didn'?’?t|didnt|isn'?’?t|isnt|hasn'?’?t|hasnt|haven'?’?t|havent|wasn'?’?t|"
    r"aren'?’?t|never|still (?:not|no|"
    r"waiting)|not (?:working|arrived|received|there|yet|able|been|come|showing|sent)|unable|"
    r"stopped|stuck|missing|lost|"
    r"stolen|broken|damaged|faulty|defective|wrong|error|fail\w*|declined|rejected|refused|"
    r"blocked|locked|late|delayed|"
    r"twice|overcharged|charged|problem|issue|trouble|bug|crash\w*|sold out|expired|leak\w*|"
    r"mistake|scam|fraud)\b",
    r"\b(?:i|we) (?:want|need|would like|wanna|wish|am looking|'m looking|’m looking|have to|'d "
    r"like|’d like|d like|must|"
    r"ordered|bought|paid|received|got|sent|returned|cancel\w*|forgot)\b|\b(?:please|pls|plz) "
    r"\w+|\bhelp\b|"
    r"\b(?:looking for|trying to|tried to|how to|instead of)\b|^(?:want|need|cancel|change|"
    r"refund|return|track|where)\b",
    r"不能|无法|没法|不了|没有?(?:收到|到|显示|成功|退|发)|还没|一直|坏了|丢了|错了|失败|问题|"
    r"投诉|退(?:款|货|钱)|取消|想(?:要|问|退|换|买|改|知道|取消|了解)|"
    r"需要|帮我|麻烦(?:你|您)?(?:帮|查|看|给)|我要|被(?:盗|拒|扣|锁)|重复|破损|漏发|少了|修改|"
    r"查一?下",
)
_QUESTION = _any(
    r"[?？]|^(?:how|what|when|where|which|who|why|whose|is|are|do|does|did|can|could|may|will|"
    r"would|should|shall|am|have|has|"
    r"any|anything)\b|\b(?:wondering|any (?:ideas?|chance|news|update|way|reason)|do you|can "
    r"you|can i|could you|could i|is "
    r"there|how (?:do|can|long|much|many|come)|what (?:is|are|if|about|do)|where (?:is|are|can)|"
    r"when (?:will|is|do|can)|"
    r"why (?:is|do|did|am|are|was|has|have))\b",
    r"吗|呢|怎么|如何|什么|为啥|为何|能不能|可不可以|是不是|有没有|多少|多久|几天|几点|哪|谁|"
    r"是否|请问|咋",
)
_NEXT_MATTER = _any(
    r"\b(?:one more (?:thing|question)|another (?:thing|question|issue|problem)|also|by the way|"
    r"btw|while (?:i'?’?m|you'?’?re) "
    r"(?:here|at it)|something else|next question|different (?:question|matter))\b|另外|"
    r"还有(?:一|个|就是|件)|顺便|对了",
)
_NOT_HELPED = _any(
    r"\b(?:didn'?’?t|did not|doesn'?’?t|does not|not|hasn'?’?t) (?:really )?(?:help|work|solve|"
    r"fix|answer)\w*\b|\bthat (?:isn'?’?t|"
    r"is not|wasn'?’?t) (?:my|what|the|an?)\b|\b(?:no|nothing) (?:luck|change)\b|\bstill (?:not|"
    r"the same|doesn|isn|no|having|broken)|"
    r"\bmakes no sense\b|\bsame (?:problem|issue|error) (?:again|as)\b|\bnot helpful\b|"
    r"\buseless\b|没用|不行|还是(?:不|没|一样)|答非所问|没有?解决",
)


def agent_act(sentence: str) -> Act:
    """What an agent's sentence does. Names must be masked (<agent>, <name>)."""
    text = sentence.strip()
    if not any(sign.isalnum() for sign in text) or (text.isascii() and len(text.split()) < 2):
        return Act.COURTESY
    if _AGENT_GREETING.search(text):
        return Act.GREETING
    if _TRANSFER.search(text):
        return Act.TRANSFER
    if _MORE.search(text):
        return Act.CLOSING
    if _SUGGESTION.search(text):
        return Act.CONTENT
    if text.rstrip("!. ")[-1:] in ("?", "？") or _DATA_REQUEST.search(text):
        return Act.DATA_REQUEST
    if _HOLD.search(text):
        return Act.HOLD
    if _CLOSING.search(text):
        return Act.CLOSING
    return Act.COURTESY if _COURTESY.search(text) else Act.CONTENT


def customer_act(sentence: str) -> Act:
    """What a customer's sentence does: greeting, closing (thanks too), acknowledgement, content."""
    text = sentence.strip()
    if not any(sign.isalnum() for sign in text):
        return Act.ACKNOWLEDGED
    if _CUSTOMER_GREETING.search(text):
        return Act.GREETING
    if _CUSTOMER_THANKS.search(text) or _CUSTOMER_CLOSING.search(text):
        return Act.CLOSING
    return Act.ACKNOWLEDGED if _ACKNOWLEDGED.search(text) else Act.CONTENT


def asks(sentence: str) -> bool:
    """Whether a customer's sentence is a question in form."""
    return bool(_QUESTION.search(sentence))


def tells_problem(sentence: str) -> bool:
    """Whether a customer's sentence tells of a problem or a wish."""
    return bool(_PROBLEM.search(sentence))


def next_matter(sentence: str) -> bool:
    """Whether a customer's sentence opens another matter (one more thing, 另外)."""
    return bool(_NEXT_MATTER.search(sentence))


def not_helped(text: str) -> bool:
    """Whether a customer says that the answer did not help."""
    return bool(_NOT_HELPED.search(text))


def thanked(sentence: str) -> bool:
    """Whether a customer thanks, or says that it works now."""
    return bool(_CUSTOMER_THANKS.search(sentence.strip()))
