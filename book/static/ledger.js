// Search, filters and order of the ledger. It reads the page's own tables and asks for nothing.
(() => {
  "use strict";
  const root = document.getElementById("ledger-of-all");
  if (!root) return;
  const form = root.querySelector("form.ledger-tools");
  const said = form.querySelector("output");
  const flat = root.querySelector("section.flat");
  const sections = [...root.querySelectorAll("section.claims")];
  const stories = [...root.querySelectorAll("details.story")];
  const claims = [...root.querySelectorAll("details.claim")];
  const MOST_OPENED = 40; // lines that a search unfolds by itself
  const FAILED = ["reversed", "absent", "differs"];
  const filters = ["verdict", "world", "chapter", "role"];

  const lines = claims.flatMap(claim => {
    const body = claim.querySelector("tbody");
    const words = claim.querySelector(".words").textContent;
    return [...body.rows].map((row, place) => ({
      row, body, place, claim, text: (words + " " + row.textContent).toLowerCase(),
    }));
  });

  const table = document.createElement("table");
  table.className = "lines";
  table.append(claims[0].querySelector("thead").cloneNode(true), document.createElement("tbody"));
  flat.append(table);

  // Larger effects and samples first, smaller p first; what has no number comes last.
  const rank = (one, key) => {
    const value = parseFloat(one.row.dataset[key]);
    if (Number.isNaN(value)) return Infinity;
    return key === "p" ? value : -value;
  };
  const orders = [...form.elements.verdict.options].map(option => option.value);
  const compared = key => (a, b) =>
    key === "verdict"
      ? orders.indexOf(a.row.dataset.verdict) - orders.indexOf(b.row.dataset.verdict)
      : rank(a, key) - rank(b, key);

  function update() {
    const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.filter(name => form.elements[name].value);
    const shown = lines.filter(one => {
      const fits = wanted.every(name => {
        const [asked, own] = [form.elements[name].value, one.row.dataset[name]];
        return asked === "failed" ? FAILED.includes(own) : asked === own;
      })
        && words.every(word => one.text.includes(word));
      one.row.hidden = !fits;
      return fits;
    });
    const sort = form.elements.sort.value;
    const narrowed = words.length + wanted.length > 0;
    flat.hidden = !sort;
    for (const section of sections) section.hidden = Boolean(sort);
    if (sort) {
      table.tBodies[0].append(...[...lines].sort(compared(sort)).map(one => one.row));
    } else {
      for (const one of lines) one.body.append(one.row);
    }
    let rows = 0;
    for (const claim of claims) {
      const own = shown.filter(one => one.claim === claim).length;
      const all = lines.filter(one => one.claim === claim).length;
      claim.hidden = own === 0;
      claim.querySelector(".count").textContent = own === all ? all : `${own} of ${all}`;
      if (narrowed) claim.open = own > 0 && shown.length <= MOST_OPENED;
      rows += own > 0;
    }
    for (const section of sections) {
      if (!sort) section.hidden = !section.querySelector("details.claim:not([hidden])");
    }
    if (narrowed) for (const story of stories) story.open = true;
    said.textContent = `${shown.length} of ${lines.length} lines in ${rows} rows`;
  }

  function obey() { // a link may carry filters, as #verdict=failed, or name a claim
    if (!location.hash.includes("=")) return unfold();
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      if (form.elements[name]) form.elements[name].value = value;
    }
    update();
    root.scrollIntoView();
  }

  function unfold() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    for (let one = target; one; one = one.parentElement) {
      if (one.tagName === "DETAILS") one.open = true;
    }
    if (target) target.scrollIntoView();
  }

  for (const story of stories.slice(1)) story.open = false;  // so that three screens hold all
  form.hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    for (const claim of claims) claim.open = false;
    for (const story of stories) story.open = true;
    update();
  }));
  addEventListener("hashchange", obey);
  update();
  obey();
})();
