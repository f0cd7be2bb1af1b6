// What can be picked inside one gr.HTML: anything with `data-pick`, and stretches of a picture with `data-seconds`.
element.addEventListener("click", (event) => {
  const target = event.target.closest("[data-pick]");
  if (target) trigger("select", { pick: target.dataset.pick, start: null, stop: null });
});

let drag = null;
const at = (event) => {
  const box = drag.picture.getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
};
const show = (to) => {
  drag.mark.style.left = 100 * Math.min(drag.from, to) + "%";
  drag.mark.style.width = 100 * Math.abs(to - drag.from) + "%";
  drag.mark.hidden = false;
};
element.addEventListener("pointerdown", (event) => {
  const picture = event.target.closest("[data-seconds]");
  if (!picture || event.button !== 0) return;
  event.preventDefault();
  drag = { picture, mark: picture.querySelector(".wspy-stretch"), from: 0 };
  drag.from = at(event);
  picture.setPointerCapture(event.pointerId);
});
element.addEventListener("pointermove", (event) => { if (drag) show(at(event)); });
element.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const seconds = Number(drag.picture.dataset.seconds), to = at(event);
  const start = Math.min(drag.from, to) * seconds, stop = Math.max(drag.from, to) * seconds;
  drag = null;
  if (stop - start >= 0.04) trigger("select", { pick: "", start, stop });
});
