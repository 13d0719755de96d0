// Says why the page cannot begin, where its modules cannot: they are not loaded from files, nor do
// they run in browsers without what `data-needs` names.

{
  const needs = (document.currentScript.dataset.needs ?? "").split(" ").filter(Boolean);
  const say = (text) => {
    document.getElementById("status").textContent = text;
    document.getElementById("status").className = "fault";
  };
  if (location.protocol === "file:") {
    say("Opened as a file, this page cannot run: serve its folder, as by python -m http.server.");
  } else if (!needs.every((name) => name in globalThis)) {
    say("This browser is too old for this page: please update it.");
  }
}
