/* Moderation and presence: builds their parts, and connects them with each other and the page. */
import { Acts } from "./acts.js";
import { give } from "./admin.js";
import { AuditLog } from "./auditlog.js";
import { AuditPanel } from "./auditpanel.js";
import { Blocks } from "./blocks.js";
import { Identity, showAllowed } from "./identity.js";
import { Moderation } from "./moderation.js";
import { part, parts } from "./parts.js";
import { Presence } from "./presence.js";
import { Redacting, expressionOf } from "./redacting.js";

export class Moderating {
  #page;
  #on;
  #identity;
  #acts;
  #moderation;
  #redacting;
  #presence;
  #audit;

  /** `page`: the parts live, pages, timeline, details, menu, notice, login; `on`: handlers for view
   * (returns it), context (a message) and waiting (the number of acts that are to be sent). */
  constructor(page, on) {
    const { live, pages, login } = page;
    const refused = (code) => login.refused(code);
    const released = () => part("rows").focus({ preventScroll: true });
    this.#page = page;
    this.#on = on;
    this.#identity = new Identity(live, pages);
    const done = (act, answer) => this.#done(act, answer);
    this.#acts = new Acts(parts.acts, { give, done, refused, released, waiting: on.waiting });
    this.#moderation = new Moderation(this.#identity, this.#acts, parts.moderation);
    this.#redacting = new Redacting(this.#acts, give, parts.redacting);
    this.#presence = new Presence(live, this.#identity, pages, parts.presence);
    const lists = {
      audit: new AuditLog(give, parts.audit.auditList, (seq) => on.context({ seq })),
      blocks: new Blocks(give, this.#acts, parts.audit.blocksList),
    };
    this.#audit = new AuditPanel(this.#identity, lists, parts.audit, refused);
    this.#identity.on(() => showAllowed(this.#identity));
    part("moderate").addEventListener("click", () => this.#showGeneral());
    part("moderate-one").addEventListener("click", () => this.#showMenu());
    this.#audit.follow();
  }

  /** Key → action. */
  keys = {
    o: () => this.#presence.toggle(),
    m: () => this.#showMenu(),
    u: () => this.#acts.undo(),
    a: () => this.#identity.may("moderate") && this.#audit.open("audit"),
  };

  /** Items of a menu for a handle, which may be in a row. */
  items(handle, opener) {
    const id = opener.closest(".row")?.id;
    const message = id && this.#page.timeline.rows.find(({ seq }) => `row-${seq}` === id);
    return this.#moderation.items(message, handle);
  }

  /** Times are shown in another way. */
  redraw() {
    this.#audit.redraw();
    this.#presence.redraw();
  }

  /** The menu of the message that is chosen; without one that of all that is found. */
  #showMenu() {
    const { message } = this.#page.details;
    const items = message ? this.#moderation.items(message) : [];
    if (items.length) this.#page.menu.show(part("moderate-one"), "", items);
    else if (this.#identity.may("moderate")) this.#showGeneral();
  }

  #showGeneral() {
    this.#page.menu.show(part("moderate"), "", [
      ["Redact what is found…", () => this.#redacting.open(expressionOf(this.#on.view()))],
      ["Audit log", () => this.#audit.open("audit")],
      ["Blocks", () => this.#audit.open("blocks")],
    ]);
  }

  #done({ told }, { result, silent }) {
    const missing = silent.length ? ` No answer from ${silent.join(", ")}.` : "";
    this.#page.notice.show(told(result) + missing, missing ? "bad" : "");
    this.#audit.refresh();
  }
}
