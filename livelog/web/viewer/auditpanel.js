/* The panel with the audit log and the blocks in force. While it is open it is refreshed.
 *
 * A link leads to it: `#audit`, `#audit=block` for one kind of act, `#blocks`. The address has that
 * part as long as the panel is open.
 */
import { retryAfter, whyNot } from "./admin.js";
import { KINDS } from "./auditlog.js";
import { changeFragment, fragment } from "./fragment.js";
import { hidePanel, showPanel } from "./panels.js";

const EVERY_MS = 5000;
const NO_AUTHENTICATION = "This server has no authentication, so it has no moderators and no audit log.";
const NOT_ALLOWED = "This is for those who have the scope moderate.";

export class AuditPanel {
  #identity;
  #lists; // tab → `AuditLog` or `Blocks`
  #parts;
  #refused;
  #tab = "audit";
  #timer = 0;
  #isBusy = false;
  #isStale = false; // a refresh was asked for meanwhile

  /** `lists`: audit, blocks; `parts`: panel, state, kind, older, close, home, and of each list the list and
   * its button (`audit`, `auditList`, …); `refused(code)` is called when the server
   * has refused to show one. */
  constructor(identity, lists, parts, refused) {
    this.#identity = identity;
    this.#lists = lists;
    this.#parts = parts;
    this.#refused = refused;
    parts.kind.append(new Option("all acts", ""));
    this.#offer(KINDS);
    parts.kind.addEventListener("change", () => this.#filter(parts.kind.value));
    for (const tab of Object.keys(lists)) parts[tab].addEventListener("click", () => this.open(tab));
    parts.older.addEventListener("click", () => this.#load("older"));
    parts.close.addEventListener("click", () => this.close());
    identity.on(() => this.refresh());
    document.addEventListener("visibilitychange", () => this.#look());
    addEventListener("hashchange", () => this.follow());
  }

  /** Open what the address names. */
  follow() {
    const own = fragment();
    const tab = Object.keys(this.#lists).find((name) => own.has(name));
    if (tab) this.open(tab, own.get("audit") ?? "", true);
  }

  /** Open the tab `audit` or `blocks`; `kind` is the kind of act that is shown, `isLed` tells that the
   * address leads to it. */
  open(tab, kind = this.#lists.audit.kind, isLed = false) {
    this.#tab = tab;
    const { panel, home } = this.#parts;
    showPanel(panel, { close: () => this.close(), home, isLed });
    for (const name of Object.keys(this.#lists)) {
      this.#parts[name].setAttribute("aria-pressed", String(name === tab));
    }
    this.#say("Loading …");
    this.#filter(kind);
    this.#parts[tab].focus();
    this.refresh();
  }

  close() {
    clearTimeout(this.#timer);
    hidePanel(this.#parts.panel);
    changeFragment({ audit: null, blocks: null });
  }

  /** Load what is new, if it is open, and again after a while. */
  refresh() {
    if (this.#parts.panel.hidden) return;
    const isAllowed = this.#identity.may("moderate");
    this.#showAllowed(isAllowed);
    if (isAllowed) this.#load("refresh");
    else if (this.#identity.id !== null) this.#say(this.#identity.isOpen ? NO_AUTHENTICATION : NOT_ALLOWED);
  }

  /** A token that is renewed may allow less. */
  #showAllowed(isAllowed) {
    const { kind, older } = this.#parts;
    kind.hidden = !isAllowed || this.#tab !== "audit";
    for (const name of Object.keys(this.#lists)) {
      this.#parts[`${name}List`].hidden = !isAllowed || this.#tab !== name;
    }
    if (!isAllowed) older.hidden = true;
  }

  /** Write the lists again: times are shown in another way. */
  redraw() {
    for (const list of Object.values(this.#lists)) list.redraw();
  }

  get #list() {
    return this.#lists[this.#tab];
  }

  /** Offer kinds of acts to choose from; those of a newer server come with its acts. */
  #offer(kinds) {
    const { kind: choice } = this.#parts;
    const known = new Set([...choice.options].map(({ value }) => value));
    for (const kind of kinds) if (!known.has(kind)) choice.append(new Option(kind, kind));
  }

  #filter(kind) {
    if (kind) this.#offer([kind]);
    this.#parts.kind.value = kind;
    this.#lists.audit.filter(kind);
    changeFragment({ audit: null, blocks: null, [this.#tab]: this.#tab === "audit" ? kind : "" });
    if (!this.#timer) return; // until the first answer
    this.#say(this.#list.summary);
  }

  async #load(what) {
    clearTimeout(this.#timer);
    if (this.#isBusy) {
      this.#isStale = true;
      return;
    }
    const list = this.#list;
    this.#isBusy = true;
    const wait = await this.#tried(list, what);
    this.#isBusy = false;
    const again = this.#isStale || list !== this.#list;
    this.#isStale = false;
    if (again) this.refresh();
    else if (wait !== null) this.#timer = setTimeout(() => this.#look(), Math.max(wait, EVERY_MS));
  }

  /** Load, and return the milliseconds after which to look again; null where that does not help. */
  async #tried(list, what) {
    try {
      await list[what]();
      if (list === this.#list) this.#show(list);
      return 0;
    } catch (error) {
      this.#say(`Not loaded: ${whyNot(error)}.`);
      this.#refused(error.code);
      return retryAfter(error);
    }
  }

  #show(list) {
    this.#offer(this.#lists.audit.kinds);
    this.#say(list.summary);
    this.#parts.older.hidden = list.isEnd;
  }

  /** Refresh what is in sight. */
  #look() {
    if (!document.hidden) this.refresh();
  }

  #say(words) {
    if (this.#parts.state.textContent !== words) this.#parts.state.textContent = words;
  }
}
