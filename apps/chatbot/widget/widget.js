/* The chat of Triptych for a web page, in one file and without any other:

     <script src="https://chat.example.com/widget/widget.js" data-title="Help" async></script>

   data-title: what the window is called. data-greeting: what it says first. data-colour: of the button
   and of the customer's words (#rrggbb). data-language: en or zh; by default that of the page.
   Whatever is said is set as text and never as markup. */
(() => {
  "use strict";
  const script = document.currentScript;
  const place = new URL("messages", script.src);
  const given = script.dataset;
  const language = (given.language || document.documentElement.lang || "en").slice(0, 2);
  const words = {
    en: {
      title: "Help", open: "Open the chat", close: "Close the chat", greeting: "Hello! How can we help?",
      write: "Write a message", send: "Send", you: "You", bot: "Assistant", agent: "Colleague",
      notice: "Note", failed: "This was not sent.", again: "Try again", typing: "Writing …",
      slow: "Too many messages. Please wait a moment.",
    },
    zh: {
      title: "在线客服", open: "打开聊天", close: "关闭聊天", greeting: "您好！请问有什么可以帮您？",
      write: "输入消息", send: "发送", you: "您", bot: "智能客服", agent: "人工客服",
      notice: "提示", failed: "消息未发送。", again: "重试", typing: "正在输入…",
      slow: "消息过于频繁，请稍候。",
    },
  };
  const say = { ...(words[language] || words.en) };
  if (given.title) say.title = given.title;
  if (given.greeting) say.greeting = given.greeting;
  const colour = /^#[0-9a-f]{6}$/i.test(given.colour || "") ? given.colour : "#1f4e79";
  const POLL_MS = 5000, LONGEST = 2000, KEPT = "triptych-visitor";

  const random = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

  // Forgotten with the tab; without storage, with the page.
  function visitorOfThisTab() {
    try {
      const known = sessionStorage.getItem(KEPT);
      if (/^[0-9a-f]{32}$/.test(known || "")) return known;
      const made = random();
      sessionStorage.setItem(KEPT, made);
      return made;
    } catch {
      return random();
    }
  }

  const visitor = visitorOfThisTab();
  const titles = new Map(); // payload of a button -> its title
  let last = 0, shown = false, loaded = false, waiting = false, timer = 0;

  function element(kind, properties, ...children) {
    const made = document.createElement(kind);
    for (const [name, value] of Object.entries(properties || {}))
      name in made ? (made[name] = value) : made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const style = element("style", { textContent: `
    :host { all: initial; }
    * { box-sizing: border-box; font: 15px/1.45 system-ui, sans-serif; }
    .open, form button { background: ${colour}; color: #fff; border: 0; cursor: pointer; }
    .open { position: fixed; right: 20px; bottom: 20px; border-radius: 28px; padding: 14px 22px;
      box-shadow: 0 3px 12px #0004; z-index: 2147483000; }
    .window { position: fixed; right: 20px; bottom: 84px; width: min(380px, calc(100vw - 40px));
      height: min(560px, calc(100vh - 110px)); display: flex; flex-direction: column; background: #fff;
      color: #1b1b1b; border: 1px solid #c8ccd0; border-radius: 12px; overflow: hidden;
      box-shadow: 0 8px 30px #0003; z-index: 2147483000; }
    .window[hidden] { display: none; }
    header { display: flex; justify-content: space-between; align-items: center; background: ${colour};
      color: #fff; padding: 10px 8px 10px 16px; }
    h2 { margin: 0; font-weight: 600; }
    header button { background: none; border: 0; color: inherit; font-size: 20px; padding: 4px 12px;
      cursor: pointer; }
    .log { flex: 1; overflow-y: auto; padding: 14px; display: flex; flex-direction: column; gap: 8px; }
    .log > div { max-width: 85%; align-self: flex-start; }
    .log p { margin: 0; padding: 8px 12px; border-radius: 12px; background: #eef1f4; white-space: pre-wrap;
      overflow-wrap: anywhere; }
    .who { font-size: 12px; color: #555e66; margin: 0 4px 2px; }
    .log .customer { align-self: flex-end; }
    .log .customer p { background: ${colour}; color: #fff; }
    .log .customer .who { text-align: right; }
    .log .notice { align-self: center; }
    .log .notice p { background: none; color: #555e66; text-align: center; }
    .choices { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 6px; }
    .choices button { border: 1px solid ${colour}; color: ${colour}; background: #fff; border-radius: 16px;
      padding: 6px 12px; cursor: pointer; text-align: left; overflow-wrap: anywhere; }
    .choices button:disabled { opacity: .5; cursor: default; }
    form { display: flex; gap: 8px; border-top: 1px solid #dfe3e6; padding: 10px; }
    textarea { flex: 1; resize: none; height: 42px; border: 1px solid #8b949c; border-radius: 8px;
      padding: 9px; }
    form button { border-radius: 8px; padding: 0 16px; }
    form button:disabled { opacity: .6; cursor: default; }
    :focus-visible { outline: 3px solid #f5a623; outline-offset: 1px; }
    @media print { .open, .window { display: none; } }` });
  const log = element("div", { className: "log", role: "log", "aria-live": "polite", tabIndex: 0,
    "aria-label": say.title });
  const box = element("textarea", { maxLength: LONGEST, rows: 1, placeholder: say.write,
    "aria-label": say.write });
  const send = element("button", { type: "submit", textContent: say.send });
  const form = element("form", {}, box, send);
  const close = element("button", { type: "button", textContent: "×", "aria-label": say.close });
  const frame = element("div", { className: "window", role: "dialog", hidden: true,
    "aria-label": say.title },
    element("header", {}, element("h2", { textContent: say.title }), close), log, form);
  const open = element("button", { type: "button", className: "open", textContent: say.title,
    "aria-label": say.open, "aria-expanded": "false" });

  function line(from, text) {
    const who = element("div", { className: "who", textContent: from === "customer" ? say.you : say[from] });
    const row = element("div", { className: from }, ...(from === "notice" ? [] : [who]),
      element("p", { textContent: text }));
    log.append(row);
    log.scrollTop = log.scrollHeight;
    return row;
  }

  function show(message) {
    if (message.id <= last) return;
    last = message.id;
    // A choice holds until something else is said.
    for (const old of log.querySelectorAll(".choices button")) old.disabled = true;
    const mine = message.from === "customer";
    const row = line(message.from, (mine && titles.get(message.text)) || message.text);
    if (!message.buttons.length) return;
    const choices = element("div", { className: "choices" });
    for (const { title, payload } of message.buttons) {
      titles.set(payload, title);
      const choice = element("button", { type: "button", textContent: title });
      choice.addEventListener("click", () => tell(payload, title));
      choices.append(choice);
    }
    row.append(choices);
    log.scrollTop = log.scrollHeight;
  }

  async function exchange(said) {
    const answer = await fetch(place, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      credentials: "omit",
      body: JSON.stringify({ visitor, after: last, ...said }),
    });
    if (!answer.ok) throw new Error(answer.status === 429 ? say.slow : say.failed);
    const { messages, person } = await answer.json();
    return () => {
      messages.forEach(show);
      clearTimeout(timer);
      // A person's words come when they come.
      if (person && shown) timer = setTimeout(look, POLL_MS);
    };
  }

  async function look() {
    try {
      (await exchange({}))();
      loaded = true;
    } catch {
      if (shown) timer = setTimeout(look, 4 * POLL_MS);
    }
  }

  async function tell(text, title, id = random()) {
    if (waiting) return;
    waiting = send.disabled = true;
    const mine = line("customer", title || text);
    const typing = line("notice", say.typing);
    try {
      const shows = await exchange({ message: text, message_id: id });
      mine.remove(); // it comes back with its number
      typing.remove();
      shows();
    } catch (error) {
      typing.remove();
      const again = element("button", { type: "button", textContent: say.again });
      const told = error instanceof TypeError ? say.failed : error.message;
      mine.append(element("div", { className: "who", textContent: told, role: "alert" }),
        element("div", { className: "choices" }, again));
      log.scrollTop = log.scrollHeight;
      again.addEventListener("click", () => {
        mine.remove();
        tell(text, title, id);
      });
    }
    waiting = send.disabled = false;
  }

  function toggle(wanted) {
    shown = wanted;
    frame.hidden = !shown;
    open.setAttribute("aria-expanded", String(shown));
    open.setAttribute("aria-label", shown ? say.close : say.open);
    clearTimeout(timer);
    if (!shown) return open.focus();
    if (!loaded && !log.children.length) line("bot", say.greeting);
    look();
    box.focus();
  }

  open.addEventListener("click", () => toggle(!shown));
  close.addEventListener("click", () => toggle(false));
  frame.addEventListener("keydown", (event) => {
    if (event.key === "Escape") toggle(false);
  });
  box.addEventListener("keydown", (event) => {
    // Enter that ends the writing of a Chinese word sends nothing.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value.trim();
    if (!text || waiting) return;
    box.value = "";
    tell(text);
  });

  function begin() {
    const host = element("div", {});
    host.attachShadow({ mode: "open" }).append(style, open, frame);
    document.body.append(host);
  }
  document.body ? begin() : document.addEventListener("DOMContentLoaded", begin);
})();
