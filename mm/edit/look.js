// The slider between before and after, what stands behind it, and the map of the word that is pointed at.
const slider = document.querySelector(".slider"), range = slider.querySelector("input");
const cut = () => slider.style.setProperty("--cut", range.value + "%");
range.addEventListener("input", cut);
cut();
for (const choice of document.querySelectorAll("[name=after]"))
  choice.addEventListener("change", () => {
    for (const after of slider.querySelectorAll(".after")) after.hidden = after.dataset.after !== choice.value;
    slider.querySelector(".tag.right").textContent = choice.value;
  });
const maps = [...document.querySelectorAll(".stage [data-word]")], words = [...document.querySelectorAll("button[data-word]")];
function look(word) {
  for (const map of maps) map.hidden = map.dataset.word !== word;
  for (const button of words) button.setAttribute("aria-pressed", button.dataset.word === word);
}
for (const button of words)
  for (const event of ["pointerenter", "focus", "click"]) button.addEventListener(event, () => look(button.dataset.word));
