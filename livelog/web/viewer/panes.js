/* Views side by side: each is the viewer in a frame of its own, with its own connection and settings.
 *
 * The rule: this page knows of a view only what the view tells it (address, name, unread messages),
 * and its own address holds all of it, so that a link or a reload brings all views back.
 */
import { applyLook } from "./appearance.js";
import { element } from "./element.js";
import { Notifications } from "./notifications.js";
import { MOST_PANES, panesIn, toFragment } from "./panesaddress.js";
import { part } from "./parts.js";
import { keptChoices } from "./stored.js";

const SAID_MS = 4000;
const UNSENT = "An act in this view has not been sent yet. Close the view, so that it has no effect?";
const phone = matchMedia("(max-width: 720px)");

let panes = []; // in their order
let active = null;
let fragment = "";
let made = 0;
/** The page is one for its reader, so one of its views shows the notification for all. */
const notifications = new Notifications((pane, words) => pane.tell("notify", words));

/** One view: its bar, its frame, and the tab that leads to it on a phone. */
class Pane {
  address;
  unread = 0;
  waiting = 0; // acts of a moderator that have not been sent
  name = "";

  constructor({ address, title }) {
    made += 1;
    this.address = address;
    this.section = element("section", "pane");
    this.frame = element("iframe");
    this.frame.name = `view-${made}`;
    this.frame.src = urlOf(address);
    this.input = element("input", "title");
    this.input.value = title;
    this.input.maxLength = 80;
    this.input.addEventListener("input", changed);
    this.badge = element("span", "unread");
    this.tab = button("tab", "", () => activate(this));
    this.alone = element("a", "button alone", "Alone");
    this.alone.title = "This view without the others";
    const close = button("close", "✕", () => remove(this));
    close.setAttribute("aria-label", "Close this view");
    const bar = element("div", "bar");
    bar.append(this.input, this.badge, this.alone, close);
    this.section.append(bar, this.frame);
    this.section.addEventListener("focusin", () => activate(this, false));
  }

  get title() {
    return this.input.value.trim();
  }

  get label() {
    return this.title || this.name || "all messages";
  }

  show(place) {
    const many = this.unread.toLocaleString("en");
    this.section.classList.toggle("active", this === active);
    this.section.setAttribute("aria-label", `View ${place + 1}: ${this.label}`);
    this.frame.title = `View ${place + 1}: ${this.label}`;
    this.input.setAttribute("aria-label", `Title of view ${place + 1}`);
    this.input.placeholder = this.name || "all messages";
    this.badge.textContent = this.unread ? `${many} new` : "";
    this.alone.href = urlOf(this.address);
    this.tab.textContent = this.unread ? `${this.label} (${many})` : this.label;
    this.tab.setAttribute("aria-pressed", String(this === active));
    this.tell("covered", phone.matches && this !== active);
  }

  tell(livelog, told) {
    this.frame.contentWindow?.postMessage({ livelog, told }, location.origin);
  }
}

/** The viewer's address with the view of a pane; however that is written, it leads to no other page. */
function urlOf(address) {
  const [search, hash = ""] = address.split(/#(.*)/s);
  const url = new URL("../", location.href);
  url.search = search;
  url.hash = hash;
  return url.href;
}

function button(name, words, act) {
  const made = element("button", name, words);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** Show the views of the address. */
function open() {
  fragment = location.hash;
  panes.forEach(({ section }) => section.remove());
  panes = panesIn(fragment).map((pane) => new Pane(pane));
  part("panes").append(...panes.map(({ section }) => section));
  active = panes[0];
  changed();
}

function add() {
  if (panes.length === MOST_PANES) return;
  const pane = new Pane({ address: choicesOf(active), title: "" });
  panes.push(pane);
  part("panes").append(pane.section);
  activate(pane);
}

/** The address of a view of everything that looks as this one does; its panels stay where they are. */
function choicesOf(pane) {
  const own = new URLSearchParams((pane?.address ?? "").replace(/^[^#]*#?/, ""));
  for (const panel of ["audit", "blocks"]) own.delete(panel);
  return `#${own}`;
}

function remove(pane) {
  if (pane.waiting && !confirm(UNSENT)) return;
  const place = panes.indexOf(pane);
  pane.section.remove();
  panes = panes.filter((one) => one !== pane);
  activate(panes[Math.min(place, panes.length - 1)]);
}

/** Make a view the active one, the only one in sight on a phone. */
function activate(pane, isFocused = true) {
  if (pane !== active) active = pane;
  else if (!isFocused) return;
  changed();
  if (isFocused) pane.frame.focus();
}

function changed() {
  panes.forEach((pane, place) => pane.show(place));
  part("panes").dataset.many = String(panes.length);
  part("tabs").replaceChildren(...panes.map(({ tab }) => tab));
  part("add").disabled = panes.length === MOST_PANES;
  const unread = panes.reduce((sum, pane) => sum + pane.unread, 0);
  const names = panes.map(({ label }) => label).join(" | ");
  document.title = `${unread ? `(${unread.toLocaleString("en")}) ` : ""}${names} · livelog`;
  const next = toFragment(panes);
  if (next !== fragment) history.replaceState(null, "", next);
  fragment = next;
}

/** A view has told something. */
function told({ source, origin, data }) {
  const pane = panes.find(({ frame }) => frame.contentWindow === source);
  if (!pane || origin !== location.origin || data?.livelog !== "pane") return;
  if (data.focused) return activate(pane, false);
  if (data.news) return notifications.add(pane, data.news);
  if (data.move) return activate(panes.at((panes.indexOf(pane) + data.move) % panes.length));
  for (const name of ["address", "name", "unread", "waiting"]) if (name in data) pane[name] = data[name];
  changed();
}

function say(words) {
  part("said").textContent = words;
  setTimeout(() => part("said").replaceChildren(), SAID_MS);
}

addEventListener("message", told);
addEventListener("hashchange", () => location.hash !== fragment && open());
addEventListener("storage", ({ key }) => key?.endsWith("settings") && applyLook(keptChoices()));
phone.addEventListener("change", changed);
document.addEventListener("keydown", ({ key, target }) => {
  const step = { "[": -1, "]": 1 }[key];
  if (step && !target.matches("input")) activate(panes.at((panes.indexOf(active) + step) % panes.length));
});
part("add").addEventListener("click", add);
part("link").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    say("Link copied.");
  } catch {
    say("The browser does not allow to copy; the address of this page is the link.");
  }
});
open();
