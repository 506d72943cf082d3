"use strict";
// Pointing at a region or at its words lights both up; a click keeps them lit.
document.querySelectorAll(".card, .split").forEach((card) => {
  let kept = null;
  const light = (number) => {
    card.classList.toggle("lit", number !== null);
    card.querySelectorAll("[data-r]").forEach((each) => each.classList.toggle("on", each.dataset.r === number));
  };
  const numberOf = (event) => event.target.closest("[data-r]")?.dataset.r ?? null;
  card.addEventListener("mouseover", (event) => light(numberOf(event) ?? kept));
  card.addEventListener("mouseleave", () => light(kept));
  card.addEventListener("click", (event) => {
    const number = numberOf(event);
    kept = number === kept ? null : number;
    light(kept);
  });
});
const filters = document.getElementById("filters");
if (filters && !("served" in filters.dataset)) {
  const cards = [...document.querySelectorAll(".card")];
  const apply = () => {
    const wanted = Object.fromEntries(new FormData(filters));
    const text = wanted.text.toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const { kinds, classes, length, text: words } = card.dataset;
      const fits =
        words.includes(text) &&
        (!wanted.class || classes.split("\n").includes(wanted.class)) &&
        (!wanted.fault ||
          (wanted.fault === "*" ? kinds !== "" : wanted.fault === "-" ? kinds === "" : kinds.split(" ").includes(wanted.fault))) &&
        Number(length) >= Number(wanted.least || 0) &&
        Number(length) <= Number(wanted.most || Infinity);
      card.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").textContent = `${shown} shown`;
    document.getElementById("empty").hidden = shown > 0;
  };
  filters.addEventListener("input", apply);
  filters.addEventListener("submit", (event) => event.preventDefault());
  apply();
}
