/* One element of the page. */

export function element(tag, name = "", content = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (content) made.textContent = content;
  return made;
}
