// What scrolls inside itself must be reachable with the keyboard. The article grows when formulas are set and folds are opened.
function letFocus() {
  for (const box of document.querySelectorAll("article pre, .table-wrapper, .math, mjx-container, .toc-scroll, .sidebar-scroll")) {
    const { overflowX, overflowY } = getComputedStyle(box);
    if (overflowX === "auto" && box.scrollWidth > box.clientWidth || overflowY === "auto" && box.scrollHeight > box.clientHeight)
      box.tabIndex = 0;
  }
}
window.addEventListener("load", () => new ResizeObserver(letFocus).observe(document.querySelector("article")));
window.addEventListener("resize", letFocus);

// What the search has found may lie in a fold. Sphinx marks it a moment after the page is there.
window.addEventListener("load", () => setTimeout(() => {
  for (const found of document.querySelectorAll("details.fold .highlighted")) found.closest("details").open = true;
}, 100));
