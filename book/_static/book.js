/* What a page does beyond the theme: figures open large, boxes that scroll can be reached by keyboard, moving pictures hold still where that is asked for. */
"use strict";

/* A figure opens with all its pixels. Escape or a click closes it, arrows turn to the next. Without this script its link leads to the file. */
function enlargeFigures() {
  const links = [...document.querySelectorAll("figure.drawn > a")];
  if (!links.length || !window.HTMLDialogElement) return;
  const box = document.createElement("dialog");
  box.className = "vvi-large";
  box.innerHTML = '<button type="button" aria-label="Close">✕</button><img alt=""><p></p>';
  document.body.append(box);
  const [close, picture, words] = box.children;
  let now = 0;
  const show = (position) => {
    now = (position + links.length) % links.length;
    const link = links[now], image = link.querySelector("img");
    picture.src = link.href;
    picture.alt = image.alt;
    words.textContent = link.parentElement.querySelector("figcaption").textContent.trim();
    box.setAttribute("aria-label", words.textContent);
    if (!box.open) box.showModal();
  };
  links.forEach((link, position) => link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(position);
  }));
  close.addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => {
    if (event.target === box || event.target === picture) box.close();
  });
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) show(now + step);
  });
  box.addEventListener("close", () => links[now].focus());
}

/* A box that scrolls sideways takes the focus, so that arrow keys move it; one that does not is passed over. */
function reachScrollBoxes() {
  const boxes = document.querySelectorAll("article pre, article .vvi-scroll, article .pst-scrollable-table-container, article div.math");
  for (const box of boxes) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

/* Nothing moves by itself where the reader's system asks for that: the still stays, and the controls play. */
function holdStill() {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const apply = () => {
    for (const film of document.querySelectorAll("video.vvi-film")) {
      if (still.matches) film.pause();
      else film.play().catch(() => {});
    }
  };
  still.addEventListener("change", apply);
  apply();
}

document.addEventListener("DOMContentLoaded", () => {
  enlargeFigures();
  reachScrollBoxes();
  holdStill();
});
window.addEventListener("load", reachScrollBoxes);
window.addEventListener("resize", reachScrollBoxes);
