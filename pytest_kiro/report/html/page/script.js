"use strict";
// What scripts add to a page that is whole without them: search, filters, order, one trial at a time, its terminal.
// All of it stands in the fragment of the address, so that a link leads to it. Text of agents goes through textContent.
(() => {
  const $ = (css, root = document) => root.querySelector(css);
  const $$ = (css, root = document) => [...root.querySelectorAll(css)];
  const evals = $$(".eval");
  const view = $("#view");
  const SELECTS = ["model", "prompt", "cause", "sort"];
  let players = {}; // by trial and turn, of the trials that are shown

  // -- the address

  function read() {
    const state = {};
    for (const part of location.hash.slice(1).split("&")) {
      const [key, ...value] = part.split("=");
      if (value.length) {
        try { state[key] = decodeURIComponent(value.join("=")); } catch { state[key] = value.join("="); }
      }
    }
    return state;
  }

  function written(state) {
    const kept = Object.entries(state).filter(([, value]) => value);
    // A slash is fine in a fragment, and a link without %2F can be read.
    return "#" + kept.map(([key, value]) => `${key}=${encodeURIComponent(value).replaceAll("%2F", "/").replaceAll("%2C", ",")}`).join("&");
  }

  function go(changes, { replace = false } = {}) {
    const hash = written({ ...read(), ...changes });
    if (replace) history.replaceState(null, "", hash);
    else if (hash !== location.hash) history.pushState(null, "", hash);
    show();
  }

  // -- the list: filters, search, order

  const listOf = (element, name) => JSON.parse(element.dataset[name]);
  const known = new Map(evals.map((one, place) => [one, {
    place, id: one.dataset.id, flags: one.dataset.flags.split(" "), models: listOf(one, "models"),
    prompts: one.dataset.prompts.split(" "), causes: listOf(one, "causes"), text: one.dataset.search,
  }]));

  function fits(one, state) {
    const facts = known.get(one);
    const only = (state.only || "").split(",").filter(Boolean);
    const words = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean);
    return (!only.length || only.some((flag) => facts.flags.includes(flag)))
      && (!state.model || facts.models.includes(state.model))
      && (!state.prompt || facts.prompts.includes(state.prompt))
      && (!state.cause || facts.causes.includes(state.cause))
      && words.every((word) => facts.text.includes(word));
  }

  const ORDERS = {
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
    rate: (a, b) => a.dataset.rate - b.dataset.rate,
    seconds: (a, b) => b.dataset.seconds - a.dataset.seconds,
    credits: (a, b) => b.dataset.credits - a.dataset.credits,
    calls: (a, b) => b.dataset.calls - a.dataset.calls,
  };
  let sorted = "";

  function showList(state) {
    let count = 0;
    for (const one of evals) {
      one.hidden = !fits(one, state);
      count += !one.hidden;
    }
    const order = ORDERS[state.sort] ? state.sort : "";
    if (order !== sorted) {
      const ordered = [...evals].sort((a, b) => (order ? ORDERS[order](a, b) : 0) || known.get(a).place - known.get(b).place);
      $(".evals").append(...ordered);
      sorted = order;
    }
    $(".count").textContent = count === evals.length ? `${count}` : `${count} of ${evals.length}`;
    $(".nothing").hidden = count > 0 || !evals.length;
    const only = (state.only || "").split(",");
    for (const chip of $$(".chip[data-only]")) chip.setAttribute("aria-pressed", only.includes(chip.dataset.only));
    for (const name of SELECTS) {
      const select = $(`select[data-select="${name}"]`);
      if (select) select.value = state[name] || "";
    }
    const search = $("#q");
    if (document.activeElement !== search) search.value = state.q || "";
    const filtered = ["q", "only", "model", "prompt", "cause"].some((key) => state[key]);
    for (const clear of $$(".filters .clear")) clear.hidden = !filtered;
  }

  function toggle(flag) {
    const only = new Set((read().only || "").split(",").filter(Boolean));
    if (!only.delete(flag)) only.add(flag);
    go({ only: [...only].join(",") });
  }

  // -- what is packed

  const parts = new Map(); // by the element that holds it: trials of one eval are packed together

  async function unpacked(id) {
    const holders = $$(`script[data-packed~="${CSS.escape(id)}"]`);
    for (const holder of holders) if (!parts.has(holder)) parts.set(holder, unpack(holder.textContent));
    const found = await Promise.all(holders.map((holder) => parts.get(holder)));
    return Object.assign({}, ...found.map((part) => part[id]));
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  async function article(id) {
    let found = document.getElementById(`t=${id}`);
    if (found?.matches("article")) found = found.cloneNode(true);
    else {
      // The same template has made it as what stands in the page, so everything in it is escaped; a parser runs nothing.
      const html = (await unpacked(id)).html;
      found = html ? document.importNode(new DOMParser().parseFromString(html, "text/html").querySelector("article"), true) : null;
    }
    if (!found) return null;
    for (const element of [found, ...$$("[id]", found)]) {
      if (element.id) element.dataset.ref = element.id;
      element.removeAttribute("id"); // there may be one of it already
    }
    return found;
  }

  // -- one trial, or two beside each other

  const trialIds = $$(".strip a.g, article.trial, .later, table.trials th a").map((one) =>
    one.dataset.id || one.dataset.later || one.getAttribute("href").slice(3)).filter((id) => !id.includes("&"));
  const order = [...new Set(evals.flatMap((one) => $$("table.trials th a, article.trial", one).map((trial) =>
    trial.dataset.id || trial.getAttribute("href").slice(3))))];
  let shown = "";

  async function showTrial(state) {
    const ids = [state.t, state.with].filter(Boolean);
    if (shown === ids.join(" ")) return lead(state);
    shown = ids.join(" ");
    for (const player of Object.values(players)) player.destroy();
    players = {};
    const found = (await Promise.all(ids.map(article)));
    if (shown !== ids.join(" ")) return; // another was asked for meanwhile
    const sides = document.createElement("div");
    sides.className = found.length > 1 ? "sides two" : "sides";
    found.forEach((one, number) => sides.append(one || missing(ids[number])));
    view.replaceChildren(bar(state), sides);
    for (const [number, one] of found.entries()) if (one) await enliven(one, ids[number]);
    scrollTo(0, 0);
    lead(state);
  }

  function missing(id) {
    const text = document.createElement("p");
    text.textContent = `Trial ${id} is not in this page.`;
    return text;
  }

  function bar(state) {
    const row = document.createElement("div");
    row.className = "bar";
    const link = (text, changes, title) => {
      const made = document.createElement("a");
      made.textContent = text;
      made.title = title || "";
      made.href = written({ ...read(), turn: "", at: "", ...changes });
      return made;
    };
    const place = order.indexOf(state.t);
    row.append(link("← all evals", { t: "", with: "" }, "Esc"));
    if (place > 0) row.append(link("previous", { t: order[place - 1], with: "" }, "k"));
    if (place >= 0 && place + 1 < order.length) row.append(link("next", { t: order[place + 1], with: "" }, "j"));
    const group = state.t.replace(/\/[^/]*$/, "/");
    const others = [...new Set(trialIds)].filter((id) => id.startsWith(group) && id !== state.t);
    if (others.length || state.with) {
      const label = document.createElement("label");
      const select = document.createElement("select");
      label.append("beside ", select);
      select.append(new Option("nothing", ""), ...[...new Set([...others, state.with].filter(Boolean))].map((id) => new Option(`T:${id}`, id)));
      select.value = state.with || "";
      select.addEventListener("change", () => go({ with: select.value }));
      row.append(label);
    }
    return row;
  }

  async function enliven(one, id) {
    for (const details of $$("details.one", one)) details.open = true;
    const content = await unpacked(id);
    const raw = $(".raw", one);
    if (raw && content.raw) {
      const text = JSON.stringify(content.raw, null, 2);
      const copy = document.createElement("button");
      const pre = document.createElement("pre");
      copy.type = "button";
      copy.className = "chip";
      copy.textContent = "copy";
      pre.textContent = text;
      copy.addEventListener("click", () => copied(text, pre, copy));
      $(".note", raw)?.remove();
      raw.append(copy, pre);
    }
    else if (raw) $(".note", raw).textContent = "It is left out here, since the page would be too large; the results file has it.";
    for (const div of $$(".player", one)) {
      const cast = content.casts?.[div.dataset.cast];
      if (!cast || typeof mountPlayer !== "function") continue;
      const turn = div.dataset.cast;
      players[`${id} ${turn}`] = mountPlayer(div, cast, content.markers?.[turn] || []);
      div.addEventListener("time", (event) => moveCursor(one, turn, event.detail));
    }
    for (const link of $$(".timeline a", one)) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        event.stopPropagation();
        const { turn, at } = link.dataset;
        if (at !== undefined && players[`${id} ${turn}`]) {
          players[`${id} ${turn}`].seek(Number(at));
          if (!state().with) go({ turn, at }, { replace: true });
        }
        reveal(one, link.getAttribute("href").slice(1));
      });
    }
  }

  const state = read;

  async function copied(text, pre, button) {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch { // at file:// a browser may refuse: then it is selected, and Ctrl-C copies it
      getSelection().selectAllChildren(pre);
      button.textContent = "selected";
    }
  }

  function reveal(one, ref) {
    const target = $(`[data-ref="${CSS.escape(ref)}"]`, one);
    if (!target) return;
    for (let above = target; above && above !== one; above = above.parentElement) if (above.matches("details")) above.open = true;
    const inner = $("details", target);
    if (inner && target.matches("li")) inner.open = true;
    target.scrollIntoView({ block: "center" });
    target.classList.remove("here");
    void target.offsetWidth; // so that it is animated again
    target.classList.add("here");
  }

  function moveCursor(one, turn, seconds) {
    const svg = $(".timeline svg", one);
    const band = svg && $(`a[data-turn="${CSS.escape(turn)}"] .item.turns`, svg);
    if (!band) return;
    const x = Number(band.getAttribute("x")) + seconds * Number(svg.dataset.scale);
    const cursor = $(".cursor", svg);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
  }

  function lead(state) {
    if (!state.at || !state.turn) return;
    const player = players[`${state.t} ${state.turn}`];
    if (player) player.seek(Number(state.at));
    const div = $(`.player[data-cast="${CSS.escape(state.turn)}"]`, view);
    if (div) div.scrollIntoView({ block: "center" });
  }

  // -- all of it

  let before = 0; // where the list was scrolled to

  function show() {
    const state = read();
    showList(state);
    const one = Boolean(state.t);
    if (one && document.body.dataset.view === "all") before = scrollY;
    view.hidden = !one;
    document.body.dataset.view = one ? "trial" : "all";
    if (one) return void showTrial(state);
    if (shown) {
      for (const player of Object.values(players)) player.destroy();
      players = {};
      shown = "";
      view.replaceChildren();
      scrollTo(0, before);
    }
    const id = location.hash.slice(1);
    const target = state.e ? document.getElementById(`e=${state.e}`) : null;
    if (target) {
      target.open = true;
      target.scrollIntoView({ block: "start" });
    } else if (id && !id.includes("=")) document.getElementById(id)?.scrollIntoView();
  }

  function step(by) {
    const { t } = read();
    if (t) {
      const next = order[order.indexOf(t) + by];
      if (next) go({ t: next, with: "", turn: "", at: "" });
      return;
    }
    const visible = evals.filter((one) => !one.hidden).sort((a, b) => a.compareDocumentPosition(b) & 4 ? -1 : 1);
    const place = visible.indexOf(document.activeElement?.closest(".eval"));
    const next = visible[place < 0 ? (by > 0 ? 0 : -1) : place + by];
    if (next) {
      $("summary", next).focus();
      next.scrollIntoView({ block: "nearest" });
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const wanted = {};
    for (const part of link.getAttribute("href").slice(1).split("&")) {
      const [key, ...value] = part.split("=");
      if (value.length) wanted[key] = decodeURIComponent(value.join("="));
    }
    event.preventDefault();
    if (wanted.t !== undefined) return go({ with: "", turn: "", at: "", e: "", ...wanted });
    const { q, only, model, prompt, cause, sort } = read();
    const filters = { q, only, model, prompt, cause, sort, t: "", with: "", turn: "", at: "", e: "" };
    if (wanted.e !== undefined) return go({ ...filters, ...wanted });
    go(filters);
    document.getElementById(link.getAttribute("href").slice(1))?.scrollIntoView();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "Escape") {
      if (typing) return event.target.blur();
      if ($("#help").open) return;
      if (read().t) go({ t: "", with: "", turn: "", at: "" });
      return;
    }
    if (typing || event.target.closest(".player")) return;
    const actions = {
      "/": () => { if (read().t) go({ t: "", with: "", turn: "", at: "" }); $("#q").focus(); },
      j: () => step(1), k: () => step(-1), f: () => toggle("failed"), "?": () => $("#help").showModal(),
    };
    if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  });

  for (const chip of $$(".chip[data-only]")) chip.addEventListener("click", () => toggle(chip.dataset.only));
  for (const clear of $$(".chip.clear")) clear.addEventListener("click", () => { $("#q").value = ""; go({ q: "", only: "", model: "", prompt: "", cause: "" }); });
  for (const select of $$("select[data-select]")) select.addEventListener("change", () => go({ [select.dataset.select]: select.value }));
  let typed = 0;
  $("#q").addEventListener("input", (event) => {
    clearTimeout(typed);
    typed = setTimeout(() => go({ q: event.target.value.trim() }, { replace: true }), 80);
  });
  $(".search").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", show);
  addEventListener("popstate", show);
  document.body.classList.add("scripted");
  for (const hidden of [".search", ".filters", ".foot .keys"]) $(hidden).hidden = false;
  show();
})();
