// Asks the service, with the token where it wants one.

const KEPT = "glta-token";

export class Refused extends Error {
  constructor(status, error) {
    super(error.what);
    this.status = status;
    this.where = error.where;
    this.hint = error.hint;
  }
}

let asked = null; // the one question for a token, whoever waits for it

// Whether one was given; nothing is, where the dialog is left by Escape.
function token(wrong) {
  asked ??= new Promise((resolve) => {
    const dialog = document.getElementById("token-asked"), field = document.getElementById("token");
    document.getElementById("token-wrong").hidden = !wrong;
    field.value = "";
    dialog.addEventListener("close", () => {
      if (field.value) sessionStorage.setItem(KEPT, field.value);
      asked = null;
      resolve(Boolean(field.value));
    }, { once: true });
    dialog.showModal();
  });
  return asked;
}

async function ask(path, options = {}) {
  const kept = sessionStorage.getItem(KEPT);
  const headers = { ...options.headers, ...(kept ? { authorization: `Bearer ${kept}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (gone) {
    if (gone.name === "AbortError") throw gone;
    throw new Refused(0, { what: "the service does not answer", hint: "is glta serve still running?" });
  }
  if (answer.status === 401) {
    // Another request may have been given one meanwhile.
    if (sessionStorage.getItem(KEPT) !== kept || await token(Boolean(kept))) return ask(path, options);
  }
  const said = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, said.error);
  return said;
}

export const served = () => ask("/v1/run");

export const found = (words, signal) => ask(`/v1/items?k=8&query=${encodeURIComponent(words)}`, { signal });

export const similar = (item) => ask(`/v1/items/${encodeURIComponent(item)}/similar?k=20`);

export const recommended = (question) => ask("/v1/recommendations", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(question),
});
