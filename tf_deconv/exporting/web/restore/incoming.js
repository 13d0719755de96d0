// Files that come in: chosen, dropped or pasted.

import { find } from "./dom.js";

const PICTURE_NAME = /\.(jpe?g|jfif|png|apng|webp|gif|bmp|avif|heic|heif|jxl|tiff?|svg)$/i;
const FILM_NAME = /\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|ogv|3gp|m2?ts|wmv|flv)$/i;
const MOST_NAMED = 3;
const NO_FILE = "is no file, but text or an address: save the picture or film first, and take its file.";

export const isPicture = ({ type, name }) => type.startsWith("image/") || PICTURE_NAME.test(name);
export const isFilm = ({ type, name }) => type.startsWith("video/") || FILM_NAME.test(name);

/** Names files in a sentence: the first ones, and how many more. */
export function naming(found) {
  const names = found.slice(0, MOST_NAMED).map(({ name }) => name);
  const more = found.length - names.length;
  if (more) return `${names.join(", ")} and ${more} more`;
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join("");
}

const once = (act) => new Promise((done, fail) => act(done, fail));

// Returns all files of what was dropped, with their paths; a null in place of one that cannot be read.
async function filesIn(entry, path = "") {
  const name = path + entry.name;
  try {
    if (entry.isFile) return [{ file: await once((done, fail) => entry.file(done, fail)), name }];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      // A reader gives a hundred at a time.
      const some = await once((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return found;
      for (const inner of some) found.push(...(await filesIn(inner, `${name}/`)));
    }
  } catch (error) {
    console.warn(name, error);
    return [{ file: null, name }];
  }
}

const nameOf = (file) => file.webkitRelativePath || file.name || "pasted.png";
const named = (files) => [...files].map((file) => ({ file, name: nameOf(file) }));

async function filesOf({ files, items }) {
  // Asked for at once: afterwards the browser has taken the items away.
  const entries = [...(items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return named(files);
  return (await Promise.all(entries.map((entry) => filesIn(entry)))).flat();
}

/**
 * Listens for files.
 *
 * @param {string[]} inputs Ids of those that choose files.
 * @param {function} take Receives [{ file, name }], where name is a path below the folder that was chosen, and
 *   a sentence of what cannot be had of it, or "". There may be none.
 */
export function listen(inputs, take) {
  const give = (found, fault) => {
    const unread = found.filter(({ file }) => !file);
    take(
      found.filter(({ file }) => file),
      unread.length ? `${naming(unread)} cannot be read.` : found.length ? "" : fault,
    );
  };
  for (const id of inputs) {
    find(id).addEventListener("change", ({ target }) => {
      const found = named(target.files);
      target.value = ""; // The same file again is a change too.
      give(found, "Nothing was chosen.");
    });
  }
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, async (event) => {
      event.preventDefault();
      find("drop").classList.toggle("over", kind === "dragover");
      if (kind !== "drop") return;
      const hasFiles = [...event.dataTransfer.items].some((item) => item.kind === "file");
      const fault = hasFiles ? "There is no file in that folder." : `What was dropped ${NO_FILE}`;
      give(await filesOf(event.dataTransfer), fault);
    });
  }
  document.addEventListener("paste", ({ clipboardData }) => {
    give(named(clipboardData?.files ?? []), `What was pasted ${NO_FILE}`);
  });
}
