// What a page does beyond the theme: one button for all folded code, tables that stack on a phone,
// and scrolling parts that a keyboard can reach.
document.addEventListener("DOMContentLoaded", () => {
  const folded = document.querySelectorAll("div.cell details.hide");
  const bar = document.querySelector(".article-header-buttons");
  if (folded.length && bar) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm toggle-code";
    button.innerHTML = '<span class="btn__icon-container"><i class="fas fa-code"></i></span>';
    const show = open => {
      for (const details of folded) details.open = open;
      const words = open ? "Hide all code" : "Show all code";
      button.setAttribute("aria-label", words);
      button.setAttribute("aria-pressed", String(open));
      button.title = words;
    };
    button.addEventListener("click", () => show(button.getAttribute("aria-pressed") !== "true"));
    show(false);
    bar.prepend(button);
  }

  for (const table of document.querySelectorAll(".pst-scrollable-table-container table")) {
    const titles = [...(table.tHead?.rows[0].cells ?? [])].map(cell => cell.textContent.trim());
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((cell, i) => { cell.dataset.title = titles[i] ?? ""; });
    }
    table.classList.add("stacking");
  }

  const scrolling = ".bd-article pre, .bd-article .drawing, .bd-article .cell_output, "
    + ".bd-article .pst-scrollable-table-container, .bd-article .math, "
    + ".bd-article mjx-container[display]";
  const more = part => {
    const left = part.scrollWidth - part.clientWidth - part.scrollLeft;
    part.classList.toggle("more-right", left > 1);
  };
  const reach = () => {
    for (const part of document.querySelectorAll(scrolling)) {
      const scrolls = part.scrollWidth > part.clientWidth;
      part.classList.toggle("scrolls", scrolls);
      if (scrolls) part.tabIndex = 0;
      more(part);
    }
  };
  document.addEventListener("scroll", event => {
    if (event.target.classList?.contains("scrolls")) more(event.target);
  }, {capture: true, passive: true});
  reach();
  window.addEventListener("load", reach);
  window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(reach));
  window.addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
});
