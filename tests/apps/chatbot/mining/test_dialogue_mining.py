"""From a dialogue to its pairs: what is masked, what asks and what answers, what is the same."""

import pytest

from apps.chatbot.answers import lint, render
from apps.chatbot.mining.answer_choice import Encode, choose_answers
from apps.chatbot.mining.answer_clusters import cluster_answers
from apps.chatbot.mining.answer_mining import exchanges_of
from apps.chatbot.mining.answer_templates import firms_own, templates_of
from apps.chatbot.mining.dialogue_masking import masked, runs_of, sentences
from apps.chatbot.mining.dialogues import Dialogue, Turn
from apps.chatbot.mining.intent_names import name_clusters, title_of
from apps.chatbot.mining.speech_acts import Act, agent_act, customer_act


def dialogue(*said: str, name: str = "d", resolved: bool | None = None) -> Dialogue:
    """Lines `C: …` and `A: …`."""
    turns = tuple(
        Turn("customer" if line[0] == "C" else "agent", line[3:], number)
        for number, line in enumerate(said)
    )
    return Dialogue(name, turns, "file.csv", 1, resolved)


def test_masks_keep_what_they_stand_for() -> None:
    words = masked("Mara sent TT-402817 and 55512 to a@example.com on 3 May.", agents={"Mara"})
    assert words.text == "<agent> sent <order> and <number> to <email> on <date>."
    assert words.values == ("Mara", "TT-402817", "55512", "a@example.com", "3 May")
    assert masked("In 2024 we sold 500 of type 12.5").text == "In 2024 we sold 500 of type 12.5"


def test_sentences_share_out_the_values() -> None:
    parts = sentences(masked("Hi there, I see. Order no. 44812 left on 3 May. Yes."))
    assert [(part.text, part.values) for part in parts] == [
        ("I see.", ()),
        ("Order no. <order> left on <date>.", ("44812", "3 May")),
        ("Yes.", ()),
    ]


def test_runs_are_merged_and_names_learned_from_the_dialogue() -> None:
    runs = runs_of(
        dialogue(
            "C: Dear team,\n\nmy kettle leaks\n\nBest wishes\nLiam Garrity",
            "C: @Shop please help &amp; hurry",
            "A: Hi Liam, this is Mara.",
            "A: Liam, we send a new one. ^MO",
        )
    )
    assert [(run.role, run.words.text, run.turns) for run in runs] == [
        ("customer", "my kettle leaks\nplease help & hurry", (0, 1)),
        ("agent", "Hi <name>, this is <agent>.\n<name>, we send a new one.", (2, 3)),
    ]


@pytest.mark.parametrize(
    ("sentence", "act"),
    [
        ("Thank you for contacting us, this is <agent>.", Act.GREETING),
        ("One moment please, I am checking.", Act.HOLD),
        ("May I have your order number?", Act.DATA_REQUEST),
        ("Please send us a DM with your account details.", Act.DATA_REQUEST),
        ("Is there anything else I can do for you?", Act.CLOSING),
        ("Have a nice day!", Act.CLOSING),
        ("I'm so sorry to hear that.", Act.COURTESY),
        ("I will now connect you with a colleague of our card team.", Act.TRANSFER),
        ("Have you tried restarting the app?", Act.CONTENT),
        ("You have 30 days to send it back free of charge.", Act.CONTENT),
        ("您好，很高兴为您服务。", Act.GREETING),
        ("请稍等，马上为您查询。", Act.HOLD),
        ("请提供一下您的订单号。", Act.DATA_REQUEST),
        ("祝您生活愉快，再见！", Act.CLOSING),
        ("签收后30天内未使用都可以免费退货。", Act.CONTENT),
    ],
)
def test_what_an_agents_sentence_does(sentence: str, act: Act) -> None:
    assert agent_act(sentence) == act


