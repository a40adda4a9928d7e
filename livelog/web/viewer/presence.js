/* Users that are on line: how many, in the header, and a panel with their list for those who may see
 * it. The server tells of changes; each connection asks again.
 */
import { retryAfter } from "./admin.js";
import { timeOf, who } from "./auditlog.js";
import { element } from "./element.js";
import { count } from "./format.js";
import { showRows } from "./keyed.js";
import { hidePanel, showPanel } from "./panels.js";

const PAGE = 100;
const AGAIN_MS = 5000; // after which is asked again, where changes were missed or the server had a fault
const NO_USERS = "This server has no authentication, so it knows of connections and not of users. Everybody may read and publish. A key, made by livelog keys create, changes that.";
const NO_LIST = "The scope presence lets you see who they are.";

export class Presence {
  #live;
  #identity;
  #pages;
  #parts;
  #count = null; // null while it is not known
  #users = []; // by id, as far as they are loaded
  #isWhole = false;
  #timer = 0;

  /** `parts`: panel, button, state, note, list, more, close. */
  constructor(live, identity, pages, parts) {
    this.#live = live;
    this.#identity = identity;
    this.#pages = pages;
    this.#parts = parts;
    parts.button.addEventListener("click", () => this.toggle());
    parts.close.addEventListener("click", () => this.close());
    parts.more.addEventListener("click", () => this.#ask(this.#users.length));
    identity.on(() => this.#begin());
    live.on("online_changed", (change) => this.#change(change));
    live.on("state", ({ name }) => this.#connected(name === "connected"));
  }

  toggle() {
    if (this.#parts.panel.checkVisibility()) this.close();
    else if (!this.#parts.button.hidden) this.#open();
  }

  close() {
    hidePanel(this.#parts.panel);
    this.#parts.button.setAttribute("aria-expanded", "false");
  }

  redraw() {
    this.#parts.list.replaceChildren();
    this.#show();
  }

  #open() {
    const { panel, button } = this.#parts;
    showPanel(panel, { close: () => this.close(), home: button });
    button.setAttribute("aria-expanded", "true");
    this.#parts.close.focus();
    this.#show();
    this.#begin();
  }

  /** The number is of the connection that told it. */
  #connected(isConnected) {
    if (!isConnected) this.#count = null;
    this.#show();
  }

  /** Ask from the first user on, and for changes. */
  #begin() {
    if (!this.#identity.isOpen) this.#ask(0);
    else if (!this.#parts.panel.hidden) this.#countConnections();
    this.#show();
  }

  /** Ask, and for changes. A principal that may not even read gets no number, and no word about it. */
  async #ask(offset) {
    const limit = this.#parts.panel.hidden ? 1 : PAGE;
    try {
      const answer = await this.#live.presence({ follow: true, offset, limit });
      this.#isWhole = answer.users !== undefined && offset + answer.users.length >= answer.count;
      this.#count = answer.count;
      this.#users = merged(offset ? this.#users : [], answer.users ?? []);
    } catch (error) {
      this.#count = null;
      const wait = retryAfter(error);
      if (wait !== null) this.#beginIn(Math.max(wait, AGAIN_MS));
    }
    this.#show();
  }

  #change({ count: many, joined, left, incomplete }) {
    this.#count = many;
    if (!this.#parts.panel.hidden) this.#changeList(joined ?? [], left ?? [], incomplete);
    this.#show();
  }

  #changeList(joined, left, incomplete) {
    const last = this.#users.at(-1)?.id ?? "";
    const near = joined.filter(({ id }) => this.#isWhole || id <= last);
    const gone = new Set(left);
    this.#users = merged(this.#users, near).filter(({ id }) => !gone.has(id));
    if (incomplete) this.#beginIn(AGAIN_MS);
  }

  #beginIn(ms) {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#begin();
    }, ms);
  }

  async #countConnections() {
    const { connections } = await this.#pages.health().catch(() => ({}));
    if (connections !== undefined) this.#say(`${count(connections, "open connection")}`);
  }

  #show() {
    const { isOpen } = this.#identity;
    const { button, panel, list, note, more } = this.#parts;
    const mayList = this.#identity.may("presence");
    button.hidden = !isOpen && this.#count === null;
    const words = isOpen ? "open server" : `${(this.#count ?? 0).toLocaleString("en")} on line`;
    if (button.textContent !== words) button.textContent = words;
    if (panel.hidden) return;
    if (!isOpen) this.#say(this.#count === null ? "The number is not known now." : count(this.#count, "user"));
    note.textContent = isOpen ? NO_USERS : mayList ? "" : NO_LIST;
    note.hidden = !note.textContent;
    more.hidden = isOpen || !mayList || this.#isWhole;
    showRows(list, mayList ? this.#users : [], keyOf, draw);
  }

  #say(words) {
    if (this.#parts.state.textContent !== words) this.#parts.state.textContent = words;
  }
}

/** Return users by their id, the later ones in the place of those that are known. */
function merged(users, others) {
  const all = new Map([...users, ...others].map((user) => [user.id, user]));
  return [...all.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
}

function keyOf({ id, connections, since }) {
  return JSON.stringify([id, connections, since]);
}

function draw({ id, connections, since }) {
  const row = element("li");
  row.append(who(id));
  if (connections > 1) row.append(element("span", "", count(connections, "connection")));
  const place = element("span", "since", "since ");
  place.append(timeOf(since));
  row.append(place);
  return row;
}
