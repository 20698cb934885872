// The page: what its address says is what it shows, so that a list can be sent to somebody, and Back goes back.

import { figures, linkTo, make, ranking } from "./drawn.js";
import { recommended, served, similar } from "./service.js";
import { titles } from "./titles.js";

const $ = (id) => document.getElementById(id);
const SECTIONS = ["ask", "item", "compare", "evaluation"];
const COMPARED = 5; // rows side by side
let run = null;
let met = []; // the history of somebody new
let last = null; // the question the list on the page answers
let turn = 0; // answers to what was asked before are not shown

const say = (text) => { $("status").textContent = text; };

function fail(error) {
  say("");
  $("problem").replaceChildren(make("p", {}, [error.where, error.message].filter(Boolean).join(": ")));
  if (error.hint) $("problem").append(make("p", {}, error.hint));
  $("problem").hidden = false;
}

async function working(words, work) {
  const mine = ++turn;
  $("problem").hidden = true;
  $("answer").setAttribute("aria-busy", "true");
  say(words);
  try {
    const show = await work();
    if (mine !== turn) return;
    show();
    say("");
  } catch (error) {
    if (mine !== turn) return;
    $("answer").hidden = true; // what was asked before is no answer to this
    fail(error);
  } finally {
    if (mine === turn) $("answer").removeAttribute("aria-busy");
  }
}

// ---------------------------------------------------------------------------------------------- one list

function addMet(item) {
  met.push({ ...item, event: "" });
  showMet();
  say(`${item.title} was added; ${met.length} in the history`);
}

function showMet() {
  $("met").replaceChildren(...met.map((item, place) => make("li", {}, item.title, ...events(item),
    make("button", { type: "button", className: "small", "aria-label": `Remove ${item.title}`,
      onclick: () => { met.splice(place, 1); showMet(); $("search").focus(); } }, "×"))));
}

// By which event of the log an item was met; nothing to choose where the log has none.
function events(item) {
  if (!run.events.length) return [];
  const names = ["", ...run.events.map((each) => each.event)];
  return [make("select", { "aria-label": `What was done with ${item.title}`,
    onchange: (changed) => { item.event = changed.target.value; } },
  ...names.map((name) => make("option", { value: name, selected: name === item.event }, name || "no event")))];
}

function showWho() {
  const known = document.querySelector("[name=who]:checked").value === "user";
  $("known").hidden = !known;
  $("new").hidden = known;
}

function question() {
  const known = document.querySelector("[name=who]:checked").value === "user";
  const asked = { k: Number($("k").value) || 10 };
  const user = $("user").value.trim(), wish = $("wish").value.trim();
  if (known && user) asked.user = user;
  if (!known && met.length) asked.history = met.map(({ item, event }) => (event ? { item, event } : item));
  if (wish) asked.wish = wish;
  // What stands as it came is left to the service, which has the defaults.
  if (wish && $("weight").value !== $("weight").defaultValue) asked.wish_weight = Number($("weight").value);
  const where = $("where").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (where.length) asked.where = where;
  if ($("model").value) asked.model = $("model").value;
  if (Number($("diversity").value)) asked.diversity = Number($("diversity").value);
  if ($("seen").checked) asked.include_seen = true;
  if ($("deep").checked && asked.history) asked.deep = true;
  return asked;
}

function recommend(asked) {
  const words = asked.deep || asked.wish ? "reading; the first time models are loaded …" : "looking …";
  return working(words, async () => {
    const answer = await recommended(asked);
    return () => {
      last = asked;
      const somebody = answer.user == null ? (asked.history ? "somebody new" : "whoever wishes for it") : `user ${answer.user}`;
      $("answer-title").textContent = `For ${somebody}`;
      const until = answer.newest ? ` until ${answer.newest}` : "";
      const among = answer.among == null ? "" : ` Among ${answer.among.toLocaleString("en")} items that are chosen.`;
      const remarks = (answer.remarks ?? []).map((remark) => ` ${remark[0].toUpperCase()}${remark.slice(1)}.`).join("");
      $("answered-by").textContent = `By ${answer.answered_by}; from ${(answer.interactions ?? 0).toLocaleString("en")} interactions${until}.${among}${remarks}`;
      const unread = answer.not_read_by && asked.history;
      $("not-read").textContent = unread ? `Without ${answer.not_read_by}, which has not read this history.` : "";
      $("not-read").hidden = !unread;
      $("history").replaceChildren(...answer.history.map((item) => make("li", {}, linkTo(item),
        ...(item.events ? [make("small", {}, ` ${item.events.join(", ")}`)] : []))));
      $("history").closest("section").hidden = !answer.history.length;
      $("list").replaceChildren(...ranking(answer.recommendations));
      if (!answer.recommendations.length) $("list").append(make("li", {}, "nothing is left to recommend"));
      $("because").setAttribute("aria-pressed", String(Boolean(asked.because)));
      $("because-note").hidden = !asked.because;
      $("because").hidden = !answer.history.length;
      $("answer").hidden = false;
      $("answer-title").focus();
    };
  });
}

