// Sorts the table by the column whose head is clicked: up, then down, then as it was.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], first = [...body.rows];
  heads.forEach((head, at) => head.firstElementChild.addEventListener("click", () => {
    const was = head.getAttribute("aria-sort");
    heads.forEach(h => h.removeAttribute("aria-sort"));
    if (was === "descending") return body.append(...first);
    const sign = was ? -1 : 1, number = head.classList.contains("n");
    head.setAttribute("aria-sort", was ? "descending" : "ascending");
    const rows = first.map(row => {
      const cell = row.cells[at], text = cell.textContent;
      return {row, empty: cell.classList.contains("z"), key: number ? Number(text) : text};
    });
    rows.sort((a, b) => {
      if (a.empty || b.empty) return a.empty - b.empty;
      if (number && (a.key !== a.key || b.key !== b.key)) return sign * ((a.key !== a.key) - (b.key !== b.key));
      return sign * (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
    });
    body.append(...rows.map(r => r.row));
  }));
}
