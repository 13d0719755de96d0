// The models to choose from.

import { find, make } from "./dom.js";

/** Lists models; `choose` receives the one that a visitor takes. */
export function listModels(models, choose) {
  for (const model of models) {
    const input = make("input", { type: "radio", name: "model", value: model.name });
    input.addEventListener("change", () => choose(model));
    const parts = ["title", "note", "summary"].map((part) =>
      make("span", { className: part, textContent: model[part] }),
    );
    find("model-list").append(make("label", { className: "model" }, input, ...parts));
  }
  find("models").classList.toggle("only", models.length === 1);
  // On a phone the list is folded up: what is chosen stands in its head.
  const isWide = matchMedia("(min-width: 56.01rem)");
  const fold = () => {
    find("models").open = isWide.matches || models.length === 1;
  };
  isWide.addEventListener("change", fold);
  fold();
}

/** Marks a model as the chosen one. */
export function markModel(model) {
  find("model-list").querySelector(`[value="${CSS.escape(model.name)}"]`).checked = true;
  find("chosen").textContent = model.title;
}
