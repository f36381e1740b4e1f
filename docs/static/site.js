// What scrolls inside itself must be reachable with the keyboard. The article grows when formulas are set and folds are opened.
function letFocus() {
  for (const box of document.querySelectorAll("article pre, .table-wrapper, .math, mjx-container, .toc-scroll, .sidebar-scroll")) {
    const { overflowX, overflowY } = getComputedStyle(box);
    if (overflowX === "auto" && box.scrollWidth > box.clientWidth || overflowY === "auto" && box.scrollHeight > box.clientHeight)
      box.tabIndex = 0;
  }
}

// A table that is wider than the page becomes a list (site.css), as does one of three columns on a phone: then no column is
// out of sight, and none has a word a row.
function stackTables() {
  const onPhone = matchMedia("(max-width: 46em)").matches;
  for (const table of document.querySelectorAll(".table-wrapper > table")) {
    table.classList.remove("stacked");
    const isWide = table.offsetWidth > table.parentElement.clientWidth;
    table.classList.toggle("stacked", isWide || onPhone && table.matches(":has(th:nth-child(3))"));
  }
}
for (const table of document.querySelectorAll(".table-wrapper > table")) {
  const columns = [...table.querySelectorAll("thead th")].map(th => th.textContent);
  for (const cell of table.querySelectorAll("tbody td")) cell.dataset.column = columns[cell.cellIndex];
}

// No row begins with the full stop of a formula, and none ends within a short piece of code such as `--out`.
for (const formula of document.querySelectorAll("article span.math")) {
  const next = formula.nextSibling;
  const punctuation = next?.nodeType === Node.TEXT_NODE ? next.data.match(/^[.,;:!?)’]+/)?.[0] : "";
  if (!punctuation) continue;
  next.data = next.data.slice(punctuation.length);
  formula.append(punctuation);
  formula.classList.add("unbroken");
}
for (const word of document.querySelectorAll("article code > .pre"))
  word.classList.toggle("unbroken", word.textContent.length <= 20);

// What was printed in columns keeps them, and scrolls where it is too wide; sentences wrap.
for (const printed of document.querySelectorAll(".cell_output pre"))
  printed.classList.toggle("columns", /\S {2,}\S/.test(printed.textContent));

let lastWidth = 0; // the article's height changes when tables are stacked: only its width says that they must be looked at again
function fit() {
  if (innerWidth !== lastWidth) stackTables();
  lastWidth = innerWidth;
  letFocus();
}
window.addEventListener("load", () => new ResizeObserver(fit).observe(document.querySelector("article")));
window.addEventListener("resize", fit);

// The search leads to a fold by its address, and names the words that Sphinx's own script then marks.
function openFold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target?.matches("details.fold")) return;
  target.open = true;
  target.scrollIntoView();
}
window.addEventListener("load", openFold);
window.addEventListener("hashchange", openFold);
const words = new URLSearchParams(location.search).getAll("highlight");
if (words.length) localStorage.setItem("sphinx_highlight_terms", words.join(" "));
