// What the theme and the widgets leave undone for readers who use a keyboard or a screen reader.

// Sliders carry their description as their name.
function nameSliders(root) {
  for (const handle of root.querySelectorAll('[role="slider"]:not([aria-label])')) {
    const widget = handle.closest(".widget-inline-hbox");
    const label = widget && widget.querySelector(".widget-label");
    if (label && label.textContent.trim()) {
      handle.setAttribute("aria-label", label.textContent.trim());
      const readout = widget.querySelector(".widget-readout");
      const tell = () => handle.setAttribute("aria-valuetext", readout.textContent.trim());
      if (readout) {
        tell();
        new MutationObserver(tell).observe(readout, { childList: true, characterData: true, subtree: true });
      }
    }
  }
}

// A formula in a line cannot be broken: one wider than its line scrolls, and the page does not.
function boundFormulas(root) {
  for (const formula of root.querySelectorAll("mjx-container:not([display=true])")) {
    formula.classList.remove("wide-formula");
    const line = formula.parentElement.closest("p, li, dd, dt, td, th, h1, h2, h3, div");
    formula.classList.toggle("wide-formula", line && formula.getBoundingClientRect().width > line.clientWidth);
  }
}

// A region that scrolls must be reachable by keyboard.
function focusScrollers(root) {
  const scrollers = root.querySelectorAll(
    "pre, mjx-container[display=true], .wide-formula, div.math, div.output, .widget-subarea");
  for (const element of scrollers) {
    const overflow = getComputedStyle(element).overflowX;
    if (element.scrollWidth > element.clientWidth && (overflow === "auto" || overflow === "scroll")) {
      element.tabIndex = 0;
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const article = document.querySelector(".bd-article") || document.body;
  const visit = () => { nameSliders(article); boundFormulas(article); focusScrollers(article); };
  new MutationObserver(visit).observe(article, { childList: true, subtree: true });
  addEventListener("load", visit);
  addEventListener("resize", visit);
  visit();
});
