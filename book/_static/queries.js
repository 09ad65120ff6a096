/* The query browser: ranked lists of stored runs, one query at a time. Nothing is fetched from elsewhere; each method's lists are loaded when it is chosen. */
"use strict";

(() => {
  /* Where the lists lie: the built page says so. One that was built for print says nothing, and keeps its picture. */
  let folder = "";
  const WORDS = { vis: "visible", ir: "infrared" };
  const SEARCHES = { ir2vis: "infrared query, visible gallery", vis2ir: "visible query, infrared gallery" };
  const loaded = {}, waiting = {};

  /* A script of data calls this with its name and content. */
  window.vviQueries = (name, content) => {
    loaded[name] = content;
    (waiting[name] || []).forEach((done) => done(content));
  };

  const load = (name) => new Promise((done, failed) => {
    if (loaded[name]) return done(loaded[name]);
    if (waiting[name]) return waiting[name].push(done);
    waiting[name] = [done];
    const script = document.createElement("script");
    script.src = `${folder}${name}.js`;
    script.onerror = () => failed(new Error(`${script.src} cannot be read`));
    document.head.append(script);
  });

  const make = (tag, text = "", properties = {}) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.textContent = text;
    return element;
  };

  class Browser {
    constructor(box, people) {
      this.box = box;
      this.people = people;
      this.cells = {};
      for (const [modality, side] of Object.entries(people.sides)) {
        const cells = new Map();
        side.identity.forEach((identity, row) => {
          const key = `${identity}-${side.camera[row]}`;
          if (!cells.has(key)) cells.set(key, cells.size);
        });
        this.cells[modality] = cells;
      }
      this.row = null;
      this.build();
      this.change();
    }

    /* Controls are the browser's own, so that keyboards and screen readers know them. */
    build() {
      const { methods } = this.people;
      const options = (pairs) => pairs.map(([value, text]) => make("option", text, { value }));
      this.method = make("select");
      this.method.append(...options(Object.entries(methods).map(([name, { title }]) => [name, title])));
      this.seed = make("select");
      this.direction = make("select");
      this.direction.append(...options(Object.entries(SEARCHES)));
      this.position = make("input", "", { type: "range", min: 1, value: 1 });
      this.previous = make("button", "◀ easier", { type: "button" });
      this.next = make("button", "harder ▶", { type: "button" });
      const labelled = (text, control) => {
        const label = make("label", text);
        label.append(control);
        return label;
      };
      const controls = make("div", "", { className: "vvi-controls" });
      controls.append(
        labelled("method", this.method), labelled("seed", this.seed), labelled("search", this.direction),
        labelled("query, from best found to worst", this.position), this.previous, this.next,
      );
      this.note = make("p", "", { className: "vvi-note" });
      this.note.setAttribute("aria-live", "polite");
      this.list = make("ol", "", { className: "vvi-ranked" });
      this.facts = make("div", "", { className: "vvi-scroll" });
      this.box.replaceChildren(controls, this.note, this.list, this.facts);
      this.method.addEventListener("change", () => this.change());
      this.seed.addEventListener("change", () => this.change());
      this.direction.addEventListener("change", () => { this.row = null; this.change(); });
      this.position.addEventListener("input", () => this.move(0));
      this.previous.addEventListener("click", () => this.move(-1));
      this.next.addEventListener("click", () => this.move(1));
    }

    /* Another run: the query stays, though it may stand elsewhere in the order. */
    async change() {
      const chosen = this.method.value, { seeds } = this.people.methods[chosen];
      const before = this.seed.value;
      this.seed.replaceChildren(...seeds.map((seed) => make("option", seed, { value: seed })));
      if (seeds.map(String).includes(before)) this.seed.value = before;
      let lists;
      try {
        lists = await load(chosen);
      } catch (error) {
        this.note.textContent = error.message;
        return;
      }
      if (this.method.value !== chosen) return;
      const side = lists[this.direction.value];
      this.rows = side.rows;
      this.run = side.seeds[this.seed.value];
      const rank = (n) => this.run.hit[n] > 0 ? this.run.hit[n] : Infinity;
      this.order = [...this.rows.keys()].sort((a, b) => rank(a) - rank(b) || a - b);
      this.position.max = this.order.length;
      const at = this.order.indexOf(this.rows.indexOf(this.row));
      this.position.value = at < 0 ? Math.ceil(this.order.length / 2) : at + 1;
      this.draw();
    }

    move(step) {
      if (step) this.position.value = Number(this.position.value) + step;
      this.draw();
    }

    draw() {
      const position = Number(this.position.value), n = this.order[position - 1];
      const [asks, holds] = this.direction.value.split("2");
      this.row = this.rows[n];
      const query = this.tracklet(asks, this.row);
      const hit = this.run.hit[n];
      const where = hit > 0 ? `its first right item stands at rank ${hit}` : "it has no right item in the gallery";
      this.position.setAttribute("aria-valuetext", `query ${position} of ${this.order.length}, identity ${query.identity}`);
      this.note.textContent = `Query ${position} of ${this.order.length}: identity ${query.identity}, ${where}; average precision ${this.run.ap[n]} %. `
        + `Run ${this.run.run}, whose rank-1 over all queries is ${this.run.rank1} %.`;
      const top = (this.run.top ? this.run.top[n] : []).filter((row) => row >= 0).map((row) => this.tracklet(holds, row));
      const verdicts = top.map((item) => this.verdict(query, item));
      if (!this.run.top) this.note.textContent += " Records keep ranked lists of seed 0 alone.";
      this.list.replaceChildren(
        this.card(query, "query", "query"),
        ...top.map((item, rank) => this.card(item, verdicts[rank], `${rank + 1} ${verdicts[rank]}`)),
      );
      this.facts.replaceChildren(this.table(query, top, verdicts));
      this.facts.tabIndex = this.facts.scrollWidth > this.facts.clientWidth + 1 ? 0 : -1;
    }

    tracklet(modality, row) {
      const side = this.people.sides[modality];
      return { modality, identity: side.identity[row], camera: side.camera[row] };
    }

    verdict(query, item) {
      if (query.identity === item.identity) return "right";
      const { groups } = this.people;
      const group = groups[query.identity];
      return group >= 0 && group === groups[item.identity] ? "look-alike" : "wrong";
    }

    card(item, kind, words) {
      const { sheet } = this.people;
      const cell = this.cells[item.modality].get(`${item.identity}-${item.camera}`);
      const picture = make("span", "", { className: "vvi-thumbnail" });
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", `identity ${item.identity}, ${WORDS[item.modality]} camera ${item.camera}`);
      picture.style.cssText = `width:${sheet.width}px;height:${sheet.height}px;`
        + `background-image:url("${folder}${item.modality}.webp");`
        + `background-position:-${(cell % sheet.columns) * sheet.width}px -${Math.floor(cell / sheet.columns) * sheet.height}px`;
      const card = make("li", "", { className: `vvi-item vvi-${kind}` });
      card.dataset.identity = item.identity;
      card.append(picture, make("strong", words), make("span", `id ${item.identity}, camera ${item.camera}`));
      return card;
    }

    /* What is known of the people; bold where it is as in the query. */
    table(query, top, verdicts) {
      const table = make("table", "", { className: "vvi-table" });
      table.append(make("caption", "What is known of these people; bold: as in the query."));
      const head = table.createTHead().insertRow();
      const cell = (row, tag, text, side) => row.appendChild(make(tag, text, { className: side }));
      cell(head, "th", "", "l");
      cell(head, "th", "query", "l");
      top.forEach((_, rank) => cell(head, "th", `${rank + 1} ${verdicts[rank]}`, "l"));
      const body = table.createTBody();
      this.people.names.forEach((name, factor) => {
        const row = body.insertRow();
        const of = (item) => this.people.factors[item.identity][factor];
        cell(row, "th", name, "l");
        cell(row, "td", of(query), "l");
        for (const item of top) {
          const shared = of(item) === of(query) && of(item) !== "–";
          const box = cell(row, "td", "", "l");
          box.append(make(shared ? "b" : "span", of(item)));
        }
      });
      return table;
    }
  }

  document.addEventListener("DOMContentLoaded", async () => {
    const box = document.getElementById("vvi-queries");
    if (!box || !box.dataset.lists) return;
    folder = box.dataset.lists;
    try {
      new Browser(box, await load("people"));
    } catch (error) {
      box.prepend(make("p", `${error.message}: the picture below stands in its place.`));
    }
  });
})();
