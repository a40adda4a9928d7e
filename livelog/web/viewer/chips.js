/* The chips over the rows: each condition that is in force, which can be negated or removed. */
import { TYPES } from "../client/livelog.js";
import { condition, conditionsOf, excluding, including, isNegated, negation, opposing } from "./expression.js";
import { moment } from "./time.js";
import { element } from "./element.js";
import { isExpression } from "./view.js";

const MAX_SHOWN = 60; // characters of a condition

/** Return `{ words, negated, opposite, without }` for each condition of a view: how it reads, and the
 * views with its opposite (null if it has none) and without it. */
export function chipsOf(view) {
  return [...ofTypes(view), ...ofText(view), ...ofFields(view), ...ofTimes(view)];
}

function ofTypes(view) {
  if (view.types.length === TYPES.length) return [];
  const others = TYPES.filter((type) => !view.types.includes(type));
  return [chip(`type: ${view.types.join(", ")}`, { ...view, types: TYPES }, { ...view, types: others })];
}

function ofText(view) {
  if (!isExpression(view.text)) return []; // words stand in the search box
  return conditionsOf(view.text).map((one) => ({
    ...chip(
      isNegated(one) ? negation(one) : one,
      { ...view, text: excluding(view.text, one) },
      { ...view, text: opposing(view.text, one) },
    ),
    negated: isNegated(one),
  }));
}

function ofFields(view) {
  return Object.entries(view.fields).map(([name, value]) => {
    const { [name]: _, ...fields } = view.fields;
    const opposite = negation(condition(name, JSON.stringify(value)));
    const without = { ...view, fields };
    return chip(`${name}: ${value}`, without, { ...without, text: including(view.text, opposite) });
  });
}

function ofTimes(view) {
  const { from, to, at } = view;
  const chips = [];
  if (from) chips.push(chip(`from ${moment(from)}`, { ...view, from: "" }));
  if (to) chips.push(chip(`to ${moment(to)}`, { ...view, to: "" }));
  if (at !== null) chips.push(chip("around one message", { ...view, at: null }));
  return chips;
}

function chip(words, without, opposite = null) {
  return { words, negated: false, opposite, without };
}

export class Chips {
  #list;
  #changed;

  constructor(list, changed) {
    this.#list = list;
    this.#changed = changed;
  }

  show(view) {
    const chips = chipsOf(view);
    this.#list.hidden = !chips.length;
    this.#list.replaceChildren(...chips.map((one) => this.#draw(one)));
  }

  #draw({ words, negated, opposite, without }) {
    const item = element("li", negated ? "chip negated" : "chip");
    const short = words.length > MAX_SHOWN ? `${words.slice(0, MAX_SHOWN)}…` : words;
    const shown = negated ? `not ${short}` : short;
    const act = (label, view) => (button) => {
      button.type = "button";
      button.setAttribute("aria-label", `${label}: ${shown}`);
      button.title = label;
      button.addEventListener("click", () => this.#changed({ ...view, at: null }));
      return button;
    };
    const name = element("bdi", "", shown);
    if (opposite === null) item.append(name);
    else {
      const button = act(negated ? "Only these" : "Leave these out", opposite)(element("button", "name"));
      button.append(name);
      item.append(button);
    }
    item.append(act("Remove", without)(element("button", "remove", "✕")));
    return item;
  }
}
