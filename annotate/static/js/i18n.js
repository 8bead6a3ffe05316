/* Words in the language of the page. The English words are the keys; a page in English carries no catalogue. */

const FORMS = ["zero", "one", "two", "few", "many", "other"]; // the order of gettext's plural forms
const catalogue = JSON.parse(document.getElementById("script-words")?.textContent ?? "{}");
const plurals = new Intl.PluralRules(document.documentElement.lang || "en");
const forms = FORMS.filter((form) => plurals.resolvedOptions().pluralCategories.includes(form));

/** `t("Answer question {n}", { n: 3 })`: the words in this language, with values in place of their names. */
export function t(words, values = {}) {
  return fill(catalogue[words] ?? words, values);
}

/** `tn("{n} word", "{n} words", 3)`: the form for this number. The catalogue knows both under the first. */
export function tn(one, many, n, values = {}) {
  const translated = catalogue[one];
  const words = translated ? translated[forms.indexOf(plurals.select(n))] : n === 1 ? one : many;
  return fill(words, { n, ...values });
}

function fill(words, values) {
  return words.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}