@pytest.mark.parametrize(
    ("sentence", "act"),
    [
        ("hello, anyone there?", Act.GREETING),
        ("ok thank you for your help", Act.CLOSING),
        ("No, that's it.", Act.CLOSING),
        ("k", Act.ACKNOWLEDGED),
        ("Thanks, but where is my order?", Act.CONTENT),
        ("where is my order", Act.CONTENT),
        ("谢谢！", Act.CLOSING),
        ("好的", Act.ACKNOWLEDGED),
        ("我的订单到哪了？", Act.CONTENT),
    ],
)
def test_what_a_customers_sentence_does(sentence: str, act: Act) -> None:
    assert customer_act(sentence) == act


def test_greetings_holds_and_requests_for_data_are_no_answer() -> None:
    (exchange,) = exchanges_of(
        dialogue(
            "C: hello",
            "A: Thank you for contacting us, this is Mara.",
            "C: my parcel is damaged",
            "A: Could you give me the order number?",
            "C: TT-402817",
            "A: One moment please.",
            "A: We send a new one for TT-402817 to you free of charge by 3 May.",
            "C: thanks!",
            "A: Have a nice day!",
        )
    )
    assert exchange.question == "my parcel is damaged"
    assert exchange.turns == (2,)
    (candidate,) = exchange.candidates
    assert candidate.words.text == "We send a new one for <order> to you free of charge by <date>."
    assert candidate.turns == (5, 6)
    assert candidate.given == {"TT-402817"}
    assert exchange.settled is True


def test_each_request_is_an_exchange_and_an_elliptic_one_takes_the_one_before() -> None:
    found = exchanges_of(
        dialogue(
            "C: how long does delivery take",
            "A: It takes two to four working days.",
            "C: and to Spain?",
            "A: It takes a week to get there.",
            "C: One more thing: do you sell gift cards?",
            "A: I will now connect you with a colleague of our gift team.",
        )
    )
    assert [(each.question, each.transferred) for each in found] == [
        ("how long does delivery take", False),
        ("how long does delivery take and to Spain?", False),
        ("do you sell gift cards?", True),
    ]


def test_an_answer_that_did_not_help_or_that_was_passed_on_is_no_pair(
    words_encode: Encode,
) -> None:
    exchanges = [
        *exchanges_of(
            dialogue("C: app crashes", "A: Please restart the phone.", "C: didn't help", name="1")
        ),
        *exchanges_of(dialogue("C: where is it?", "A: One moment please.", name="2")),
        *exchanges_of(
            dialogue("C: card blocked", "A: I will pass this on to our card team.", name="3")
        ),
        *exchanges_of(
            dialogue("C: how do I return a kettle?", "A: You return a kettle by post.", name="4")
        ),
    ]
    chosen = choose_answers(exchanges, words_encode)
    assert [pair.dialogue for pair in chosen.pairs] == ["4"]
    assert [(each.exchange.dialogue, each.reason) for each in chosen.dropped] == [
        ("1", "it did not help, as the customer or the end of the dialogue says"),
        ("2", "no answer of the matter: only greetings, holds, requests for data, or nothing"),
        ("3", "passed on to a colleague"),
    ]


def test_the_answer_of_the_matter_wins_and_what_is_always_said_is_no_answer(
    words_encode: Encode,
) -> None:
    matters = "kettle teapot invoice refund spoon voucher".split()
    exchanges = [
        exchange
        for number, matter in enumerate(matters)
        for exchange in exchanges_of(
            dialogue(
                f"C: {matter} {matter} {matter} broken?",
                "A: We value every single customer here.",
                "C: ok",
                f"A: A {matter} is repaired in the {matter} shop.",
                name=str(number),
            )
        )
    ]
    chosen = choose_answers(exchanges, words_encode)
    assert chosen.boilerplate == {"we value every single customer here": 6}
    assert [pair.answer.text for pair in chosen.pairs] == [
        f"A {matter} is repaired in the {matter} shop." for matter in matters
    ]


