/* This page as one of several side by side: what it tells the page around it, and is told by it.
 *
 * Only pages of this origin can be around it, as the server's policy says. They share the token of
 * the tab, so whoever logs in in one view is logged in in all.
 */
import { toFragment } from "./panesaddress.js";
import { credential } from "./credential.js";
import { followFragment } from "./fragment.js";
import { isPane } from "./frame.js";
import { Notifications } from "./notifications.js";
import { nameOf, toAddress } from "./view.js";

/** Whether rows of one line fit; narrower, they have two, as on a phone. */
const DENSE = "(pointer: fine) and (min-width: 520px)";

export class Pane {
  #split;
  #view = null;
  #notifications;

  /** `split`: the link to views side by side; `login`: the dialog that asks for a token. */
  constructor(split, login) {
    this.#split = split;
    followFragment(() => this.#view && this.show(this.#view));
    if (!isPane) return;
    document.documentElement.toggleAttribute("data-pane", true);
    const dense = matchMedia(DENSE);
    const lookAtWidth = () => document.documentElement.toggleAttribute("data-dense", dense.matches);
    dense.addEventListener("change", lookAtWidth);
    lookAtWidth();
    this.tell({ waiting: 0, unread: 0 });
    addEventListener("focus", () => this.tell({ focused: true }));
    addEventListener("storage", ({ storageArea }) => {
      if (storageArea === sessionStorage && credential.token !== null && login.open) location.reload();
    });
  }

  /** This is the view; the address holds it, and in a fragment the choices of this page alone. */
  show(view) {
    this.#view = view;
    const address = toAddress(view) + location.hash;
    this.#split.href = `./viewer/panes.html${toFragment([{ address }, { address: "" }])}`;
    this.tell({ address, name: nameOf(view) });
  }

  /** `on`: handlers for covered (whether another view has taken the place of this one) and notify (a
   * `title` and a `body`). */
  listen(on) {
    this.#notifications = new Notifications((_, words) => on.notify(words));
    if (!isPane) return;
    addEventListener("message", ({ source, data }) => {
      if (source === parent && Object.hasOwn(on, data?.livelog)) on[data.livelog](data.told);
    });
  }

  /** Messages to be notified of have come: here, or in one of several views. */
  news(news) {
    if (isPane) this.tell({ news });
    else this.#notifications.add(this, news);
  }

  /** Tell any of: address, name, unread (a number of messages), waiting (a number of acts), focused,
   * news (of messages to be notified of), and move (to the view so many further on). */
  tell(news) {
    if (isPane) parent.postMessage({ livelog: "pane", ...news }, location.origin);
  }
}
