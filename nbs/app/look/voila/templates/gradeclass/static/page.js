// Colours before the first paint, names for widgets that come without, and a plain word where the connection ends.
(function () {
  "use strict";
  const root = document.documentElement, LIMIT = 10_000_000;
  const kept = () => { try { return localStorage.getItem("gradeclass-theme"); } catch { return null; } };
  if (kept()) root.dataset.theme = kept();
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  function say(text) {
    const old = document.querySelector(".gc-said");
    const note = old || document.createElement("p");
    note.className = "gc-note gc-note-bad gc-said";
    note.setAttribute("role", "alert");
    note.textContent = text;
    if (!old) besideUpload().append(note);
  }
  const besideUpload = () => document.querySelector(".widget-upload")?.parentElement || document.getElementById("rendered_cells");

  // A file above the limit would end the connection: it is refused before it is sent. Signs that turn the direction of writing would turn a sentence too.
  const nameOfFile = (file) => file.name.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "_").slice(-60);
  const click = HTMLInputElement.prototype.click;
  HTMLInputElement.prototype.click = function () {
    if (this.type !== "file") return click.call(this);
    if (!this.dataset.guarded) this.addEventListener("change", checkFile, true);
    this.dataset.guarded = "yes";
    if (!sending) return click.call(this);
    const given = new DataTransfer();
    given.items.add(sending);
    this.files = given.files;
    this.dispatchEvent(new Event("change"));
    sending = null;
    return undefined;
  };
  function checkFile(event) {
    const file = event.target.files[0];
    document.querySelector(".gc-said")?.remove();
    if (!file) return;
    if (file.size <= LIMIT) { showSending(file); if (file !== known) keepFile(file); return; }
    event.stopImmediatePropagation();
    say(`${nameOfFile(file)} has ${(file.size / 1e6).toFixed(1)} MB, this page takes 10: ask the person who looks after the server to read it there`);
  }
  // On a slow line a sign stands beside the button until the page's process has the file: then it answers.
  let onItsWay = null;
  function stopSending() { clearTimeout(onItsWay?.clock); onItsWay?.sign.remove(); onItsWay = null; }
  function showSending(file) {
    stopSending();
    const sign = document.createElement("p"), bar = document.createElement("progress");
    sign.className = "gc-note gc-sending";
    sign.setAttribute("role", "status");
    bar.setAttribute("aria-label", "Sending");
    sign.append(`Sending ${nameOfFile(file)} … `, bar);
    onItsWay = { file, sign, socket: null, clock: setTimeout(() => besideUpload().append(sign), 300) };
  }
  function give(file, button) { sending = file; button.click(); }
  // A file may be dropped where it is asked for; dropped elsewhere it would take the place of the page.
  const carriesFiles = (event) => Array.from(event.dataTransfer?.types || []).includes("Files");
  addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const { files } = event.dataTransfer, buttons = document.querySelectorAll("main .widget-upload");
    const button = event.target.closest?.(".gc-card")?.querySelector(".widget-upload") || (buttons.length === 1 && buttons[0]);
    if (files.length > 1) say(`${files.length} files were dropped: drop one. Several classes can be sheets of one workbook.`);
    else if (button && files.length) give(files[0], button);
    else say(buttons.length ? "Drop the file beside the button that asks for it." : "This page takes no file. The page A class does.");
  });

  // What a visitor entered stays in this tab of the browser: it survives a reload, another page and Back. A link may fill a form
  // in by what stands behind #, which no browser sends to a server.
  const KEPT = `gradeclass:${location.pathname}`, FILE = `${KEPT}:file`;
  const stored = (key) => { try { return sessionStorage.getItem(key); } catch { return null; } };
  const store = (key, value) => { try { sessionStorage.removeItem(key); if (value) sessionStorage.setItem(key, value); } catch { /* too large, or a private window */ } };
  const bytesOf = (address) => Uint8Array.from(atob(address.split(",")[1]), (sign) => sign.charCodeAt(0));
  const keptText = () => document.querySelector(".gc-kept input")?.value || "";
  // The file that was chosen last is kept, unless it is removed meanwhile; until its process has heard of it, no older list is.
  let brought = false, sending = null, known = null, turn = 0, before = null;
  const forget = () => { turn += 1; before = null; store(FILE, ""); };
  async function keepFile(file) {
    forget();
    const mine = turn, here = document.querySelector(".gc-class");
    if (here) { before = keptText(); store(KEPT, JSON.stringify({ file: file.name })); }
    try {
      const packed = await new Response(file.stream().pipeThrough(new CompressionStream("gzip"))).blob();
      const reader = new FileReader();
      reader.onload = () => { if (here && mine === turn) store(FILE, JSON.stringify({ name: file.name, data: reader.result })); };
      reader.readAsDataURL(packed);
    } catch {
      if (mine !== turn) return;
      before = null;
      stopSending();
      say(`${nameOfFile(file)} cannot be read: it may have been moved, changed or removed. Choose it again.`);
    }
  }
  async function sendFile(name) {
    const text = stored(FILE), file = JSON.parse(text || "null"), button = document.querySelector(".gc-class .widget-upload");
    if (!button) return;
    if (!file) { say(`Choose ${nameOfFile({ name })} again: this tab of the browser could not keep it.`); return; }
    const bytes = await new Response(new Blob([bytesOf(file.data)]).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
    if (stored(FILE) !== text) return; // Another one was chosen meanwhile
    known = new File([bytes], file.name);
    give(known, button);
  }
  function bring() {
    const input = document.querySelector(".gc-kept input");
    if (!input) return;
    if (brought) {
      if (input.value === before) return;
      before = null;
      store(KEPT, input.value);
      return;
    }
    brought = true;
    let state = null;
    try {
      const [inputs, student] = location.hash.slice(8).split("&student=").map(decodeURIComponent);
      state = location.hash.startsWith("#inputs=") ? { inputs: JSON.parse(inputs), ...(student && { student }) } : JSON.parse(stored(KEPT) || "null");
    } catch { /* a broken link fills nothing in */ }
    if (location.hash.startsWith("#inputs=")) history.replaceState(null, "", location.pathname + location.search);
    if (!state) return;
    input.value = JSON.stringify(state);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.dispatchEvent(new Event("change", { bubbles: true }));
    if (state.file && !state.sample) sendFile(state.file);
  }
  // The server says whose page it is; only the page's own process can check that.
  async function bringTicket() {
    const input = document.querySelector(".gc-ticket input:not([data-asked])");
    if (!input) return;
    input.dataset.asked = "yes";
    const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent || "{}");
    try { input.value = (await (await fetch(`${config.baseUrl}ticket/${config.kernelId}`)).json()).ticket; } catch { return; }
    for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind, { bubbles: true }));
  }
  document.addEventListener("click", (event) => { if (event.target.closest?.(".gc-forget")) forget(); }, true);
  document.addEventListener("click", async (event) => {
    if (event.target.closest?.(".gc-print")) window.print();
    const share = event.target.closest?.(".gc-share");
    if (!share) return;
    const { inputs } = JSON.parse(document.querySelector(".gc-kept input")?.value || "{}");
    const link = `${location.origin}${location.pathname}#inputs=${encodeURIComponent(JSON.stringify(inputs))}`;
    try { await navigator.clipboard.writeText(link); share.textContent = "Link copied"; } catch { window.prompt("Copy this link", link); }
  });

  // On paper stands the whole list, not only the page of it that is shown: the file to save holds it.
  function readCsv(text) {
    const rows = [[""]];
    let quoted = false;
    for (let i = 0; i < text.length; i += 1) {
      const sign = text[i], row = rows[rows.length - 1];
      if (quoted && sign === '"' && text[i + 1] === '"') { row[row.length - 1] += sign; i += 1; }
      else if (sign === '"') quoted = !quoted;
      else if (!quoted && sign === ",") row.push("");
      else if (!quoted && sign === "\n") rows.push([""]);
      else row[row.length - 1] += sign;
    }
    return rows.filter((row) => row.length > 1 || row[0]);
  }
  addEventListener("beforeprint", () => {
    const paper = document.querySelector(".gc-paper"), link = document.querySelector(".gc-listlink a");
    if (!paper || !link || paper.querySelector("table")) return;
    const [header, ...rows] = readCsv(new TextDecoder().decode(bytesOf(link.href)));
    const titles = JSON.parse(paper.dataset.columns), digits = JSON.parse(paper.dataset.digits), places = Object.keys(titles).map((name) => header.indexOf(name)).filter((place) => place >= 0);
    const table = document.createElement("table"), plain = (text) => text.replace(/^'+(?=[=+\-@])/, "").replace(/\(-(?=\d)/g, "(\u2212");
    const write = (cell, text) => text.replace(/(\S{12})(?=\S)/g, "$1\0").split("\0").forEach((part) => cell.append(part, document.createElement("wbr")));
    table.className = "gc-table gc-listed";
    const head = table.createTHead().insertRow(), body = table.createTBody();
    places.forEach((place) => { const cell = document.createElement("th"); write(cell, titles[header[place]]); head.append(cell); });
    rows.forEach((row) => { const line = body.insertRow(); places.forEach((place) => { write(line.insertCell(), header[place] in digits && row[place] ? Number(row[place]).toFixed(digits[header[place]]) : plain(row[place] || "")); }); });
    paper.append(table);
    document.querySelector(".gc-class")?.classList.add("gc-whole");
  });
  addEventListener("afterprint", () => {
    document.querySelector(".gc-listed")?.remove();
    document.querySelector(".gc-whole")?.classList.remove("gc-whole");
  });

  // A newer model builds a form anew, perhaps while somebody types: the same field of the new form goes on from what stands in the old one.
  let typing = null;
  const FIELDS = ["input", "select", "textarea", "button", "[role=slider]"].map((kind) => `main ${kind}`).join();
  const fieldName = (made) => `${made.tagName} ${made.getAttribute("aria-label") || document.getElementById(made.getAttribute("aria-labelledby"))?.textContent || made.labels?.[0]?.textContent || made.textContent}`;
  const fields = (name) => Array.from(document.querySelectorAll(FIELDS)).filter((made) => fieldName(made) === name);
  document.addEventListener("focusin", ({ target }) => {
    typing = target.matches(FIELDS) ? { made: target, name: fieldName(target), place: fields(fieldName(target)).indexOf(target) } : null;
  });
  document.addEventListener("focusout", ({ target }) => setTimeout(() => { if (typing?.made === target && target.isConnected) typing = null; }));
  function goOn() {
    if (!typing || typing.made.isConnected || document.activeElement !== document.body) return;
    const made = fields(typing.name)[typing.place], old = typing.made;
    if (!made) return;
    const text = old.matches("textarea, input[type=text], input:not([type])") && old.value !== made.value;
    if (text) made.value = old.value;
    made.focus({ preventScroll: true });
    if (text) {
      made.setSelectionRange(old.value.length, old.value.length);
      made.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  let number = 0;
  const nameOf = (widget) => {
    const label = widget.querySelector(":scope > .widget-label");
    if (!label) return null;
    if (!label.id) label.id = `gc-label-${++number}`;
    return label.id;
  };
  function mend() {
    bring();
    bringTicket();
    const shell = document.getElementById("main"), foot = document.querySelector(".gc-foot");
    if (shell && foot && foot.compareDocumentPosition(shell) & Node.DOCUMENT_POSITION_FOLLOWING) shell.after(foot);
    document.querySelectorAll(".gc-live:not([role])").forEach((area) => { area.setAttribute("role", "status"); area.setAttribute("aria-live", "polite"); });
    document.querySelectorAll(".widget-slider").forEach((widget) => {
      const name = nameOf(widget), handle = widget.querySelector(".noUi-handle"), readout = widget.querySelector(".widget-readout");
      if (handle && name && handle.getAttribute("aria-labelledby") !== name) handle.setAttribute("aria-labelledby", name);
      if (readout && name && readout.getAttribute("role") !== "textbox") {
        readout.setAttribute("role", "textbox");
        readout.setAttribute("aria-labelledby", name);
      }
    });
    document.querySelectorAll(".gc-ornot").forEach((pair) => {
      const name = pair.querySelector(".gc-field > .widget-label")?.firstChild?.textContent, box = pair.querySelector("input[type=checkbox]");
      if (name && box && !box.hasAttribute("aria-label")) box.setAttribute("aria-label", `Unknown: ${name}`);
      const typed = pair.querySelector(".gc-typed input");
      if (name && typed && ![...(typed.labels || [])].some((label) => label.textContent.trim()) && !typed.hasAttribute("aria-label")) typed.setAttribute("aria-label", `${name}, typed`);
    });
    document.querySelectorAll(".widget-toggle-buttons").forEach((widget) => {
      const group = widget.querySelector(":scope > div"), name = nameOf(widget);
      if (group && name && !group.hasAttribute("role")) { group.setAttribute("role", "group"); group.setAttribute("aria-labelledby", name); }
    });
    document.querySelectorAll(".widget-toggle-button, .widget-toggle-buttons button").forEach((button) => {
      const pressed = String(button.classList.contains("mod-active"));
      if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
    });
    document.querySelectorAll(".gc-group:not([role])").forEach((group) => {
      const heading = group.querySelector("h2");
      if (!heading) return;
      if (!heading.id) heading.id = `gc-group-${++number}`;
      group.setAttribute("role", "group");
      group.setAttribute("aria-labelledby", heading.id);
    });
    document.querySelectorAll(".widget-upload").forEach((button) => button.childNodes.forEach((node) => {
      if (node.nodeType === Node.TEXT_NODE && / \(\d+\)$/.test(node.data)) node.data = node.data.replace(/ \(\d+\)$/, "");
    }));
    document.querySelectorAll('[title="null"]').forEach((element) => element.removeAttribute("title"));
    document.querySelectorAll('.widget-label[for=""]').forEach((label) => label.removeAttribute("for"));
    goOn();
  }

  // A page left alone loses its process; then nothing that one does has an effect, so the page says so.
  const Socket = window.WebSocket;
  let open = 0, lost = null, dead = false;
  function showLost() { stopSending(); document.querySelector(".gc-lost")?.removeAttribute("hidden"); }
  window.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      if (!String(given[0]).includes("/channels")) return;
      this.addEventListener("open", () => { open += 1; clearTimeout(lost); if (!dead) document.querySelector(".gc-lost")?.setAttribute("hidden", ""); });
      this.addEventListener("close", () => { open -= 1; lost = setTimeout(() => { if (open < 1 && !window.gcLeaving) showLost(); }, 1500); });
      this.addEventListener("close", () => {
        if (onItsWay?.socket !== this || window.gcLeaving) return;
        say(`The connection ended before ${nameOfFile(onItsWay.file)} had arrived. Choose it again.`);
        stopSending();
      });
      this.addEventListener("message", (event) => {
        if (onItsWay?.socket === this && !this.bufferedAmount) stopSending();
        const small = event.data instanceof ArrayBuffer && event.data.byteLength < 4000;
        const text = typeof event.data === "string" ? event.data : small ? new TextDecoder().decode(event.data) : "";
        if (/"execution_state": ?"(dead|restarting)"/.test(text)) { dead = true; showLost(); }
      });
    }
    send(data) { // The message that is as large as the file carries it
      super.send(data);
      if (onItsWay && !onItsWay.socket && (data.byteLength ?? data.length) >= onItsWay.file.size) onItsWay.socket = this;
    }
  };
  async function ask() {
    const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent || "{}");
    if (!config.kernelId || dead || document.hidden) return;
    try {
      const answer = await (await fetch(`${config.baseUrl}leave/${config.kernelId}`)).json();
      if (!answer.there) { dead = true; showLost(); }
    } catch { /* no server: the closed connection says so */ }
  }
  setInterval(ask, 10_000);
  document.addEventListener("visibilitychange", ask);
  // Who leaves gives the process back at once.
  addEventListener("pagehide", () => {
    window.gcLeaving = true;
    if (brought) bring();
    const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent || "{}");
    const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] || "";
    if (config.kernelId) navigator.sendBeacon(`${config.baseUrl}leave/${config.kernelId}?_xsrf=${encodeURIComponent(xsrf)}`);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector(".gc-theme");
    const show = () => button.setAttribute("aria-pressed", String(isDark()));
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("gradeclass-theme", root.dataset.theme); } catch { /* private window */ }
      show();
    });
    show();
    // Far down the answer is one line; what shrinks moves the page up, so it grows again only near the top.
    addEventListener("scroll", () => {
      const answer = document.querySelector(".gc-answer"), above = scrollY - (answer?.parentElement?.offsetTop || 0);
      if (answer && above > 320) answer.classList.add("gc-stuck");
      if (answer && above < 20) answer.classList.remove("gc-stuck");
    }, { passive: true });
    let waiting = false;
    new MutationObserver(() => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => { waiting = false; mend(); }, 30);
    }).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
    mend();
  });
})();
