// What scrolls inside itself must be reachable with the keyboard.
function letFocus() {
  for (const box of document.querySelectorAll("article pre, .table-wrapper, div.math, .toc-scroll, .sidebar-scroll"))
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
}
for (const event of ["load", "resize", "toggle"]) window.addEventListener(event, letFocus, true);
