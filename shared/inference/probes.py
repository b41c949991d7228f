"""Texts of many kinds, to compare two runtimes of one encoder where the caller has none.

Written for this project: questions, headlines, product titles, typos, numbers, one word, long
paragraphs, other scripts. A neighbour or two for most of them, so that the order of neighbours
means something.
"""

PROBE_TEXTS: tuple[str, ...] = (
    "Where is my order?",
    "My parcel has not arrived yet, can you tell me where it is?",
    "How long does delivery to Ireland take?",
    "I was charged twice for the same purchase.",
    "there are two payments on my statement but i only bought one thing",
    "Please refund the second payment.",
    "My card was declined at the till.",
    "The cash machine kept my card",
    "I lost my wallet and want to block the card at once",
    "How do I change the PIN of my new card?",
    "i forgot my pasword and cant log in",
    "The reset link in your e-mail does not work.",
    "Can I pay in instalments?",
    "What exchange rate do you use when I pay in dollars?",
    "Do you charge a fee for transfers abroad?",
    "I'd like to close my account.",
    "Can I speak to a human being please",
    "thanks, that solved it!",
    "hello",
    "no",
    "What's the weather like tomorrow?",
    "Tell me a joke about penguins.",
    "Shares of the carmaker fell 8% after it cut its full-year outlook.",
    "Carmaker lowers forecast, stock slides",
    "The bank beat expectations with a quarterly profit of $2.4bn.",
    "Lender's earnings top estimates on higher interest income",
    "Central bank leaves rates unchanged, signals patience",
    "Oil rises as producers extend output cuts into spring",
    "Crude slips on signs of weaker demand",
    "Regulator fines broker over misleading adverts",
    "Chipmaker to build EUR 10bn plant, creating 3,000 jobs",
    "Pharma group recalls blood pressure drug after contamination",
    "Workers at the port vote to strike over pay",
    "Airline and union reach deal, averting strike",
    "Retailer files for bankruptcy protection, to close 120 stores",
    "The company did not disclose the terms of the deal.",
    "Net sales totalled EUR 58.7 mn, compared to EUR 61.2 mn a year earlier.",
    "$ACME breaking out above the 200 day, target 48",
    "Operating margin was flat at 12.4 %",
    "Nickel smelter restarts after flood",
    "Waterproof hiking boots for women, leather, size 39",
    "Men's trail running shoes, lightweight, blue",
    "Moisturising face cream with hyaluronic acid 50 ml",
    "Anti-ageing night serum, retinol 0.3 %",
    "Stainless steel water bottle 750ml leakproof BPA free",
    "Insulated travel mug with lid, 400 ml",
    "Children's picture book about a fox who cannot sleep",
    "A detective returns to her home town to solve a murder from her childhood.",
    "Space opera: a crew of smugglers carries the last seeds of Earth",
    "Wireless noise cancelling headphones, 30 h battery, black",
    "USB-C charging cable 2 m (pack of 3)",
    "Cast iron frying pan 28 cm",
    "Organic green tea, loose leaf, 250 g",
    "LED desk lamp dimmable with USB port, white",
    "WHERE IS MY REFUND???",
    "wher is my refnd",
    "refund",
    "Order <order> was cancelled but <amount> is still blocked on my card",
    "ERROR 0x80070057: the parameter is incorrect",
    "https://example.com/orders/12345?state=lost",
    "3.14159 26535 89793 23846",
    "A1-B2-C3-D4",
    "👍👍 great service",
    "¿Dónde está mi pedido?",
    "Wann kommt meine Bestellung an?",
    "Je voudrais annuler ma commande.",
    "我的订单什么时候到？",
    "我想退款",
    "信用卡丢了怎么办？",
    "央行下调存款准备金率，股市上涨",
    "Мой заказ не пришёл",
    "注文をキャンセルしたいです。",
    "I ordered two lamps and a kettle on Monday and paid by card. The lamps came on Thursday, but "
    "one of them has a cracked shade, and the kettle is missing although the tracking page says "
    "that everything was delivered. I would like a new shade and my money back for the kettle.",
    "Hi, I have written three times now and nobody answers. When I call, I wait for half an hour "
    "and then the line goes dead. I only want to know whether my contract ends in March or in "
    "June, because I am moving house and need to tell the new provider. Please answer by e-mail.",
    "The group said on Tuesday that it would sell its packaging arm to a private equity firm for "
    "about 1.2 billion euros in cash and use the money to pay down debt. Analysts had expected a "
    "lower price. The shares rose as much as six percent in early trading before giving up part "
    "of the gain. The deal, which needs the approval of competition authorities in four "
    "countries, is expected to close in the third quarter. The chief executive said the company "
    "would from now on concentrate on hygiene products, where it sees growth of four to five "
    "percent a year, and that no further sales were planned. Unions demanded guarantees for the "
    "two thousand people who work in the division's nine plants.",
    "Soft merino jumper with a round neck and ribbed cuffs, knitted in Portugal from wool that is "
    "traced back to the farm. Wash by hand in cold water, dry flat, do not tumble dry. The model "
    "is 178 cm tall and wears size M. Goes well with the corduroy skirt and the ankle boots.",
)
