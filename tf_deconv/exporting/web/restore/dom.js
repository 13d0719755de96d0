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

/** Writes the line of what came in: what was left out stays said while the other line goes on. */
export function note(text, isFault = false) {
  find("note").textContent = text;
  find("note").classList.toggle("fault", isFault);
}

/** Offers a file to be saved. */
export function download({ blob, name }) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name.split("/").at(-1) }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // Some browsers ask for it later.
}

/** Has the browser ask before the page is left for as long as `isBusy` says so. */
export function askBeforeLeaving(isBusy) {
  addEventListener("beforeunload", (event) => {
    if (!isBusy()) return;
    event.preventDefault();
    event.returnValue = true; // Browsers before 2024 hear of it by this alone.
  });
}
