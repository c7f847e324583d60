const at = (id) => document.getElementById(id);
const items = new Map();
const DOING = {deploy: "Deploying", rollback: "Rolling back", delete: "Deleting"};
const SERVICE = {none: ["Not deployed", ""], answers: ["Answers", "good"], fails: ["Does not answer", "bad"]};

// Text in words of a person

const short = (digest) => digest.replace("sha256:", "").slice(0, 12);
const title = (word) => word[0].toUpperCase() + word.slice(1);
const sinceThen = (date) => (Date.now() - Date.parse(date)) / 1000;

function ago(date) {
  const seconds = sinceThen(date);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

// What a function raised, which Lambda tells as JSON, as the traceback that it was.
function unfolded(error) {
  const start = error.indexOf('{"errorMessage"');
  for (let end = error.lastIndexOf("}"); start >= 0 && end > start; end = error.lastIndexOf("}", end - 1)) {
    try {
      const raised = JSON.parse(error.slice(start, end + 1));
      const trace = [...(raised.stackTrace ?? []).map((line) => line.trimEnd()), `${raised.errorType}: ${raised.errorMessage}`];
      return [error.slice(0, start).trim(), ...trace, error.slice(end + 1).trim()].join("\n").trim();
    } catch { /* a shorter part may be it */ }
  }
  return error;
}

// The line that says most: the last one that names an error, or of a build the last one, else the first.
function failingLine(error) {
  const lines = error.split("\n");
  const named = lines.filter((line) => /^\s*[\w.]+(Error|Exception)\b/.test(line));
  return (named.at(-1) ?? (/^The (failed step|last lines):/m.test(error) ? lines.at(-1) : lines[0])).trim();
}

// Why the service refuses a request: a sentence, or one for each field.
function sentences(detail) {
  if (typeof detail === "string") return detail;
  return detail.map(({loc, msg, type}) => {
    const field = at(loc.at(-1));
    const text = type === "value_error" ? msg.replace("Value error, ", "") : at(`${field.id}-hint`).textContent;
    return `${field.labels[0].textContent}: ${text}.`;
  }).join(" ");
}

// Calls of the service

async function call(refused, method, path, body) {
  refused.textContent = "";
  try {
    const answer = await fetch(`/api/functions/${path}`, {
      method, headers: {"content-type": "application/json"}, body: body && JSON.stringify(body),
    });
    const given = await answer.json();
    if (answer.ok) return given;
    refused.textContent = sentences(given.detail);
  } catch {
    refused.textContent = "The service does not answer. Start it again.";
  }
}

async function showLog(name, refused) {
  const lines = await call(refused, "GET", `${name}/logs`);
  if (!lines) return;
  at("logs-title").textContent = `Log of ${name}, last hour`;
  at("log").textContent = lines.map(({time, text}) => `${new Date(time).toLocaleTimeString()}  ${text}`).join("\n")
    || "Nothing was written.";
  at("reload").onclick = () => showLog(name, refused);
  if (!at("logs").open) at("logs").showModal();
  at("log").scrollTop = at("log").scrollHeight;
}

function confirmDelete(name, refused) {
  const dialog = at("confirm");
  at("confirm-title").textContent = `Delete ${name}?`;
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "delete" && call(refused, "DELETE", name);
  dialog.showModal();
}

// What is shown

function newCard(name) {
  const card = at("card").content.firstElementChild.cloneNode(true);
  const refused = card.querySelector("[data-slot=refused]");
  const acts = {
    redeploy: () => call(refused, "PUT", name, items.get(name).wanted),
    rollback: () => call(refused, "POST", `${name}/rollback`),
    logs: () => showLog(name, refused),
    delete: () => confirmDelete(name, refused),
  };
  for (const button of card.querySelectorAll("[data-act]")) button.onclick = acts[button.dataset.act];
  card.id = `function-${name}`;
  card.querySelector("h3").textContent = name;
  card.querySelector("h3").id = `title-${name}`;
  card.setAttribute("aria-labelledby", `title-${name}`);
  card.querySelector("pre").ariaLabel = `Error of ${name}`;
  card.querySelector("ol").ariaLabel = `Steps of ${name}`;
  card.querySelector("progress").ariaLabel = `Operation on ${name}`;
  const next = [...at("functions").children].find((other) => other.id > card.id);
  at("functions").insertBefore(card, next ?? null);
  return card;
}

function showFunction(item) {
  const before = items.get(item.name)?.run;
  items.set(item.name, item);
  const card = at(`function-${item.name}`) ?? newCard(item.name);
  const slot = (name) => card.querySelector(`[data-slot=${name}]`);
  const {outputs, run} = item;
  const running = run?.state === "running";
  [slot("service").textContent, slot("service").className] = SERVICE[item.service];
  slot("service").classList.add("pill");
  const fact = (name, text) => {
    slot(name).textContent = text;
    slot(name).closest("dl > div").hidden = !text;
  };
  const path = outputs.endpointUrl && new URL(outputs.endpointUrl).pathname;
  slot("problem").textContent = item.problem && path ? `GET ${path}: ${item.problem}` : item.problem;
  fact("endpoint", outputs.endpointUrl);
  if (outputs.endpointUrl) slot("endpoint").href = outputs.endpointUrl;
  fact("image", short(outputs.imageDigest ?? ""));
  fact("previous", short(outputs.previousImageDigest ?? ""));
  fact("memory", item.memory && `${item.memory} MB`);
  fact("deployed", item.deployed);
  fact("run", !running && run?.state);
  slot("run").classList.toggle("failed", ["failed", "interrupted"].includes(run?.state));
  slot("progress").hidden = !running;
  const error = unfolded(run?.error ?? "");
  const first = document.createElement("strong");
  first.textContent = failingLine(error);
  slot("error").replaceChildren(first, error === first.textContent ? "" : error);
  slot("error").hidden = !error;
  slot("hint").textContent = run?.hint ?? "";
  slot("hint").hidden = !run?.hint;
  showSteps(card, run?.steps ?? [], running, before?.began !== run?.began || before?.state !== run?.state);
  const needs = {logs: outputs.functionArn ?? "", rollback: outputs.previousImageDigest ?? ""};
  for (const button of card.querySelectorAll("[data-act]")) {
    button.disabled = running || needs[button.dataset.act] === "";
    button.ariaLabel = `${button.textContent} (${item.name})`;
  }
  if (outputs.functionArn) at("consumer-account").textContent = ` in account ${outputs.functionArn.split(":")[4]}`;
  if (before && before.state !== run.state) at("news").textContent = `${item.name}: ${run.operation} ${run.state}`;
  at("empty").hidden = true;
  showTimes(item);
}

function showSteps(card, steps, running, changed) {
  const [details, list] = [card.querySelector("details"), card.querySelector("ol")];
  if (changed) details.open = running;
  if (list.children.length > steps.length) list.replaceChildren();
  for (const [seconds, text] of steps.slice(list.children.length)) {
    const line = document.createElement("li");
    const time = document.createElement("span");
    time.textContent = `${seconds.toFixed(1)} s`;
    line.append(time, text);
    list.append(line);
    list.scrollTop = list.scrollHeight;
  }
  card.querySelector("summary").textContent = `${steps.length} ${steps.length === 1 ? "step" : "steps"}`;
  details.hidden = !steps.length;
}

function showTimes({name, deployed, run}) {
  const slot = (slot) => at(`function-${name}`).querySelector(`[data-slot=${slot}]`);
  if (deployed) {
    slot("deployed").textContent = ago(deployed);
    slot("deployed").dateTime = deployed;
    slot("deployed").title = new Date(deployed).toLocaleString();
  }
  if (!run) return;
  slot("now").textContent = `${DOING[run.operation]}, ${Math.floor(sinceThen(run.began))} s: ${run.now}`;
  const after = run.seconds ? ` after ${Math.round(run.seconds)} s` : "";
  slot("run").textContent = `${title(run.operation)} ${run.state}${after}, ${ago(run.began)}`;
}

function showRegistry(outputs) {
  if (!outputs.repositoryUrl) return;
  at("no-registry").hidden = true;
  at("registry").querySelector("dl").hidden = false;
  at("registry-account").textContent = outputs.registryId;
  at("repository").textContent = outputs.repositoryUrl;
  at("consumers").textContent = outputs.consumerAccounts.join(", ");
}

function remove(name) {
  at(`function-${name}`)?.remove();
  items.delete(name);
  at("empty").hidden = items.size > 0;
}

at("deploy").onsubmit = (event) => {
  event.preventDefault();
  const {name, context, memory} = Object.fromEntries(new FormData(event.target));
  call(at("refused"), "PUT", name, {context, memory: Number(memory)});
};
at("close").onclick = () => at("logs").close();
setInterval(() => items.forEach(showTimes), 1000);

const events = new EventSource("/api/events");
events.onmessage = ({data}) => {
  const item = JSON.parse(data);
  if (item.kind === "registry") showRegistry(item.outputs);
  if (item.kind === "function") showFunction(item);
  if (item.kind === "deleted") remove(item.name);
};
events.onerror = () => { at("connection").textContent = "The service does not answer. This page goes on when it does."; };
// The state is asked for once the events are on, so that nothing is missed in between.
events.onopen = async () => {
  const state = await (await fetch("/api/state")).json();
  at("connection").textContent = "";
  showRegistry(state.registry);
  for (const name of items.keys()) if (!state.functions.some((item) => item.name === name)) remove(name);
  state.functions.forEach(showFunction);
};
