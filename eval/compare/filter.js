// Shows the cards that fit all choices, and says how many these are.
const form = document.getElementById("filter"), cards = [...document.querySelectorAll("#answers .item")];
function apply() {
  const chosen = Object.fromEntries(new FormData(form));
  const words = (chosen.words || "").toLowerCase();
  let shown = 0;
  for (const card of cards) {
    const runs = chosen.run === undefined || chosen.run === "any" ? Object.keys(card.dataset).filter(key => key.startsWith("status")) : ["status" + chosen.run];
    const fits = (!chosen.benchmark || card.dataset.benchmark === chosen.benchmark)
      && (!chosen.split || card.dataset.split === chosen.split)
      && (!chosen.status || (chosen.status === "maps" ? "maps" in card.dataset : runs.some(run => card.dataset[run].split(" ").includes(chosen.status))))
      && (!words || card.textContent.toLowerCase().includes(words));
    card.hidden = !fits;
    shown += fits;
  }
  document.getElementById("count").textContent = shown + " of " + cards.length + " shown answers";
}
form.addEventListener("input", apply);
form.addEventListener("submit", event => event.preventDefault());
form.hidden = false;
apply();
