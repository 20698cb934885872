// Pieces of the page. Whatever comes from the service becomes text, never markup.

export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export const linkTo = (item) => make("a", { href: `#/item/${encodeURIComponent(item.item)}` }, item.title);

const MOST_REASONS = 4;
const LEAST_SHARE = 0.005;

function reasons(because) {
  const list = make("ul", { className: "reasons" });
  for (const part of because.history.slice(0, MOST_REASONS)) {
    if (Math.abs(part.share) < LEAST_SHARE) continue;
    const share = `${part.share > 0 ? "+" : "−"}${Math.round(Math.abs(part.share) * 100)} %`;
    const said = part.share > 0 ? part.title : `${part.title} (pulls it down)`;
    list.append(make("li", { className: part.share > 0 ? "for" : "against" }, make("b", {}, share), said));
  }
  if (!list.children.length) list.append(make("li", {}, "nothing of the history stands out"));
  return list;
}

export function ranking(items, shared = () => false) {
  return items.map((item) => {
    const link = linkTo(item);
    if (shared(item)) link.className = "shared";
    const entry = make("li", {}, link, make("span", { className: "score" }, item.score.toFixed(3)));
    if (item.because) entry.append(reasons(item.because));
    return entry;
  });
}

// Columns in the order in which a reader looks for them.
const COLUMNS = ["ndcg@10", "recall@10", "ndcg@20", "recall@20", "interval"];

export function figures(rows, servedRow) {
  const named = COLUMNS.filter((name) => rows.some((row) => row[name] != null));
  const head = make("tr", {}, make("th", { scope: "col" }, "row"),
    ...named.map((name) => make("th", { scope: "col" }, name === "interval" ? "± of ndcg@10" : name)));
  const body = rows.map((row) => make("tr", { className: row.row === servedRow ? "served" : "" },
    make("th", { scope: "row" }, row.row === servedRow ? `${row.row} (served)` : row.row),
    ...named.map((name) => make("td", {}, row[name] == null ? "" : row[name].toFixed(4)))));
  return [make("thead", {}, head), make("tbody", {}, ...body)];
}
