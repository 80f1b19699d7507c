// Elements without HTML in strings: whatever a record or a message holds becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "oninput", "onchange", "onsubmit", "onclose", "ontoggle"];
// Control characters, and marks that turn the direction of text, which could disguise a name.
const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Return text with control characters as visible escapes. */
export function clean(value) {
  return String(value).replace(OBEYED, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child instanceof Node ? child : clean(child));
  }
  return node;
}

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (HANDLERS.includes(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : clean(value));
  }
  return append(node, children);
}

/** Make an element; `on…` attributes are functions, all other attributes and children are text. */
export function h(name, attributes, ...children) {
  return build(document.createElement(name), attributes, children);
}

/** Make an element of SVG. */
export function s(name, attributes, ...children) {
  return build(document.createElementNS(SVG, name), attributes, children);
}

/** Change `old` into `fresh`, and keep each element that stays, with its focus and its state. */
export function morph(old, fresh) {
  if (
    old.nodeName !== fresh.nodeName ||
    old.getAttribute?.("data-key") !== fresh.getAttribute?.("data-key")
  ) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  const kept = old.nodeName === "DETAILS" || old.nodeName === "DIALOG" ? ["open"] : [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) old[name] = fresh[name];
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  after.forEach((child, number) =>
    number < before.length ? morph(before[number], child) : old.append(child),
  );
  before.slice(after.length).forEach((child) => child.remove());
}
