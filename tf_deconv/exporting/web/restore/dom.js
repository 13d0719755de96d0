// Small things that the page's parts share.

export const find = (id) => document.getElementById(id);

/** Returns a new element with its properties and what is in it. */
export function make(name, properties = {}, ...inner) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...inner);
  return element;
}

/** Writes the line that screen readers read out. */
export function say(text, isFault = false) {
  find("status").textContent = text;
  find("status").classList.toggle("fault", isFault);
}

/** Offers a file to be saved. */
export function download({ blob, name }) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name.split("/").at(-1) }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // Some browsers ask for it later.
}