// ---------------------------------------------------------------------------------------------- pages

async function item(name) {
  await working("looking …", async () => {
    const answer = await similar(name);
    return () => {
      $("item-title").textContent = answer.title;
      $("item-id").textContent = answer.item;
      $("similar-by").textContent = answer.row ? `By ${answer.score_is ?? "score"} of ${answer.row}.` : "";
      $("similar").replaceChildren(...ranking(answer.similar));
      if (!answer.similar.length) $("similar").append(make("li", {}, (answer.remarks ?? ["nothing is like it"]).join("; ")));
      $("item-title").focus();
    };
  });
}

async function compare(user) {
  $("compared").value = user;
  $("rows").replaceChildren();
  if (!user) { turn += 1; $("compare-note").textContent = "Their list under what is served, its parts and popularity."; return; }
  await working("looking …", async () => {
    const names = [...run.rows.slice(0, COMPARED - 1), ...run.rows.slice(COMPARED - 1).filter((row) => row === "popularity")];
    const answers = await Promise.all(names.map((model) => recommended({ user, model, k: 10 })));
    const times = new Map();
    for (const answer of answers) for (const each of answer.recommendations) times.set(each.item, (times.get(each.item) ?? 0) + 1);
    return () => {
      $("compare-note").textContent = "Bold: in more than one of the lists.";
      $("rows").replaceChildren(...answers.map((answer, place) => {
        const title = make("h2", { id: `row-${place}` }, names[place] + (place ? "" : " (served)"));
        return make("section", { "aria-labelledby": title.id }, title,
          make("ol", { className: "ranking" }, ...ranking(answer.recommendations, (each) => times.get(each.item) > 1)));
      }));
    };
  });
}

function evaluation() {
  const rows = run.evaluation;
  $("evaluation-note").textContent = !rows.length ? "Nobody measured this run: glta evaluate does."
    : rows[0].on === "test" ? "On test items, over the whole catalogue, by the last glta evaluate."
      : "On validation items, by which the served row was chosen; glta evaluate measures the test.";
  if (run.not_served) $("evaluation-note").textContent += ` ${run.rows[0]} answers; ${run.not_served}.`;
  $("figures").replaceChildren(...(rows.length ? figures(rows, run.rows[0]) : []));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, with a % of its own
  }
}

async function route() {
  const [, name = "", ...rest] = location.hash.split("/");
  const value = decoded(rest.join("/"));
  const page = { item: "item", compare: "compare", evaluation: "evaluation" }[name] ?? "ask";
  for (const section of SECTIONS) $(section).hidden = section !== page;
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.getAttribute("href").slice(2);
    if (own === (page === "ask" ? "" : page)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("problem").hidden = true;
  document.title = `${{ ask: "Recommend", item: "Item", compare: "Compare", evaluation: "Evaluation" }[page]} · ${run.name} · glta`;
  if (page === "item") await item(value);
  else if (page === "compare") await compare(value);
  else if (page === "evaluation") evaluation();
  else if (name === "user" && value && last?.user !== value) {
    $("user").value = value;
    document.querySelector("[name=who][value=user]").checked = true;
    showWho();
    await recommend(question());
  }
}

async function start() {
  for (const id of ["weight", "diversity"]) {
    const output = document.querySelector(`output[for=${id}]`);
    const show = () => { output.textContent = Number($(id).value).toFixed(1); };
    $(id).addEventListener("input", show);
    show();
  }
  for (const radio of document.querySelectorAll("[name=who]")) radio.addEventListener("change", showWho);
  titles({ field: $("search"), list: $("found"), said: say, choose: addMet });
  $("question").addEventListener("submit", (event) => {
    event.preventDefault();
    const asked = question();
    last = asked;
    const hash = asked.user ? `#/user/${encodeURIComponent(asked.user)}` : "#/";
    if (location.hash !== hash) history.pushState(null, "", hash);
    recommend(asked);
  });
  $("because").addEventListener("click", () => {
    if (last) recommend({ ...last, because: $("because").getAttribute("aria-pressed") !== "true" });
  });
  $("comparison").addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `#/compare/${encodeURIComponent($("compared").value.trim())}`;
  });
  await working("asking what is served …", async () => {
    run = await served();
    return () => {
      const until = run.newest ? ` until ${run.newest}` : "";
      $("run").textContent = `run ${run.name} · ${run.dataset} · ${(run.interactions ?? 0).toLocaleString("en")} interactions${until}`;
      $("model").replaceChildren(...run.rows.map((row, place) =>
        make("option", { value: place ? row : "" }, place ? row : `${row} (served, ${run.answered_by})`)));
      showWho();
    };
  });
  if (!run) return;
  window.addEventListener("hashchange", route);
  await route();
}

start();
