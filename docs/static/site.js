// What scrolls inside itself must be reachable with the keyboard.
function letFocus() {
  for (const box of document.querySelectorAll("article pre, .table-wrapper, div.math, .toc-scroll, .sidebar-scroll"))
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
}
for (const event of ["load", "resize", "toggle"]) window.addEventListener(event, letFocus, true);

// What the search has found may lie in a fold. Sphinx marks it a moment after the page is there.
window.addEventListener("load", () => setTimeout(() => {
  for (const found of document.querySelectorAll("details.fold .highlighted")) found.closest("details").open = true;
}, 100));
