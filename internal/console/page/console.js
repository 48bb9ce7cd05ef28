// @ts-check
// The operators' page: asks /admin/state every two seconds while it is looked at, and draws what comes. It keeps
// the last minute of each number in memory and the token in the tab's session storage; nothing else is kept.
const EVERY = 2000, KEPT = 31;
const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const NUMBERS = [
  ["Sockets", v => v("realtime_connections")],
  ["Frames written a second", rate("realtime_messages_total")],
  ["Bytes written a second", rate("realtime_written_bytes_total")],
  ["Operations a second", rate("realtime_operations_total")],
  ["Doorbells rung a second", rate("realtime_doorbells_total")],
  ["Doorbells heard a second", rate("realtime_doorbells_heard_total")],
  ["A doorbell's way, ms", (v, was, seconds) => ratio(v, was, "realtime_latency_ms_sum", "realtime_latency_ms_count")],
  ["Log: entries to read here", (v, was, seconds, s) => s.log.pos - s.log.here],
  ["Log: changes without a number", (v, was, seconds, s) => s.log.inbox],
  ["Log: entries a second", (v, was, seconds, s, before) => before ? Math.max(0, (s.log.pos - before.log.pos) / seconds) : NaN],
  ["Sockets closed as slow", v => v("realtime_disconnections_total:4499")],
  ["Sweeps that failed", v => v("realtime_sweep_failures_total")],
  ["CPU, cores", rate("process_cpu_seconds_total")],
  ["Memory, MiB", v => v("process_resident_memory_bytes") / 2 ** 20],
  ["Goroutines", v => v("go_goroutines")],
];
const DOOR = [
  ["Sockets to Hasura", v => v("realtime_upstream_sockets")],
  ["Dialled", v => v("realtime_upstream_dials_total")],
  ["Lost", v => v("realtime_upstream_lost_total")],
  ["Subscribed again", v => v("realtime_upstream_resubscribed_total")],
  ["Operations ended by a loss", v => v("realtime_upstream_ended_total")],
  ["HTTP requests a second", rate("realtime_front_door_requests_total")],
];

function rate(name) {
  return (v, was, seconds) => was ? Math.max(0, (v(name) - was(name)) / seconds) : NaN;
}
function ratio(v, was, sum, count) {
  const n = was ? v(count) - was(count) : 0;
  return n > 0 ? (v(sum) - was(sum)) / n : NaN;
}
/** of a state's numbers: a metric with all its labels summed. */
const reader = numbers => name => Object.entries(numbers).reduce((sum, [key, x]) => key === name || key.startsWith(name + ":") ? sum + x : sum, 0);

let token = sessionStorage.getItem("nchat-admin") ?? "", paused = false, timer = 0, before = null, last = 0;
const drawn = new Map(); // what a number was, for its line

