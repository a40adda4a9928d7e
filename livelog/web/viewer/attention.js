/* Calls a reader back: the number of unread messages in the title, and notifications.
 *
 * Notifications are asked for by a click, and shown only while the page is out of sight.
 */
import { describe } from "./format.js";

const TITLE_MS = 1000; // between two changes of the title

export class Attention {
  #button;
  #notice;
  #pane;
  #isCovered = false;
  #unread = 0;
  #title = "";
  #missed = 0; // that came while the page was out of sight
  #unseen = 0; // that are not in sight in the page
  #timer = 0;
  #isNotifying = false;
  #news = { many: 0, last: null }; // that nobody has been told of

  /** `pane` is told of unread messages, and of those that the reader wants to be notified of. */
  constructor(button, notice, pane) {
    this.#button = button;
    this.#notice = notice;
    this.#pane = pane;
    pane.listen({ covered: (covered) => this.#cover(covered), notify: (words) => this.#notify(words) });
    button.addEventListener("click", () => this.toggle());
    document.addEventListener("visibilitychange", () => this.#look());
  }

  /** Another view stands in the place of this one, or does not any more. */
  #cover(covered) {
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
    if (this.#isNotifying && document.hidden) this.#news = { many: this.#news.many + 1, last: message };
    this.#soon();
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
      this.#tell();
    }, TITLE_MS);
  }

  #show() {
    const many = Math.max(this.#missed, this.#unseen);
    const title = many ? `(${many.toLocaleString("en")}) ${this.#title}` : this.#title;
    if (document.title !== title) document.title = title;
    if (many !== this.#unread) this.#pane.tell({ unread: many });
    this.#unread = many;
  }

  #tell() {
    const { many, last } = this.#news;
    if (!many) return;
    this.#news = { many: 0, last: null };
    const { subject, summary } = describe(last);
    this.#pane.news({ title: `${last.type} · ${subject}`, body: summary, many });
  }

  /** Show a notification; a click on it leads to the page. */
  #notify({ title, body }) {
    if (!this.#isNotifying) return;
    try {
      const shown = new Notification(title, { body, tag: "livelog" });
      shown.onclick = () => globalThis.focus();
    } catch (error) {
      this.#set(false); // some phones allow them to service workers only
      this.#notice.show(`No notifications: ${error.message}`, "bad");
    }
  }
}
