// Shows the cards that fit all choices, each under the chosen recipe, and says how many these are.
const form = document.getElementById("filter"), cards = [...document.querySelectorAll("#pairs .edit")];
function apply() {
  const chosen = Object.fromEntries(new FormData(form));
  const words = (chosen.words || "").toLowerCase();
  let shown = 0;
  for (const card of cards) {
    let there = false;
    for (const take of card.querySelectorAll(".take")) {
      const wanted = chosen.recipe ? take.dataset.recipe === chosen.recipe : "best" in take.dataset;
      const fits = wanted && (!chosen.status || take.dataset.status.split(" ").includes(chosen.status));
      take.hidden = !fits;
      there ||= fits;
    }
    card.hidden = !(there && (!chosen.kind || card.dataset.kind === chosen.kind) && (!words || card.querySelector(".captions").textContent.toLowerCase().includes(words)));
    shown += !card.hidden;
  }
  document.getElementById("count").textContent = shown + " of " + cards.length + " pairs";
}
form.addEventListener("input", apply);
form.addEventListener("submit", event => event.preventDefault());
form.hidden = false;
apply();
