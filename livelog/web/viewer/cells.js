/* The cells of a row: the values of the fields that its reader has chosen as columns. */
import { element } from "./element.js";
import { asHandle } from "./handles.js";
import { highlighted } from "./highlight.js";
import { shownOf, valuesOf } from "./values.js";

/** Return `[{ text, json, field }]`, for each of the fields: the text of its values, and the JSON and
 * the field's whole name if there is one value. A name such as `channel` is also that of an entry in
 * a free object, as in filters. */
export function cellsOf(message, fields) {
  const values = message.redacted ? [] : valuesOf(message);
  return fields.map((name) => {
    const found = values.filter(({ field, label }) => field === name || label === name);
    const all = found.length ? found : values.filter(({ field }) => isEntry(field, name));
    const text = all.map(({ json }) => (json === "null" ? "" : shownOf(json))).join(", ");
    const [first] = all;
    return all.length === 1 ? { text, json: first.json, field: first.field } : { text, json: null, field: null };
  });
}

function isEntry(field, name) {
  return /^(?:metadata|data|event_data)\./.test(field) && field.slice(field.indexOf(".") + 1) === name;
}

export function drawCells(message, fields, marks, isHandle) {
  return cellsOf(message, fields).map(({ text, json, field }, place) => {
    const cell = element("bdi", /^[-\d]/.test(json ?? "") ? "cell number" : "cell");
    cell.style.width = `var(--column-${place})`;
    cell.title = text;
    const shown = element("span");
    shown.append(...highlighted(text.replace(/\s+/g, " "), marks));
    cell.append(json !== null && text && isHandle ? asHandle(shown, { field, json }) : shown);
    return cell;
  });
}