function text(tag, content, className) {
  const e = document.createElement(tag);
  e.textContent = content;
  if (className) e.className = className;
  return e;
}
function shown(x) {
  if (!Number.isFinite(x)) return "–";
  return x >= 100 || Number.isInteger(x) ? Math.round(x).toLocaleString("en") : x.toFixed(2);
}
function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min` : `${Math.floor(s / 86400)} d`;
}
function line(points) {
  const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg"), path = document.createElementNS(ns, "path");
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 28`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(1e-9, ...points.filter(Number.isFinite));
  let d = "";
  points.forEach((y, i) => { if (Number.isFinite(y)) d += `${d ? "L" : "M"}${KEPT - points.length + i} ${(26 - 24 * y / most).toFixed(1)}`; });
  path.setAttribute("d", d || "M0 26");
  svg.append(path);
  return svg;
}
function table(into, list, state) {
  const v = reader(state.numbers), was = before && reader(before.numbers), seconds = before ? (Date.parse(state.at) - Date.parse(before.at)) / 1000 || 1 : 1;
  $(into).replaceChildren(...list.map(([name, of]) => {
    const x = of(v, was, seconds, state, before), points = [...(drawn.get(name) ?? []), x].slice(-KEPT);
    drawn.set(name, points);
    const box = document.createElement("div");
    box.append(text("dt", name), text("dd", shown(x)), line(points));
    return box;
  }));
}
/** rows fills a table's body, and leaves the focus on the button that has it, or on the one that took its place. */
function rows(into, list, cells, none) {
  const body = $(into), buttons = () => [...body.querySelectorAll("[data-of]")];
  const place = buttons().indexOf(document.activeElement), focused = document.activeElement?.getAttribute("data-of");
  body.replaceChildren(...list.map(x => { const tr = document.createElement("tr"); tr.append(...cells(x)); return tr; }));
  if (!list.length) { const td = text("td", none); td.colSpan = 9; const tr = document.createElement("tr"); tr.append(td); body.append(tr); }
  if (place < 0) return;
  const now = buttons();
  (now.find(b => b.dataset.of === focused) ?? now[Math.min(place, now.length - 1)] ?? $("pause")).focus();
}
function ender(id) {
  const td = document.createElement("td"), b = text("button", "End…", "ends");
  b.type = "button";
  b.dataset.of = id;
  b.setAttribute("aria-label", `End session ${id}`);
  b.onclick = () => {
    const inside = b.closest("tbody");
    void end(`End session ${id}? Its socket is closed; with a token that is good it may come again.`, `sessions/${id}/end`,
      () => inside.querySelector(`[data-of="${CSS.escape(id)}"]`)); // what was clicked may have been drawn anew since
  };
  td.append(b);
  return td;
}
function draw(s) {
  if (!before || String(before.alarms) !== String(s.alarms)) $("alarms").replaceChildren(...(s.alarms.length ? s.alarms.map(a => text("li", a)) : [text("li", "none", "none")]));
  table("numbers", NUMBERS, s);
  table("door", DOOR, s);
  const now = Date.parse(s.at);
  rows("nodes", s.nodes, n => [text("td", n.id + (n.id === s.node ? " (this one)" : ""), "id"), text("td", ago(now - Date.parse(n.started))),
    text("td", n.leaseMs < 0 ? `ran out ${ago(-n.leaseMs)} ago` : "held"), text("td", n.bus), text("td", shown(n.sessions))], "not known");
  rows("slow", s.slow, x => [text("td", x.session, "id"), text("td", shown(x.frames)), text("td", shown(x.bytes)), text("td", x.subprotocol), text("td", ago(now - Date.parse(x.since))), ender(x.session)], "none: every socket has taken what it was sent");
  rows("rooms", s.rooms, r => [text("td", r.id, "id"), text("td", shown(r.members)), text("td", shown(r.messages))], "none");
  rows("sessions", s.sessions, x => [text("td", x.id, "id"), text("td", x.node ?? "over HTTP", "id"), text("td", ago(now - Date.parse(x.since))), ender(x.id)], "none");
  before = s;
}

async function ask(path, init = {}) {
  return fetch(path, { ...init, headers: { Authorization: `Bearer ${token}` }, cache: "no-store", signal: AbortSignal.timeout(10000) });
}
function say(what, stale = false) {
  if ($("state").textContent !== what) $("state").textContent = what; // it is read aloud when it changes
  $("state").className = stale ? "stale" : "";
}
async function look() {
  clearTimeout(timer);
  if (!token) return;
  try {
    const res = await ask("state");
    if (res.status === 401) return leave("That is not this server's ADMIN_TOKEN.");
    if (!res.ok) throw new Error(String(res.status));
    const s = await res.json();
    last = Date.now();
    show(true);
    draw(s);
    say(paused ? "paused" : "live");
  } catch {
    say(last ? `no answer for ${ago(Date.now() - last)}: what is shown is old` : "no answer", true);
  }
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(look, EVERY);
}
/** end asks first. asked says what asked for it, which has the focus again when the question is answered. */
async function end(question, path, asked = () => document.activeElement) {
  $("ask").textContent = question;
  $("sure").returnValue = "no";
  $("sure").showModal();
  await new Promise(done => $("sure").addEventListener("close", done, { once: true }));
  (asked() ?? $("pause")).focus();
  if ($("sure").returnValue !== "yes") return;
  try {
    const res = await ask(path, { method: "POST" });
    await look();
    say(res.ok ? "ended" : res.status === 404 ? "there is no such session any more" : `not ended: ${(await res.text()).trim()}`, !res.ok && res.status !== 404);
  } catch {
    say("not known whether it was ended: no answer", true);
  }
}
function show(inside) {
  $("enter").hidden = inside;
  $("all").hidden = $("pause").hidden = $("leave").hidden = !inside;
}
function leave(why) {
  token = "";
  before = null;
  last = 0;
  drawn.clear();
  sessionStorage.removeItem("nchat-admin");
  show(false);
  say(why, why !== "signed out");
  $("token").focus();
}
$("enter").onsubmit = e => { e.preventDefault(); token = $("token").value.trim(); $("token").value = ""; sessionStorage.setItem("nchat-admin", token); void look(); };
$("user").onsubmit = e => {
  e.preventDefault();
  const tenant = $("tenant").value.trim(), id = $("userid").value.trim();
  void end(`End all sessions of user ${id} of ${tenant}, and refuse its tokens?`, `users/${encodeURIComponent(tenant)}/${encodeURIComponent(id)}/end`);
};
$("pause").onclick = () => { paused = !paused; $("pause").setAttribute("aria-pressed", String(paused)); say(paused ? "paused" : "live"); if (!paused) void look(); };
$("leave").onclick = () => { clearTimeout(timer); leave("signed out"); };
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) void look(); });
if (token) void look();
