// Playback of a terminal: asciinema's player draws the screen, the controls around it are ours.
//
// mountPlayer(div, cast, markers) → {play, pause, seek, time, duration, destroy}, all times in seconds from the cast's
// start, whether or not idle time is skipped. While it plays, and after each jump, the div gets events "time".
//   cast:    {width, height, events: [[seconds, "o", text], …], note}
//   markers: [{at, label, kind}], the kinds being "call", "message" and "assert"
"use strict";
(() => {
  const SPEEDS = [0.5, 1, 2, 4, 8];
  const LONGEST_PAUSE = 2; // seconds, of which a longer silence is shown
  const STEP = 5; // seconds, for the arrow keys
  const BRIEF = 10; // seconds, below which tenths of them are told
  const [MOST_COLUMNS, MOST_ROWS] = [500, 200]; // what a hostile cast may ask for
  const FEWEST_ROWS = 6; // of the screen that is drawn for a turn that printed little
  // What controls a terminal; a sequence that is cut off at the end counts too.
  const CONTROL =
    /\x1b(?:\[[0-?]*[ -\/]*(?:[@-~]|$)|[\]PX^_][^\x07\x1b\x9c\r\n]*(?:\x07|\x1b\\|\x9c)?|[ -\/]*(?:[0-~]|$))|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;
  // What moves the cursor up, down, or anywhere, or sets a screen or a region apart.
  const MOVES = /\x1b(?:\[[0-?]*[ -\/]*[A-HJLMSTZ`abdefr]|\[\?(?:6|47|104[7-9])[hl]|[^\[\]PX^_])|[\x0b\x0c\x84\x85\x8d\x9b]/;

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function make(tag, parent, properties = {}, attributes = {}) {
    const made = Object.assign(document.createElement(tag), properties);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    parent.append(made);
    return made;
  }

  const clockOf = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  // Keeps only what can be drawn: output in order of time, and changes of size.
  function drawable(cast) {
    let latest = 0;
    const events = [];
    for (const event of Array.isArray(cast.events) ? cast.events : []) {
      const [at, kind, text] = Array.isArray(event) ? event : [];
      if (kind !== "o" || typeof text !== "string" || !Number.isFinite(at)) continue;
      latest = Math.max(latest, at);
      events.push([latest, "o", text]);
    }
    if (!events.length) events.push([0, "o", ""]); // the player takes none for an error
    const size = (value, most, usual) => (Number.isFinite(value) && value >= 1 ? Math.min(most, Math.floor(value)) : usual);
    const width = size(cast.width, MOST_COLUMNS, 80);
    const height = size(cast.height, MOST_ROWS, 24);
    return { width, height: Math.min(height, Math.max(FEWEST_ROWS, rowsOf(events, width))), events };
  }

  // How many rows are written on at most, where nothing moves the cursor to another one.
  function rowsOf(events, width) {
    const raw = events.map((event) => event[2]).join("");
    if (MOVES.test(raw)) return Infinity;
    let rows = 0;
    for (const line of raw.replace(CONTROL, "").split("\n")) {
      let columns = 1; // one beyond its end, for the cursor
      for (const part of line.split("\r")) {
        const tabs = part.split("\t").length - 1; // each up to eight columns
        const wide = part.replace(/[\t -~]/g, "").length; // two at most
        columns = Math.max(columns, part.length + 7 * tabs + wide);
      }
      rows += Math.ceil(columns / Math.max(1, width - 1)); // what is wide leaves a row's last column, if it must
    }
    return rows;
  }

  // Maps the recording's seconds to those in which long silences are cut, and back.
  function clock(events, longest) {
    const points = [[0, 0]];
    for (const [at] of events) {
      const [before, shown] = points[points.length - 1];
      if (at > before) points.push([at, shown + Math.min(at - before, longest)]);
    }
    const map = (value, from, to) => {
      let [low, high] = [0, points.length - 1];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (points[middle][from] <= value) low = middle;
        else high = middle - 1;
      }
      const next = points[low + 1];
      const moved = points[low][to] + (value - points[low][from]);
      return next ? Math.min(moved, next[to]) : points[low][to];
    };
    return { shown: (at) => map(at, 0, 1), at: (shown) => map(shown, 1, 0) };
  }

  // All that was ever printed, as text, with the time of each of its parts.
  function textOf(events) {
    const raw = events.map((event) => event[2]).join("");
    const parts = []; // [where in the text, where in raw]
    let text = "";
    let from = 0;
    const keep = (to) => {
      if (to > from) {
        parts.push([text.length, from]);
        text += raw.slice(from, to);
      }
    };
    for (const match of raw.matchAll(CONTROL)) {
      keep(match.index);
      from = match.index + match[0].length;
    }
    keep(raw.length);
    const ends = [];
    let end = 0;
    for (const event of events) ends.push((end += event[2].length));
    const time = (index) => {
      const part = parts[firstBeyond(parts, (candidate) => candidate[0] > index) - 1];
      const where = part[1] + (index - part[0]);
      return events[firstBeyond(ends, (candidate) => candidate > where)][0];
    };
    return { text, time };
  }

  function firstBeyond(sorted, beyond) {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (beyond(sorted[middle])) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  // Where a text was printed; what a spinner writes again and again counts once.
  function find(printed, query) {
    if (!query.trim()) return [];
    const found = [];
    let last = 0;
    const pattern = new RegExp(query.trim().replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&").replace(/\s+/g, "\\s+"), "giu");
    for (const match of printed.text.matchAll(pattern)) {
      const end = match.index + match[0].length;
      const again = printed.text.slice(last, match.index);
      if (!found.length || !again.includes("\r") || again.includes("\n")) found.push({ at: printed.time(end - 1), text: match[0] });
      last = end;
    }
    return found;
  }

  function highlight(screen, text) {
    if (typeof Highlight === "undefined") return;
    CSS.highlights.delete("kp-found");
    if (!text) return;
    const ranges = [];
    const wanted = text.toLowerCase();
    for (const row of screen.querySelectorAll(".ap-line")) {
      const index = row.textContent.toLowerCase().indexOf(wanted);
      if (index >= 0) ranges.push(rangeOf(row, index, index + wanted.length));
    }
    CSS.highlights.set("kp-found", new Highlight(...ranges));
  }

  function rangeOf(row, start, end) {
    const range = new Range();
    range.selectNodeContents(row);
    const walker = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
    let before = 0;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const after = before + node.length;
      if (start >= before && start < after) range.setStart(node, start - before);
      if (end > before && end <= after) range.setEnd(node, end - before);
      before = after;
    }
    return range;
  }

  // Why nothing can be played here, if so.
  function refused() {
    if (typeof AsciinemaPlayer === "undefined") {
      return "To play it here, make the report where pytest-kiro[report] is installed.";
    }
    try {
      new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)); // the smallest there is
    } catch {
      return "To play it here, open the file where no policy forbids WebAssembly: save it, and open what was saved.";
    }
    return "";
  }

  function mountPlayer(div, cast, markers) {
    const { width, height, events } = drawable(cast);
    const duration = events[events.length - 1][0];
    const minutes = duration < BRIEF ? (seconds) => `${seconds.toFixed(1)} s` : clockOf;
    const marks = (markers ?? []).map((mark) => ({ ...mark, at: clamp(Number(mark.at) || 0, 0, duration) }));
    marks.sort((one, other) => one.at - other.at);
    const printed = textOf(events);
    let [speed, skips, wanted, playing] = [1, true, duration, false];
    let times, player, ticking, found, hit;

    // ----- what is seen
    const kept = [...div.childNodes];
    div.replaceChildren();
    const root = make("div", div, { className: "kp" }, { role: "group", "aria-label": "Playback of the terminal" });
    const frame = make("div", root, { className: "kp-frame" }, { role: "group", "aria-label": `Screen, ${width} × ${height}` });
    const screen = make("div", frame, { className: "kp-screen" });
    screen.style.maxWidth = `${width * 7.9 + 12}px`;
    screen.style.minWidth = `${Math.min(width, 120) * 4.6}px`;
    const bar = make("div", root, { className: "kp-bar" });
    const button = (parent, text, label, act) => {
      const made = make("button", parent, { type: "button", textContent: text, title: label }, { "aria-label": label });
      made.addEventListener("click", act);
      return made;
    };
    const playButton = button(bar, "▶", "Play", () => (playing ? pause() : play()));
    const track = make("span", bar, { className: "kp-track" });
    const slider = make("input", track, { type: "range", min: 0, max: duration || 1, step: "any" }, { "aria-label": "Position" });
    const clockText = make("span", bar, { className: "kp-time" });
    const speedChoice = make("select", bar, { title: "Speed (< and >)" }, { "aria-label": "Speed" });
    for (const value of SPEEDS) make("option", speedChoice, { value, textContent: `${value}×`, selected: value === 1 });
    const skipLabel = make("label", bar, { title: "Shorten silences to 2 s (i)" });
    const skipBox = make("input", skipLabel, { type: "checkbox", checked: true });
    skipLabel.append("Skip idle time");
    const searching = make("span", bar, { className: "kp-search" }, { role: "search" });
    const query = make("input", searching, { type: "search", placeholder: "Find in the output", title: "Find (/)" });
    query.setAttribute("aria-label", "Find in the output");
    button(searching, "‹", "Previous place", () => showHit(hit - 1));
    button(searching, "›", "Next place", () => showHit(hit + 1));
    const told = make("output", searching, { className: "kp-told" });
    const list = make("ol", root, { className: "kp-marks" }, { "aria-label": "Moments of the turn" });
    const moments = marks.map((mark) => {
      const made = button(make("li", list), "", `${mark.label}, at ${minutes(mark.at)}`, () => seek(mark.at));
      made.dataset.kind = mark.kind;
      make("span", made, { className: "kp-at", textContent: minutes(mark.at) });
      made.append(" ", mark.label);
      make("span", track, { className: "kp-tick" }).style.setProperty("--at", duration ? mark.at / duration : 0);
      return made;
    });
    list.hidden = !marks.length;
    if (cast.note) make("p", root, { className: "kp-note", textContent: cast.note });

    // ----- what plays
    function start() {
      player?.dispose();
      times = clock(events, skips ? LONGEST_PAUSE : Infinity);
      const recording = [{ version: 2, width, height }, ...events.map(([at, kind, text]) => [times.shown(at), kind, text])];
      const options = { speed, controls: false, fit: "width", theme: "asciinema", cols: width, rows: height, preload: true };
      player = AsciinemaPlayer.create({ data: recording }, screen, options);
      player.addEventListener("playing", () => became(true));
      player.addEventListener("pause", () => became(false));
      player.addEventListener("ended", () => {
        if (playing) wanted = duration; // a jump to the end ends it too, and another jump may have come since
        became(false);
      });
      player.addEventListener("error", () => give("The recording cannot be drawn."));
    }

    function became(now) {
      playing = now;
      playButton.textContent = now ? "⏸" : "▶";
      playButton.title = now ? "Pause" : "Play";
      playButton.setAttribute("aria-label", playButton.title);
      clearInterval(ticking);
      if (now) ticking = setInterval(tick, 100);
      else tell();
    }

    async function tick() {
      const shown = await player.getCurrentTime();
      if (playing && Number.isFinite(shown)) {
        wanted = clamp(times.at(shown), 0, duration);
        tell();
      }
    }

    function tell() {
      slider.value = wanted;
      clockText.textContent = `${minutes(wanted)} / ${minutes(duration)}`;
      const now = firstBeyond(marks, (mark) => mark.at > wanted + 0.001) - 1;
      moments.forEach((moment, index) => moment.setAttribute("aria-current", index === now));
      slider.setAttribute("aria-valuetext", `${clockText.textContent}${now >= 0 ? `, ${marks[now].label}` : ""}`);
      div.dispatchEvent(new CustomEvent("time", { detail: wanted }));
    }

    async function seek(seconds) {
      wanted = clamp(Number(seconds) || 0, 0, duration);
      tell();
      mark("");
      // A little beyond, since what was printed at this very time is meant too; casts have thousandths.
      await player.seek(times.shown(wanted) + 0.0001);
      tell();
    }

    async function play() {
      if (wanted >= duration) await seek(0);
      mark("");
      await player.play();
    }

    const pause = () => player.pause();

    async function again() {
      const went = playing;
      became(false);
      start();
      await seek(wanted);
      if (went) await player.play();
    }

    const jump = (way) => {
      const next = way > 0 ? marks.find((mark) => mark.at > wanted + 0.001) : marks.findLast((mark) => mark.at < wanted - 0.5);
      return seek(next ? next.at : way > 0 ? duration : 0);
    };

    const faster = (way) => {
      speed = SPEEDS[clamp(SPEEDS.indexOf(speed) + way, 0, SPEEDS.length - 1)];
      speedChoice.value = speed;
      return again();
    };

    // ----- search
    let marked = "";
    const mark = (text) => highlight(screen, (marked = text));
    // The screen is drawn when the browser has time, and its rows are made anew.
    const drawn = new MutationObserver(() => marked && highlight(screen, marked));
    drawn.observe(screen, { subtree: true, childList: true, characterData: true });

    async function showHit(index) {
      if (found?.query !== query.value) found = { query: query.value, hits: find(printed, query.value) };
      const { hits } = found;
      if (!hits.length) {
        told.textContent = query.value.trim() ? "not found" : "";
        return mark("");
      }
      hit = (index + hits.length) % hits.length;
      const { at, text } = hits[hit];
      told.textContent = `${hit + 1} of ${hits.length}`;
      if (playing) await pause();
      await seek(at);
      mark(text);
    }

    // ----- keys, which reach nobody else while the player has the focus
    const keys = {
      " ": () => (playing ? pause() : play()),
      ArrowLeft: () => seek(wanted - STEP),
      ArrowRight: () => seek(wanted + STEP),
      Home: () => seek(0),
      End: () => seek(duration),
      "[": () => jump(-1),
      "]": () => jump(1),
      "<": () => faster(-1),
      ">": () => faster(1),
      i: () => skipBox.click(),
      "/": () => query.focus(),
    };
    root.addEventListener(
      "keydown",
      (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey || (event.key === "Escape" && event.target !== query)) return;
        event.stopPropagation();
        if (event.target === query) {
          if (event.key === "Enter") showHit(found?.query === query.value ? hit + (event.shiftKey ? -1 : 1) : 0);
          if (event.key === "Escape") {
            event.preventDefault(); // which would clear it
            slider.focus();
          }
          return;
        }
        const native = event.key === " " && event.target.matches("button, input[type=checkbox]");
        if (native || event.target === speedChoice || !Object.hasOwn(keys, event.key)) return;
        event.preventDefault();
        keys[event.key]();
      },
      true,
    );
    slider.addEventListener("input", () => seek(slider.value));
    query.addEventListener("input", () => showHit(0));
    speedChoice.addEventListener("change", () => {
      speed = Number(speedChoice.value);
      again();
    });
    skipBox.addEventListener("change", () => {
      skips = skipBox.checked;
      again();
    });

    // Rows are not lines to a browser, and each is blank to its end.
    root.addEventListener("copy", (event) => {
      const range = getSelection().rangeCount ? getSelection().getRangeAt(0) : null;
      if (!range || !screen.contains(range.commonAncestorContainer)) return;
      const rows = [...screen.querySelectorAll(".ap-line")].filter((row) => range.intersectsNode(row));
      const lines = rows.map((row) => {
        const part = new Range();
        part.selectNodeContents(row);
        if (range.compareBoundaryPoints(Range.START_TO_START, part) > 0) part.setStart(range.startContainer, range.startOffset);
        if (range.compareBoundaryPoints(Range.END_TO_END, part) < 0) part.setEnd(range.endContainer, range.endOffset);
        return part.toString().trimEnd();
      });
      event.clipboardData.setData("text/plain", lines.join("\n"));
      event.preventDefault();
    });

    // ----- where nothing can be played, what was printed is read
    function give(reason) {
      became(false);
      div.replaceChildren(...kept);
      make("p", div, { className: "kp-note", textContent: reason });
      if (!div.querySelector("pre")) make("pre", div, { className: "kp-text", textContent: printed.text, tabIndex: 0 });
    }

    const handle = { play, pause, seek, time: () => wanted, duration, destroy };
    function destroy() {
      clearInterval(ticking);
      drawn.disconnect();
      player?.dispose();
      player = null;
      div.replaceChildren(...kept);
    }
    const missing = refused();
    if (missing) {
      const nothing = async () => {};
      player = { dispose: nothing, seek: nothing, play: nothing, pause: nothing, getCurrentTime: nothing };
      times = clock(events, Infinity);
      give(missing);
    } else {
      start();
      seek(duration);
    }
    return handle;
  }

  window.mountPlayer = mountPlayer;
})();
