/* Calls a reader back: the number of unread messages in the title, and notifications.
 *
 * Notifications are asked for by a click, and shown only while the page is out of sight.
 */
import { count, describe } from "./format.js";

const TITLE_MS = 1000; // between two changes of the title
const NOTIFY_MS = 5000; // between two notifications

export class Attention {
  #button;
  #notice;
  #told;
  #isCovered = false;
  #unread = 0;
  #title = "";
  #missed = 0; // that came while the page was out of sight
  #unseen = 0; // that are not in sight in the page
  #timer = 0;
  #isNotifying = false;
  #fresh = null; // since the last notification: the newest message, and how many came

  /** `told(many)` is called when the number of unread messages has changed. */
  constructor(button, notice, told = () => undefined) {
    this.#button = button;
    this.#notice = notice;
    this.#told = told;
    button.addEventListener("click", () => this.toggle());
    document.addEventListener("visibilitychange", () => this.#look());
  }

  /** Another view stands in the place of this one, or does not any more. */
  cover(covered) {
    this.#isCovered = covered;
    this.#look();
  }

  get #isOut() {
    return document.hidden || this.#isCovered;
  }

  #look() {
    if (this.#isOut) return;
    this.#missed = 0;
    this.#show();
  }

  /** The title without a number. */
  name(title) {
    this.#title = title;
    this.#missed = 0;
    this.#show();
  }

  /** So many messages are not in sight. */
  unseen(many) {
    if (many === this.#unseen) return;
    this.#unseen = many;
    this.#soon();
  }

  /** A message has arrived. */
  count(message) {
    if (!this.#isOut) return;
    this.#missed += 1;
    this.#soon();
    if (this.#isNotifying) this.#notify(message);
  }

  async toggle() {
    if (this.#isNotifying) return this.#set(false);
    if (!("Notification" in globalThis)) {
      return this.#notice.show("This browser shows no notifications for this page; HTTPS may be needed.", "bad");
    }
    const answer = await Notification.requestPermission();
    this.#set(answer === "granted");
    if (answer !== "granted") this.#notice.show("The browser does not allow notifications.", "bad");
    else this.#notice.show("You are notified of messages of this view while the page is out of sight.");
  }

  #set(notifying) {
    this.#isNotifying = notifying;
    this.#button.setAttribute("aria-pressed", String(notifying));
  }

  #soon() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#show();
    }, TITLE_MS);
  }

  #show() {
    const many = Math.max(this.#missed, this.#unseen);
    const title = many ? `(${many.toLocaleString("en")}) ${this.#title}` : this.#title;
    if (document.title !== title) document.title = title;
    if (many !== this.#unread) this.#told(many);
    this.#unread = many;
  }

  /** Show the first message at once, and what comes in the seconds after it as one number. */
  #notify(message) {
    if (this.#fresh) {
      this.#fresh.last = message;
      this.#fresh.many += 1;
      return;
    }
    this.#fresh = { last: message, many: 0 };
    this.#tell(message, 0);
    setTimeout(() => {
      const { last, many } = this.#fresh;
      this.#fresh = null;
      if (many && this.#isOut && this.#isNotifying) this.#tell(last, many - 1);
    }, NOTIFY_MS);
  }

  #tell(message, more) {
    const { subject, summary } = describe(message);
    const body = more ? `${summary}\nand ${count(more, "more message")}` : summary;
    try {
      const shown = new Notification(`${message.type} · ${subject}`, { body, tag: globalThis.name || "livelog" });
      shown.onclick = () => globalThis.focus();
    } catch (error) {
      this.#set(false); // some phones allow them to service workers only
      this.#notice.show(`No notifications: ${error.message}`, "bad");
    }
  }
}
