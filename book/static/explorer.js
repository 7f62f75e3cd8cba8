// A unit under ablation: controls, image, numbers. All of it lies in this page and in its sprites.
(() => {
  "use strict";
  const root = document.getElementById("explorer");
  if (!root) return;
  const worlds = JSON.parse(document.getElementById("explorer-data").textContent);
  const form = root.querySelector("form");
  const control = form.elements;
  const folder = new URL("explorer/", location.href.split("#")[0]).href;
  const PIXELS = "pixels, by gradient";
  const SVG = "http://www.w3.org/2000/svg";

  // ------------------------------------------------------------ what there is

  const sprites = {};
  function sprite(name) {
    if (!sprites[name]) {
      sprites[name] = new Image();
      sprites[name].src = folder + name;
    }
    return sprites[name];
  }

  const through = bank => bank.generator || PIXELS;
  const strength = ([sign, alpha]) =>
    ({positive: -alpha, none: 0, negative: alpha})[sign] ?? null; // null: a control
  for (const world of worlds) {
    for (const bank of world.banks) {
      bank.world = world;
      bank.places = bank.conditions
        .map((condition, column) => ({column, strength: strength(condition)}))
        .filter(place => place.strength !== null)
        .sort((a, b) => a.strength - b.strength);
    }
  }
  const nearest = (bank, wanted) => bank.places.reduce((best, place) =>
    Math.abs(place.strength - wanted) < Math.abs(best.strength - wanted) ? place : best);
  const atRandom = (bank, wanted) => bank.conditions.findIndex(([sign, alpha]) =>
    sign.startsWith("random") && wanted < 0 && Math.abs(alpha + wanted) < 1e-6);

  // ------------------------------------------------------------ where we are; a link carries it

  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const world = worlds.find(one => one.zoo === asked.get("world")) ?? worlds[0];
    const fits = name => asked.get("network") === name.network
      && (asked.get("generator") ?? name.generator) === name.generator;
    const bank = world.banks.find(fits)
      ?? world.banks.find(one => one.network === asked.get("network"))
      ?? world.banks[world.shown];
    const unit = Math.max(0, bank.units.indexOf(asked.get("unit")));
    return {bank, unit, place: nearest(bank, parseFloat(asked.get("strength")) || 0)};
  }

  function address(bank, unit, wanted) {
    return "#" + new URLSearchParams({
      world: bank.world.zoo, network: bank.network, generator: bank.generator,
      unit: bank.units[unit], strength: wanted,
    });
  }

  // ------------------------------------------------------------ words and pictures

  function words(wanted) {
    if (!wanted) return "intact";
    const sign = wanted < 0 ? "positive" : "negative";
    const share = Math.round(100 * Math.abs(wanted));
    return share === 100 ? `without its ${sign} inputs` : `without ${share} % of its ${sign} inputs`;
  }
  const told = value => {
    if (value === null || value === undefined) return "–";
    const text = Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);
    return text.includes("e") ? value.toFixed(3) : text.replace("-", "−");
  };

  let drawn = 0; // a picture that arrives late belongs to what is shown no more
  function draw(canvas, bank, unit, column, label) {
    const turn = drawn;
    canvas.setAttribute("aria-label", label);
    const picture = sprite(bank.sprite);
    const paint = () => {
      if (turn !== drawn) return;
      const pen = canvas.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.drawImage(picture, column * bank.cell, unit * bank.cell, bank.cell, bank.cell,
        0, 0, canvas.width, canvas.height);
      canvas.dataset.painted = `${bank.sprite} ${unit} ${column}`;
    };
    if (picture.complete && picture.naturalWidth) paint();
    else picture.addEventListener("load", paint, {once: true});
  }

  function course(values, at) { // a measure over all strengths, and where we are
    const known = values.filter(value => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const point = (value, index) => [
      4 + 112 * index / (values.length - 1),
      26 - 22 * (high > low ? (value - low) / (high - low) : 0.5)].map(n => n.toFixed(1));
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 120 30");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(SVG, "polyline");
    line.setAttribute("points", values.map((v, i) => point(v ?? low, i).join()).join(" "));
    const middle = document.createElementNS(SVG, "line");
    const dot = document.createElementNS(SVG, "circle");
    const [x, y] = point(values[at] ?? low, at);
    for (const [name, value] of [["x1", 60], ["x2", 60], ["y1", 1], ["y2", 29]]) {
      middle.setAttribute(name, value);
    }
    for (const [name, value] of [["cx", x], ["cy", y], ["r", 4]]) dot.setAttribute(name, value);
    svg.append(middle, line, dot);
    return svg;
  }

  function card(bank, unit, column, label, wanted) {
    const item = document.createElement("li");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 192;
    canvas.setAttribute("role", "img");
    draw(canvas, bank, unit, column, label);
    const text = document.createElement(wanted === null ? "span" : "a");
    if (wanted !== null) text.href = address(bank, unit, wanted);
    text.textContent = label;
    item.append(canvas, text);
    return item;
  }

  function beside({bank, unit, place}) {
    const cards = [];
    const name = bank.units[unit];
    const control = atRandom(bank, place.strength);
    if (control >= 0) {
      cards.push(card(bank, unit, control,
        "control: without as much weight of either sign, drawn at random", null));
    }
    for (const world of [bank.world, ...worlds.filter(one => one !== bank.world)]) {
      const same = world.banks.filter(one => one !== bank && one.units.includes(name));
      const others = same.length || world === bank.world ? same : [world.banks[world.shown]];
      for (const other of others) {
        const own = Math.max(0, other.units.indexOf(name));
        const there = nearest(other, place.strength);
        const where = world === bank.world ? `${other.network}, ${through(other)}`
          : `${world.name}: ${other.network}, ${other.units[own]}`;
        const label = there.strength === place.strength ? where
          : `${where}; ${words(there.strength)}`;
        cards.push(card(other, own, there.column, label, there.strength));
      }
    }
    root.querySelector(".beside").replaceChildren(...cards);
  }

  // ------------------------------------------------------------ the page

  function fill(select, rows, chosen) {
    const options = rows.map(([value, label]) => new Option(label, value));
    select.replaceChildren(...options);
    select.value = chosen;
  }

  function show(state, choices = true) {
    drawn += 1;
    const {bank, unit, place} = state;
    const own = bank.world.banks.filter(one => one.network === bank.network);
    const at = bank.places.indexOf(place);
    if (choices) {
      const networks = [...new Set(bank.world.banks.map(one => one.network))];
      fill(control.world, worlds.map(one => [one.zoo, one.name]), bank.world.zoo);
      fill(control.network, networks.map(one => [one, one]), bank.network);
      fill(control.generator, own.map(one => [one.generator, through(one)]), bank.generator);
      fill(control.unit, bank.units.map(one => [one, one]), bank.units[unit]);
      control.strength.max = bank.places.length - 1;
    }
    control.strength.value = at;
    control.strength.setAttribute("aria-valuetext", words(place.strength));
    const label = `Preferred image of unit ${bank.units[unit]} of ${bank.network}, `
      + words(place.strength);
    draw(root.querySelector(".stage canvas"), bank, unit, place.column, label);
    const caption = root.querySelector("figcaption");
    caption.textContent = `${bank.units[unit]}, ${bank.network}: ${words(place.strength)}`;
    for (const row of root.querySelectorAll("tr[data-measure]")) {
      const values = bank.measures[row.dataset.measure]?.[unit];
      row.hidden = !values || values.every(value => value === null);
      if (row.hidden) continue;
      const intact = bank.places.find(one => one.strength === 0).column;
      row.querySelector(".now").textContent = told(values[place.column]);
      row.querySelector(".intact").textContent = told(values[intact]);
      const course_ = course(bank.places.map(one => values[one.column]), at);
      row.querySelector(".course").replaceChildren(course_);
    }
    beside(state);
  }

  function chosen() { // what the controls say; what a new world or network lacks is its first
    const world = worlds.find(one => one.zoo === control.world.value);
    const of = world.banks.filter(one => one.network === control.network.value);
    const bank = of.find(one => one.generator === control.generator.value)
      ?? of[0] ?? world.banks[world.shown];
    return {bank, unit: Math.max(0, bank.units.indexOf(control.unit.value))};
  }

  form.addEventListener("input", event => { // while the slider moves, no step of the history
    if (event.target !== control.strength) return;
    const state = read();
    show({...state, place: state.bank.places[control.strength.value]}, false);
  });
  form.addEventListener("change", event => {
    const {bank: before, place} = read();
    const {bank, unit} = chosen();
    const wanted = event.target === control.strength
      ? before.places[control.strength.value].strength : place.strength;
    location.hash = address(bank, unit, nearest(bank, wanted).strength);
  });
  form.addEventListener("submit", event => event.preventDefault());
  addEventListener("hashchange", () => show(read()));
  document.getElementById("explorer-plain").open = false;
  root.hidden = false;
  show(read());
})();
