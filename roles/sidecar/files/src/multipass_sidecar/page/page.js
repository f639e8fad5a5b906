"use strict";
// The page for people. Whatever the service returns is set as text, never as HTML.

const KEY = "multipass-sidecar-token";
const REFRESH_MILLISECONDS = 1500;
const STYLES = {
  good: ["Running", "running", "succeeded", "ok"],
  bad: ["failed", "interrupted", "Unknown", "degraded"],
  busy: ["queued", "running", "Starting", "Restarting", "Suspending", "Delayed Shutdown", "partial"],
};
const find = (id) => document.getElementById(id);
const open = new Set();
let timer = 0;
let round = 0;

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function showError(text) {
  find("error").textContent = text;
  find("error").hidden = !text;
}

async function request(method, path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["Idempotency-Key"] = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Error("The service does not answer.");
  }
  const content = answer.status === 204 ? null : await answer.json();
  if (answer.status === 401) signOut();
  if (!answer.ok) throw new Error(content.detail);
  return content;
}

function stateCell(state, job = false) {
  const shown = make("span", state, "state");
  const kinds = job && state === "running" ? ["busy"] : ["good", "bad", "busy"];
  const kind = kinds.find((name) => STYLES[name].includes(state));
  if (kind) shown.classList.add(kind);
  return shown;
}

function button(text, work) {
  const element = make("button", text);
  element.type = "button";
  element.addEventListener("click", async () => {
    element.disabled = true;
    showError("");
    try {
      await work();
    } catch (error) {
      showError(error.message);
    }
    element.disabled = false;
    refresh();
  });
  return element;
}

function row(...cells) {
  const line = make("tr");
  for (const content of cells) {
    const cell = make("td");
    cell.append(...(Array.isArray(content) ? content : [content]));
    line.append(cell);
  }
  line.lastChild.className = "actions";
  return line;
}

function fill(id, rows) {
  const body = find(id);
  if (!rows.length) {
    const line = make("tr");
    const cell = make("td", "None.", "nothing");
    cell.colSpan = 5;
    line.append(cell);
    rows = [line];
  }
  const shown = rows.map((line) => line.textContent + line.dataset.more).join("\n");
  // Unchanged rows stay, so that a button does not move away under the pointer.
  if (body.dataset.shown === shown) return;
  body.dataset.shown = shown;
  body.replaceChildren(...rows);
}

function instanceRow(item) {
  const path = `/instances/${encodeURIComponent(item.name)}`;
  const actions = [];
  if (["Stopped", "Suspended"].includes(item.state)) actions.push(button("Start", () => request("POST", `${path}/start`)));
  if (item.state === "Running") actions.push(button("Stop", () => request("POST", `${path}/stop`)));
  actions.push(
    button("Delete", async () => {
      if (window.confirm(`Delete ${item.name} permanently, with its disk and snapshots?`)) await request("DELETE", path);
    }),
  );
  return row(item.name, stateCell(item.state), item.ipv4.join(", "), item.release ?? "", actions);
}

function environmentRow(item) {
  const path = `/environments/${encodeURIComponent(item.name)}`;
  const instances = item.instances.map((instance) => `${instance.name}: ${instance.state}${instance.ipv4.length ? ` ${instance.ipv4.join(", ")}` : ""}`);
  return row(item.name, stateCell(item.state), instances.flatMap((text) => [text, make("br")]), item.definition.description, [
    button("Start", () => request("POST", `${path}/start`)),
    button("Stop", () => request("POST", `${path}/stop`)),
  ]);
}

async function jobRow(item) {
  const ended = item.finished !== null;
  const progress = [];
  if (item.state === "running") {
    const bar = make("progress");
    bar.max = 100;
    if (item.progress.percent !== null) bar.value = item.progress.percent;
    progress.push(bar, make("div", item.progress.text, "faint"));
  }
  if (item.error) progress.push(make("div", item.error.detail, "problem"));
  if (open.has(item.id)) {
    const whole = await request("GET", `/jobs/${item.id}`);
    progress.push(make("pre", whole.log.map((line) => `${line.time.slice(11, 19)} ${line.text}`).join("\n") || "no log"));
  }
  const actions = [
    button(open.has(item.id) ? "Close" : "Log", async () => {
      if (!open.delete(item.id)) open.add(item.id);
    }),
  ];
  if (!ended) actions.push(button("Cancel", () => request("POST", `/jobs/${item.id}/cancel`)));
  const line = row(`${item.kind} ${item.target}`, stateCell(item.state, true), progress, new Date(item.created).toLocaleTimeString(), actions);
  line.dataset.more = `${item.id} ${item.progress.percent}`;
  return line;
}

async function refresh() {
  window.clearTimeout(timer);
  const current = ++round;
  if (!sessionStorage.getItem(KEY)) return;
  const parts = await Promise.allSettled([
    fetch("/health").then((answer) => answer.json()),
    request("GET", "/instances"),
    request("GET", "/environments"),
    request("GET", "/jobs?limit=20").then((found) => Promise.all(found.jobs.map(jobRow))),
  ]);
  // A later refresh has newer answers.
  if (current !== round || !sessionStorage.getItem(KEY)) return;
  const [health, instances, environments, jobs] = parts.map((part) => part.value);
  const lost = parts.find((part) => part.status === "rejected");
  find("all").dataset.lost = lost ? "yes" : "";
  if (health) {
    const { version, reason } = health.multipass;
    find("health").textContent = health.status === "ok" ? `multipass ${version} works` : `multipass does not answer: ${reason}`;
  }
  if (instances) fill("instances", instances.instances.map(instanceRow));
  if (environments) fill("environments", environments.environments.map(environmentRow));
  if (jobs) fill("jobs", jobs);
  if (lost) find("health").textContent = lost.reason.message;
  timer = window.setTimeout(refresh, REFRESH_MILLISECONDS);
}

function show() {
  const signedIn = Boolean(sessionStorage.getItem(KEY));
  find("sign-in").hidden = signedIn;
  find("all").hidden = !signedIn;
  find("sign-out").hidden = !signedIn;
  if (signedIn) refresh();
  else find("token").focus();
}

function signOut() {
  sessionStorage.removeItem(KEY);
  find("health").textContent = "";
  for (const id of ["instances", "environments", "jobs"]) {
    find(id).replaceChildren();
    delete find(id).dataset.shown;
  }
  show();
}

find("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  showError("");
  sessionStorage.setItem(KEY, find("token").value.trim());
  try {
    await request("GET", "/version");
    find("token").value = "";
    show();
  } catch (error) {
    signOut();
    showError(error.message);
  }
});
find("sign-out").addEventListener("click", signOut);
find("launch").addEventListener("submit", async (event) => {
  event.preventDefault();
  showError("");
  const form = new FormData(event.target);
  const launch = Object.fromEntries([...form].filter(([, value]) => value !== ""));
  try {
    await request("POST", "/instances", { ...launch, cpus: Number(launch.cpus) });
    event.target.reset();
  } catch (error) {
    showError(error.message);
  }
  refresh();
});
show();
