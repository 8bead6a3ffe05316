/* One notice above the questions: what happened, what is safe, what to do. */

/** Show it in #room-notice; `actions` are [{label, run, primary?}]. Without text the notice goes away. */
export function notice(text, { tone = "warning", actions = [] } = {}) {
  const host = document.getElementById("room-notice");
  if (!host) return;
  host.replaceChildren();
  if (!text) return;
  const box = document.createElement("div");
  box.className = `notice notice-${tone}`;
  const body = document.createElement("div");
  body.append(Object.assign(document.createElement("p"), { textContent: text }));
  if (actions.length) body.append(buttons(actions));
  box.append(body);
  host.append(box);
}

function buttons(actions) {
  const row = document.createElement("div");
  row.className = "button-row";
  for (const { label, run, primary } of actions) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = primary ? "button button-small button-primary" : "button button-small";
    button.textContent = label;
    button.addEventListener("click", run);
    row.append(button);
  }
  return row;
}

/** Say something to screen readers only. */
export function announce(words) {
  const region = document.getElementById("announce");
  if (region) region.textContent = words;
}
