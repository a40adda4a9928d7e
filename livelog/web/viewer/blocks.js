/* The blocks in force, each with a button that ends it. */
import { timeOf, who } from "./auditlog.js";
import { element } from "./element.js";
import { count, isolated } from "./format.js";
import { showRows } from "./keyed.js";
import { moment } from "./time.js";

const PAGE = 100;

export class Blocks {
  #give;
  #acts;
  #list;
  #blocks = [];
  #total = 0;

  /** `give(command, fields)`; `acts`: where an end of a block waits. */
  constructor(give, acts, list) {
    this.#give = give;
    this.#acts = acts;
    this.#list = list;
  }

  /** Load as many as there were, and at least a page; throws what `give` throws. */
  async refresh() {
    await this.#load(Math.max(PAGE, this.#blocks.length));
  }

  async older() {
    await this.#load(this.#blocks.length + PAGE);
  }

  async #load(many) {
    const found = [];
    let total = 1;
    while (found.length < Math.min(many, total)) {
      const { result } = await this.#give("blocks", { limit: PAGE, offset: found.length });
      found.push(...result.blocks);
      total = result.blocks.length ? result.total_count : 0;
    }
    this.#total = Math.max(total, found.length);
    this.#blocks = found;
    this.#show();
  }

  redraw() {
    this.#list.replaceChildren();
    this.#show();
  }

  get summary() {
    return `${count(this.#total, "block")} in force`;
  }

  get isEnd() {
    return this.#blocks.length >= this.#total;
  }

  #show() {
    showRows(this.#list, this.#blocks, keyOf, (block) => this.#draw(block));
  }

  #draw({ user_id, address, by, at, reason, until }) {
    const target = isolated(user_id || address);
    const row = element("li", "act");
    const what = element("p", "what");
    what.append(user_id ? who(user_id) : element("bdi", "", address));
    what.append(element("strong", "", until ? `until ${moment(until)}` : "for ever"));
    what.append(element("span", "", "by"), who(by));
    row.append(timeOf(at), what, this.#end(target, user_id ? { user_id } : { address }));
    if (reason) row.append(element("bdi", "why", reason));
    return row;
  }

  #end(target, fields) {
    const button = element("button", "", "Unblock");
    button.type = "button";
    button.setAttribute("aria-label", `Unblock ${target}`);
    button.addEventListener("click", () => {
      const told = () => `${target} is not blocked any more.`;
      this.#acts.add({ command: "unblock", fields, words: `Unblock ${target}`, told });
    });
    return button;
  }
}

/** A block of the same target replaces it. */
function keyOf({ user_id, address, at, until }) {
  return JSON.stringify([user_id, address, at, until]);
}
