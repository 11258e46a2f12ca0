// Names the trial or member nearest to the pointer and lights it up in every figure. The page is complete without it.
(() => {
  "use strict";
  const REACH = 28; // pixels of the drawing within which a mark counts as pointed at
  const tips = JSON.parse(document.getElementById("trials").textContent);
  const marks = new Map();
  for (const mark of document.querySelectorAll("[data-trial]")) {
    const trial = mark.dataset.trial;
    if (!marks.has(trial)) marks.set(trial, []);
    marks.get(trial).push(mark);
  }
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  let lit = null;

  function light(trial) {
    if (trial === lit) return;
    for (const mark of marks.get(lit) || []) mark.classList.remove("lit");
    for (const mark of marks.get(trial) || []) mark.classList.add("lit");
    lit = trial;
  }
  function show(trial, event) {
    light(trial);
    tip.hidden = trial === null || !(trial in tips);
    if (tip.hidden) return;
    tip.textContent = tips[trial];
    const box = tip.getBoundingClientRect();
    const right = event.clientX + 16 + box.width > innerWidth;
    const below = event.clientY + 16 + box.height > innerHeight;
    tip.style.left = Math.max(4, right ? event.clientX - box.width - 12 : event.clientX + 16) + "px";
    tip.style.top = Math.max(4, below ? event.clientY - box.height - 12 : event.clientY + 16) + "px";
  }
  function toSegment(x, y, a, b) {
    const dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
    const t = length ? Math.min(1, Math.max(0, ((x - a.x) * dx + (y - a.y) * dy) / length)) : 0;
    return Math.hypot(x - a.x - t * dx, y - a.y - t * dy);
  }
  function distance(mark, x, y) {
    if (mark.tagName === "circle") {
      return Math.hypot(mark.cx.baseVal.value - x, mark.cy.baseVal.value - y);
    }
    const points = mark.points;
    let least = Infinity;
    for (let i = 1; i < points.numberOfItems; i++) {
      least = Math.min(least, toSegment(x, y, points.getItem(i - 1), points.getItem(i)));
    }
    return least;
  }
  for (const figure of document.querySelectorAll("svg.near")) {
    const own = [...figure.querySelectorAll("[data-trial]")];
    const point = (event) => {
      if (!own.length) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(own[0].getScreenCTM().inverse());
      let least = REACH, nearest = null;
      for (const mark of own) {
        const d = distance(mark, at.x, at.y);
        if (d < least) { least = d; nearest = mark.dataset.trial; }
      }
      show(nearest, event);
    };
    figure.addEventListener("pointermove", point);
    figure.addEventListener("pointerdown", point);
    figure.addEventListener("pointerleave", (event) => show(null, event));
  }
  for (const row of document.querySelectorAll(".boardrow[data-trial], .dotrow[data-trial]")) {
    row.addEventListener("pointerenter", () => light(row.dataset.trial));
    row.addEventListener("pointerleave", () => light(null));
  }
})();