def mined(encode: Encode, *several: Dialogue) -> tuple[list[str], list[list[str]]]:
    """Templates and questions of each cluster."""
    exchanges = [exchange for each in several for exchange in exchanges_of(each)]
    chosen = choose_answers(exchanges, encode)
    clusters = cluster_answers(chosen.pairs, encode)
    own = firms_own(chosen.pairs)
    return (
        [templates_of(cluster, own)[0].text for cluster in clusters],
        [sorted(pair.question for pair in cluster.pairs) for cluster in clusters],
    )


def test_equal_answers_are_one_cluster_and_what_differs_becomes_a_slot(
    words_encode: Encode,
) -> None:
    templates, questions = mined(
        words_encode,
        *(
            dialogue(
                f"C: where is my order TT-40281{n}? {'soon' * n}",
                f"A: You follow order TT-40281{n} under My orders. It arrives on {n + 3} May. "
                "See https://shop.example.com/track for more.",
                name=str(n),
            )
            for n in range(4)
        ),
        *(
            dialogue(
                f"C: can I pay by invoice {'please' * n}?",
                "A: Paying by invoice costs £2.50 in our shop.",
                name=f"i{n}",
            )
            for n in range(3)
        ),
    )
    assert templates == [
        "You follow order {order_id} under My orders.[[ It arrives on {our_date}.]] "
        "See https://shop.example.com/track for more.",
        "Paying by invoice costs £2.50 in our shop.",
    ]
    assert [len(each) for each in questions] == [4, 3]
    assert render(templates[0], {"order_id": "TT-1", "date": "9 June"}).text == (
        "You follow order TT-1 under My orders. See https://shop.example.com/track for more."
    )


def test_what_the_firm_alone_can_know_is_asked_of_nobody(
    words_encode: Encode,
) -> None:
    templates, _ = mined(
        words_encode,
        *(
            dialogue(
                f"C: when is my refund of order TT-99881{n} there",
                f"A: Your refund of £{n}3.{n}0 arrives on {n + 2} May.",
                name=str(n),
            )
            for n in range(3)
        ),
    )
    assert templates == ["Your refund of {our_amount} arrives on {our_date}."]


def test_braces_and_names_of_customers_never_reach_a_template(
    words_encode: Encode,
) -> None:
    templates, _ = mined(
        words_encode,
        *(
            dialogue(
                f"C: My name is {name} and I need help with the form",
                f"A: Hello {name}, write {{x}} and [[y]] into the form, {name}.",
                name=name,
            )
            for name in ("Rosa", "Hugo", "Tina")
        ),
    )
    assert templates == ["Write (x) and [y] into the form."]
    lint(templates[0], "test")


def test_names_are_words_of_the_questions_and_none_is_given_twice() -> None:
    names = name_clusters(
        [
            ["how do I cancel my subscription", "cancel the subscription please"],
            ["where is the parcel", "is the parcel lost", "parcel lost!"],
            ["how do I cancel my subscription now"],
            ["怎么退款", "我要退款"],
            ["?!", "<order>"],
        ]
    )
    assert names[0] == "cancel_subscription"
    assert names[1] in ("parcel_lost", "parcel")
    assert names[3] == "退款"
    assert len(set(names)) == 5
    assert all(names)
    # One odd question does not name them all, though nobody else speaks of biscuits.
    odd = ["parcel overdue", "lost?", "parcel shipped", "stuck?", "my biscuit jar", "arriving?"]
    others = [[f"parcel {word}", word] for word in ("refund", "label", "damage", "address", "fee")]
    assert name_clusters([odd, *others])[0] == "parcel"
    assert title_of(["where is <order>", "my parcel is lost somewhere", "parcel lost!"], "x") == (
        "Parcel lost!"
    )
    assert title_of(["<order>?"], "parcel_lost") == "Parcel lost"
