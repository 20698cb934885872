// The field in which titles are typed: what is found below it is chosen by arrow keys and Enter, or by a click.

import { make } from "./drawn.js";
import { found } from "./service.js";

const WAIT = 150; // milliseconds without a key, after which is searched

export function titles({ field, list, said, choose }) {
  let items = [], at = -1, timer = 0, search = null;
  let turn = 0; // what is found for words that are gone is not shown

  function show(next) {
    items = next;
    at = -1;
    list.replaceChildren(...items.map((item, place) => make("li",
      { role: "option", id: `found-${place}`, "aria-selected": "false",
        onmousedown: (event) => { event.preventDefault(); take(place); } },
      item.title === item.item ? item.title : `${item.title} (${item.item})`)));
    list.setAttribute("aria-busy", "false");
    list.hidden = !items.length;
    field.setAttribute("aria-expanded", String(!list.hidden));
    field.removeAttribute("aria-activedescendant");
  }

  function mark(place) {
    at = (place + items.length) % items.length;
    [...list.children].forEach((each, number) => each.setAttribute("aria-selected", String(number === at)));
    list.children[at].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", `found-${at}`);
  }

  function end() {
    clearTimeout(timer);
    turn += 1;
    show([]);
  }

  function take(place) {
    choose(items[place]);
    field.value = "";
    end();
  }

  async function look() {
    search?.abort();
    const mine = ++turn, words = field.value.trim();
    if (!words) { show([]); return; }
    search = new AbortController();
    try {
      const answer = await found(words, search.signal);
      if (mine !== turn) return;
      show(answer.items);
      said(answer.items.length ? `${answer.items.length} found` : `no item has ${words}`);
    } catch (error) {
      if (mine !== turn) return;
      show([]);
      said(error.message);
    }
  }

  field.addEventListener("input", () => {
    list.setAttribute("aria-busy", "true");
    clearTimeout(timer);
    timer = setTimeout(look, WAIT);
  });
  field.addEventListener("blur", end);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault(); // the form is sent by its button
      // What is listed was found for other words: nobody means the first of that.
      if (list.getAttribute("aria-busy") === "true") { clearTimeout(timer); look(); } else if (items.length) take(Math.max(at, 0));
    } else if (event.key === "Escape") {
      end();
    } else if (items.length && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      mark(at < 0 && event.key === "ArrowUp" ? items.length - 1 : at + (event.key === "ArrowDown" ? 1 : -1));
    }
  });
}
