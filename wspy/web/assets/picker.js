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

// By keyboard: arrows go from point to point of a map, or move a stretch of a picture (with Shift they make it longer
// or shorter), and Enter takes what is marked.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP_S = 0.05;
const place = (dot) => [Number(dot.getAttribute("cx")), Number(dot.getAttribute("cy"))];

function walk(map, [x, y]) {
  const dots = [...map.querySelectorAll("circle:not(.dim)")];
  const here = map.querySelector("circle.at"), [fromX, fromY] = here ? place(here) : [500, 280];
  let best = null, least = Infinity;
  for (const dot of dots) {
    const [toX, toY] = place(dot), ahead = (toX - fromX) * x + (toY - fromY) * y;
    const aside = Math.abs((toX - fromX) * y) + Math.abs((toY - fromY) * x);
    if (dot === here || ahead <= 0.05 || aside > 2 * ahead) continue;
    if (ahead + 2 * aside < least) [best, least] = [dot, ahead + 2 * aside];
  }
  if (!best) return;
  here?.classList.remove("at");
  best.classList.add("at");
  map.parentElement.querySelector("output").textContent = best.textContent;
}

function stretch(picture, [x], longer) {
  const seconds = Number(picture.dataset.seconds), mark = picture.querySelector(".wspy-stretch");
  let start = mark.hidden ? 0 : parseFloat(mark.style.left) / 100 * seconds;
  let length = mark.hidden ? 0.2 : parseFloat(mark.style.width) / 100 * seconds;
  if (longer) length = Math.max(STEP_S, length + x * STEP_S);
  else if (!mark.hidden) start += x * STEP_S;
  length = Math.min(length, seconds);
  start = Math.min(Math.max(0, start), seconds - length);
  mark.style.left = 100 * start / seconds + "%";
  mark.style.width = 100 * length / seconds + "%";
  mark.hidden = false;
  picture.setAttribute("aria-valuetext", `${start.toFixed(2)} to ${(start + length).toFixed(2)} seconds`);
  return [start, start + length];
}

element.addEventListener("keydown", (event) => {
  const map = event.target.closest("svg[tabindex]"), picture = event.target.closest("[data-seconds]");
  const way = ARROWS[event.key];
  if (way && (map || (picture && way[0]))) {
    event.preventDefault();
    if (map) walk(map, way);
    else stretch(picture, way, event.shiftKey);
  } else if (event.key === "Enter" && map) {
    const dot = map.querySelector("circle.at");
    if (dot) trigger("select", { pick: dot.dataset.pick, start: null, stop: null });
  } else if (event.key === "Enter" && picture && !picture.querySelector(".wspy-stretch").hidden) {
    const [start, stop] = stretch(picture, [0], true);
    trigger("select", { pick: "", start, stop });
  }
});
