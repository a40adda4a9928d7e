/* The address of views side by side: for each its own address and a title, in the fragment, where no
 * server sees it.
 */

export const MOST_PANES = 4;
const MAX_ADDRESS = 8000; // characters
const MAX_TITLE = 80;

/** Return `[{ address, title }]` from a fragment, at least one. An address begins with ? or #, or is
 * empty: it cannot name another page. */
export function panesIn(fragment) {
  const panes = [];
  for (const [name, value] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (name === "pane") panes.push({ address: addressIn(value), title: "" });
    else if (name === "title" && panes.length) panes.at(-1).title = value.slice(0, MAX_TITLE);
  }
  return panes.length ? panes.slice(0, MOST_PANES) : [{ address: "", title: "" }];
}

export function toFragment(panes) {
  const pairs = panes.flatMap(({ address, title }) => {
    return [["pane", address], ...(title ? [["title", title]] : [])];
  });
  return `#${new URLSearchParams(pairs)}`;
}

function addressIn(value) {
  return /^[?#]/.test(value) ? value.slice(0, MAX_ADDRESS) : "";
}
