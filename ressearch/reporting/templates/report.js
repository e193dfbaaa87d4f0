// Hover tells which network a point is; a click marks it in every figure and table, and copies its name.
// Tables sort by a click on a column's head, and filter by what is typed. Without scripts everything else stands.
(() => {
  const networks = JSON.parse(document.getElementById("networks").textContent);
  const tip = document.getElementById("tip");
  const near = (event) => event.target.closest && event.target.closest("[data-n]");
  const show = (event) => {
    const at = near(event);
    const told = at && networks[at.dataset.n];
    tip.hidden = !told;
    if (!told) return;
    tip.innerHTML = "<b></b><br><span></span><br><i>click: mark it everywhere and copy its name</i>";
    tip.querySelector("b").textContent = told[0];
    tip.querySelector("span").textContent = told[1];
    const x = Math.max(4, Math.min(event.pageX + 14, scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8));
    tip.style.left = x + "px";
    tip.style.top = event.pageY + 16 + "px";
  };
  addEventListener("mouseover", show);
  addEventListener("click", (event) => {
    const at = near(event);
    if (!at || !at.dataset.n) return;
    const on = !at.classList.contains("on");
    for (const one of document.querySelectorAll("[data-n].on")) one.classList.remove("on");
    if (on) {
      for (const one of document.querySelectorAll(`[data-n="${at.dataset.n}"]`)) one.classList.add("on");
      const told = networks[at.dataset.n];
      if (told && navigator.clipboard) navigator.clipboard.writeText(told[0]).catch(() => {});
    }
    show(event);
  });
  const value = (row, at) => {
    const text = row.cells[at].textContent.trim();
    const number = parseFloat(text);
    const scale = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[text.slice(-1)] || 1;
    return /^[-+]?[\d.]+[kMGT]?$/.test(text) ? number * scale : text;
  };
  // A slider over the budgets of a table, the least first: it says the row that holds for the budget chosen.
  const slide = (table, rows) => {
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const box = document.createElement("div");
    box.className = "slider";
    box.innerHTML = '<label>budget <input type="range" min="0"></label> <output></output>';
    const [range, told] = [box.querySelector("input"), box.querySelector("output")];
    range.max = rows.length - 1;
    range.value = rows.length - 1;
    const say = () => {
      for (const row of rows) row.classList.toggle("chosen", row === rows[range.value]);
      const text = [...rows[range.value].cells].map((cell) => cell.textContent.trim());
      const of = (head) => text[heads.indexOf(head)];
      told.innerHTML = "<b></b><span></span>";
      told.querySelector("b").textContent = `${of("name")}`;
      told.querySelector("span").textContent =
        `: accuracy ${of("accuracy")} with ${text[0]} ${heads[0]}; the best of ${of("of networks")} with ` +
        `probability ${of("probability")}, ${of("tied")} tied`;
      range.setAttribute("aria-valuetext", told.textContent);
    };
    range.addEventListener("input", say);
    table.parentElement.before(box);
    say();
  };
  const isUnknown = (one) => one === "–" || one === "";
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      head.tabIndex = 0;
      const sort = () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => {
          const [x, y] = [value(a, at), value(b, at)];
          if (isUnknown(x) || isUnknown(y)) return isUnknown(x) - isUnknown(y); // last, either way
          const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
          return down ? -order : order;
        });
        body.append(...rows);
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
    if (table.id === "table-budgets") slide(table, [...body.rows]);
    if (body.rows.length < 8) continue;
    const filter = document.createElement("input");
    filter.type = "search";
    filter.placeholder = "filter the rows";
    filter.setAttribute("aria-label", "filter the rows");
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/);
      for (const row of body.rows) {
        const text = [...row.cells].map((cell) => cell.textContent).join("\n").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    table.parentElement.before(filter);
  }
})();
