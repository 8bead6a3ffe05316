/* What every page has: toasts, dialogs, copy buttons, theme, density, bulk selection, and htmx's seams. */

import { t } from "./i18n.js";
import * as themeToggle from "./theme-toggle.js";
import * as toasts from "./toasts.js";

const csrf = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

function onClick(event) {
  const opener = event.target.closest("[data-dialog-open]");
  if (opener) document.getElementById(opener.dataset.dialogOpen)?.showModal();
  const closer = event.target.closest("[data-dialog-close]");
  if (closer) closer.closest("dialog")?.close();
  const copied = event.target.closest("[data-copy]");
  if (copied) copy(copied.dataset.copy);
  if (event.target.closest("[data-density-toggle]")) toggleDensity();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toasts.show(t("Copied"));
  } catch {
    toasts.show(t("This browser did not allow copying. Select the text and copy it by hand."), { danger: true });
  }
}

function restoreDensity() {
  document.documentElement.dataset.density = localStorage.getItem("tiebreak:density") ?? "normal";
}

function toggleDensity() {
  const density = document.documentElement.dataset.density === "compact" ? "normal" : "compact";
  localStorage.setItem("tiebreak:density", density);
  document.documentElement.dataset.density = density;
}

/** `data-select-all="name"` ticks every box of that name; `data-bulk="name"` shows how many are ticked. */
function onChange(event) {
  const all = event.target.closest("[data-select-all]");
  const name = all ? all.dataset.selectAll : event.target.name;
  if (!name) return;
  const boxes = [...document.querySelectorAll(`input[type="checkbox"][name="${CSS.escape(name)}"]`)];
  if (all) for (const box of boxes) box.checked = all.checked;
  const ticked = boxes.filter((box) => box.checked).length;
  for (const bar of document.querySelectorAll(`[data-bulk="${CSS.escape(name)}"]`)) {
    bar.hidden = ticked === 0;
    const count = bar.querySelector("[data-bulk-count]");
    if (count) count.textContent = String(ticked);
  }
}

/* A double click sends a form once. */
const TWICE_MS = 3000;

function onSubmit(event) {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  const now = Date.now();
  if (now - Number(form.dataset.sentAt ?? 0) < TWICE_MS) return void event.preventDefault();
  form.dataset.sentAt = String(now);
}

function wireHtmx() {
  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-CSRFToken"] = csrf();
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { status } = event.detail.xhr;
    const polled = event.detail.requestConfig.triggeringEvent === undefined;
    if (polled && status >= 500) return;
    toasts.show(explain(status), { danger: true });
  });
  document.addEventListener("htmx:sendError", () => {
    toasts.show(t("The server did not answer. Nothing was changed; try again in a moment."), { danger: true });
  });
  document.addEventListener("htmx:load", (event) => toasts.wire(event.detail.elt));
}

function explain(status) {
  if (status === 401) return t("You are signed out. Sign in again, then repeat this.");
  if (status === 403) return t("Your role does not allow this. Nothing was changed.");
  if (status === 404) return t("This is gone or was never here. Reload the page.");
  if (status === 429) return t("Too many requests. Wait a moment, then try again.");
  return t("Something failed on the server. Nothing was changed; try again in a moment.");
}

/** A form that searches leaves out what was not filled in, so that its address says only what is looked for. */
function onFormData(event) {
  if (!event.target.matches("form[data-tidy]")) return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
}

document.addEventListener("click", onClick);
document.addEventListener("formdata", onFormData);
document.addEventListener("change", onChange);
document.addEventListener("submit", onSubmit);
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sentAt;
});
wireHtmx();
restoreDensity();
toasts.wire();
themeToggle.wire();
