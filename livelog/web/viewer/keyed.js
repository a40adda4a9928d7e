/* Lists whose rows keep their elements, so that what has the focus or is being read stays. */

/** Make the rows of `list` those of `items`, in their order. `key(item)` is unique and the same for
 * the same row; `draw(item)` makes the row of an item that is new. */
export function showRows(list, items, key, draw) {
  const wanted = new Set(items.map((item) => String(key(item))));
  for (const row of [...list.children]) if (!wanted.has(row.dataset.key)) row.remove();
  const rows = new Map([...list.children].map((row) => [row.dataset.key, row]));
  let place = list.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const row = rows.get(name) ?? draw(item);
    row.dataset.key = name;
    if (row === place) place = place.nextElementSibling;
    else list.insertBefore(row, place);
  }
}
